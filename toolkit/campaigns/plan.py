"""A study planned: each run by the launch's own functions, with what it is expected to cost.

Everything is checked here, for all runs, before anything of any run is written.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.campaigns.slots import Work
from toolkit.campaigns.study import Study, StudyRun
from toolkit.config import Config
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.gpus import refuse_too_few_gpus, visible_gpus
from toolkit.launch.prepare import LaunchPlan, plan_launch, tasks_of
from toolkit.launch.queue import choose_launcher
from toolkit.launch.speed import assumed_tokens
from toolkit.report.terminal import results_complete
from toolkit.runs.run import Run, open_run
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND, read_spent, sum_of_known
from toolkit.verifiers.base import prompts_of

Configure = Callable[[Mapping[str, Any]], Config]
"""The flags of a launch, with `preset`, to a checked configuration."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to be sampled, as expected. None: not known, or no GPU.

    samples: of an adaptive run at most, up to its cap. tokens: output tokens. usd: of GPU-hours, or
    of a hosted model's tokens.
    """

    samples: int
    tokens: float
    gpu_hours: float | None
    usd: float | None


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run of a study and what a launch of it would do. launcher: slurm, local or inline."""

    asked: StudyRun
    plan: LaunchPlan
    launcher: str
    estimate: Estimate

    @property
    def name(self) -> str:
        """As the study names it."""
        return self.asked.name

    @property
    def done(self) -> bool:
        """Nothing is to be sampled, judged or fitted."""
        plan = self.plan
        if plan.missing or not plan.exists:
            return False
        run = open_run(plan.path)
        return plan.rule == run.stopping_rule() and results_complete(run)

    @property
    def work(self) -> Work:
        """What it takes of the bound on parallel tasks."""
        most = self.plan.config.resources.max_parallel
        tasks = len(tasks_of(self.plan))
        size = self.estimate.tokens or float(self.plan.samples_missing)
        return Work(min(tasks, most or tasks), size, endless=self.plan.rule is not None)

    def again(self, parallel: int | None = None) -> LaunchPlan:
        """Plan it anew, once nobody else can. parallel: its sampling array tasks at a time."""
        known = self.plan
        plan = _plan(self.asked, known.config, known.path.parent, known.path)
        resources = plan.config.resources
        if parallel is not None:
            resources = replace(resources, max_parallel=parallel)
        config = replace(plan.config, resources=resources)
        return replace(plan, config=config, hub_model=known.hub_model or plan.hub_model)


def plan_study(study: Study, configure: Configure) -> list[PlannedRun]:
    """Plan all runs; only reads. Raises `UsageError`, naming the run, for what is wrong with one.

    Two runs that would be the same one are refused too: what is sampled decides.
    """
    configs = {}
    for asked in study.runs:
        with _naming(study, asked):
            configs[asked.name] = configure({**asked.flags, "preset": asked.preset or None})
    launcher = _launcher(study, list(configs.values()))
    found, seen = [], dict[Path, str]()
    for asked in study.runs:
        path = Path(asked.path) if asked.path else None
        with _naming(study, asked):
            plan = _plan(asked, configs[asked.name], Path(study.settings.runs), path)
            if launcher == "local":
                refuse_too_few_gpus(plan.config, visible_gpus(os.environ))
        other = seen.setdefault(plan.path.resolve(), asked.name)
        if other != asked.name:
            raise UsageError(
                f"{study.file}: {other} and {asked.name} are the same run, {plan.path}: they ask "
                "the same of the same model; leave one out, or give another --base-seed"
            )
        estimate = estimate_of(plan, launcher, study.settings.usd_per_gpu_hour)
        found.append(PlannedRun(asked, plan, launcher, estimate))
    return found


@contextlib.contextmanager
def _naming(study: Study, run: StudyRun) -> Iterator[None]:
    """Name the run of a study in what is raised within."""
    where = f"{study.file}: run {run.name}"
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except ToolkitError as error:
        raise ToolkitError(f"{where}: {error}") from None


def _plan(asked: StudyRun, config: Config, runs: Path, path: Path | None) -> LaunchPlan:
    timeout, libraries = asked.flags.get("timeout"), asked.flags.get("libraries")
    return plan_launch(config, runs, path, timeout=timeout, libraries=libraries)


