"""What a launch tells its user in words: the plan beforehand, the results afterwards."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import CorruptShard
from toolkit.launch.prepare import LaunchPlan
from toolkit.runs.run import Run

ASSUMED_TOKENS = 130
"""Output tokens of a sample before any is known: the experiment's were 100 to 150."""
ASSUMED_RATE = 4000
"""Output tokens/s of one A100-40GB with an 8B model, as in the experiment."""


def describe_plan(plan: LaunchPlan, launcher: str, tasks: Sequence[Sequence[str]]) -> str:
    """The run, what is planned and missing, the resources and a first estimate of the cost."""
    r, s = plan.config.resources, plan.config.sampling
    tokens = plan.samples_missing * min(ASSUMED_TOKENS, s.max_tokens)
    hours = tokens / ASSUMED_RATE / 3600
    lines = [
        f"run        {plan.path} ({'exists' if plan.exists else 'new'})",
        f"model      {plan.identity['model']} by {s.backend}, {s.prompt_style} prompts, "
        f"T {s.temperature}, top_p {s.top_p}, at most {s.max_tokens} tokens",
        f"problems   {len(plan.problems)} of {plan.config.problem_set.problems}, {_quantity(plan)}",
        f"samples    {plan.planned} planned, {plan.samples_missing} to sample "
        f"in {len(plan.missing)} slices",
        f"launcher   {launcher}: {len(tasks)} array task(s) for sampling, "
        f"{r.eval_array} for evaluation",
    ]
    if launcher == "slurm":
        lines.append(
            f"resources  a sampling array task: {r.gres or 'no gres'}, {r.cpus} cores, "
            f"{r.mem_gib} GiB, {r.minutes} min; an evaluation array task: {r.eval_cpus} cores"
        )
    if s.backend == "vllm" and plan.samples_missing:
        lines.append(
            f"estimate   {tokens / 1e6:.2f} M tokens (assuming {ASSUMED_TOKENS} a sample); an 8B "
            f"model on A100-40GB (assuming {ASSUMED_RATE} tokens/s a GPU): {hours:.2f} GPU-hours, "
            f"{60 * hours / max(1, len(tasks)):.1f} min on {max(1, len(tasks))}"
        )
    return "\n".join(lines)


def _quantity(plan: LaunchPlan) -> str:
    if plan.rule is None:
        return f"n = {plan.config.quantity.samples} each"
    looks = ", ".join(map(str, plan.rule.looks))
    return f"each until it has {plan.rule.r} passes, looked for after {looks} samples"


def describe_results(run: Run) -> str:
    """The table of a finished run and where its report is. Raises `CorruptShard` without one."""
    path = run.results_dir / "fit.json"
    if not path.is_file():
        raise CorruptShard(f"{path}: missing: run `python jobs/fit.py {run.path}`")
    return describe_fit(json.loads(path.read_text(encoding="utf-8")), run.results_dir)


def results_complete(run: Run) -> bool:
    """Whether the results are there and miss nothing that was planned."""
    path = run.results_dir / "fit.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["complete"])


def describe_fit(fit: Mapping[str, Any], folder: Path) -> str:
    """The table of a document of fit.json, and where `folder` has its report."""
    rows = [f"{'k':>6}  {'pass@k':>8}  {'fail@k':>8}  {'+- (such problems)':>19}"]
    for k, value in fit["pass_at_k"].items():
        error = fit["se_superpopulation"].get(k)
        shown = f"{error:19.4f}" if error is not None else f"{'-':>19}"
        rows.append(f"{k:>6}  {value:8.4f}  {1 - value:8.4f}  {shown}")
    verdict = fit["power_law"]
    n = f"{fit['n_min']} to {fit['n_max']}" if fit["n_min"] != fit["n_max"] else str(fit["n_min"])
    if rule := fit.get("stopping"):
        n += f" (stopped at {rule['r']} passes)"
    rows += ["", f"{fit['problems']} problems, n = {n}, {fit['unsolved']} unsolved"]
    if not fit["complete"]:
        rows.append(f"INCOMPLETE: {fit['evaluated']} of {fit['planned']} samples are evaluated")
    rows += [
        f"power law: {'supported' if verdict['supported'] else 'not supported'}"
        + "".join(f"\n  - {reason}" for reason in verdict["reasons"]),
        f"report: {_shortest(folder / 'report.html')}",
    ]
    return "\n".join(rows)


def _shortest(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