def _launcher(study: Study, configs: Sequence[Config]) -> str:
    """Where all runs work. Raises `UsageError` where they disagree, or no cluster answers."""
    asked = {config.resources.launcher for config in configs}
    if len(asked) > 1:
        raise UsageError(f"{study.file}: name one launcher for all runs, in [all]")
    return choose_launcher(asked.pop())


def estimate_of(plan: LaunchPlan, launcher: str, usd_per_gpu_hour: float) -> Estimate:
    """From the run's own samples where it has some, else from what a launch assumes."""
    samples = plan.samples_missing
    if plan.rule is not None:
        most = plan.rule.looks[-1] * len(plan.problems)
        samples += most - plan.planned
    length, rate = float(assumed_tokens(plan.config.sampling)), ASSUMED_TOKENS_PER_SECOND
    drawn = plan.planned - plan.samples_missing
    if plan.exists and drawn:
        spent = read_spent(Run(plan.path))
        length = spent.tokens / drawn if spent.tokens else length
        rate = spent.tokens_per_second or rate
    tokens = samples * length
    hours = tokens / rate / 3600 if on_gpus(plan.config, launcher) else None
    usd = _hosted_usd(plan, samples, tokens) if hours is None else hours * usd_per_gpu_hour
    return Estimate(samples, tokens, hours, usd)


def _hosted_usd(plan: LaunchPlan, samples: int, tokens: float) -> float | None:
    """Dollars of a hosted model's tokens; a prompt's are taken to be of four characters each."""
    engine = plan.config.engine
    prices = engine.usd_per_million_input_tokens, engine.usd_per_million_output_tokens
    if prices == (None, None):
        return None
    asked = [len(prompt.text) for prompt in prompts_of(plan.problems).values()]
    prompts = samples * sum(asked) / len(asked) / 4
    return ((prices[0] or 0.0) * prompts + (prices[1] or 0.0) * tokens) / 1e6


def on_gpus(config: Config, launcher: str) -> bool:
    """Whether the sampling of a configuration takes GPUs."""
    if config.sampling.backend != "vllm" or not config.sampling.model:
        return False
    return config.resources.gres != "" and (launcher == "slurm" or bool(visible_gpus(os.environ)))


def total(estimates: Sequence[Estimate]) -> Estimate:
    """Of all runs together; None only where no run has a value."""
    return Estimate(
        sum(e.samples for e in estimates),
        sum(e.tokens for e in estimates),
        sum_of_known(e.gpu_hours for e in estimates),
        sum_of_known(e.usd for e in estimates),
    )


def describe_study(study: Study, planned: Sequence[PlannedRun]) -> str:
    """The plan of a study for a terminal: a line a run, the sum, and the bounds."""
    width = max(len(p.name) for p in planned)
    head = f"{'run':<{width}} {'samples':>9} {'M tokens':>9} {'GPU-hours':>9} {'$':>9}  "
    lines = [head + "directory"]
    for p in planned:
        state = "done" if p.done else "goes on" if p.plan.exists else "new"
        lines.append(f"{p.name:<{width}} {_amounts(p.estimate)}  {p.plan.path} ({state})")
    summed = total([p.estimate for p in planned])
    lines.append(f"{'all':<{width}} {_amounts(summed)}")
    if any(p.plan.rule for p in planned):
        lines.append("adaptive runs are counted up to their caps: they may need far less")
    if study.settings.max_parallel:
        lines.append(f"at most {study.settings.max_parallel} sampling array tasks at a time")
    if study.settings.max_gpu_hours:
        lines.append(f"no run starts once {study.settings.max_gpu_hours:g} GPU-hours are spent")
        if (summed.gpu_hours or 0.0) > study.settings.max_gpu_hours:
            lines.append("warning: the estimate is over that, so the last runs would not start")
    return "\n".join(lines)


def _amounts(found: Estimate) -> str:
    hours, usd = (
        f"{x:9.2f}" if x is not None else f"{'-':>9}" for x in (found.gpu_hours, found.usd)
    )
    return f"{found.samples:>9} {found.tokens / 1e6:9.3f} {hours} {usd}"
