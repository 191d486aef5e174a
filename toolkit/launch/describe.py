"""What a launch tells its user beforehand: the plan, in words."""

import json
from collections.abc import Iterator, Sequence

from toolkit.cli import how_many
from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.launch.amounts import memory_in_words, time_in_words
from toolkit.launch.chain import alongside
from toolkit.launch.prepare import LaunchPlan
from toolkit.launch.sbatch_options import Options, gpus_needed, gres_asked, job_options
from toolkit.launch.slice_size import MOST_SLICES
from toolkit.launch.speed import assumed_tokens, limit_minutes, measured_seconds
from toolkit.passed_on import chat_arguments
from toolkit.problems.load import source_of
from toolkit.runs.history import recorded_vllm, vllm_version
from toolkit.runs.run import open_run
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND
from toolkit.verifiers.base import prompts_of


def describe_plan(plan: LaunchPlan, launcher: str, tasks: Sequence[Sequence[str]]) -> str:
    """The run, what is planned and missing, the resources and a first estimate of the cost."""
    r, s = plan.config.resources, plan.config.sampling
    a_sample = assumed_tokens(s)
    tokens = plan.samples_missing * a_sample
    hours = tokens / ASSUMED_TOKENS_PER_SECOND / 3600
    asked = source_of(plan.config.problem_set)
    lines = [
        f"run        {plan.path} ({'exists' if plan.exists else 'new'})",
        f"model      {plan.identity['model']} by {s.backend}, {s.prompt_style} prompts, "
        f"T {s.temperature}, top_p {s.top_p}, at most {s.max_tokens} tokens",
        f"problems   {len(plan.problems)} of {asked}, {_quantity(plan)}",
        f"samples    {plan.planned} planned, {plan.samples_missing} to sample "
        f"in {how_many(len(plan.missing), 'slice')}",
        f"judge      {plan.judge.line()}",
        f"launcher   {launcher}: {how_many(len(tasks), 'array task')} for sampling, "
        f"{r.eval_array} for evaluation{_alongside(plan, launcher)}",
        *_engines_line(plan.config, len(tasks)),
        *_version_line(plan),
        *_dtype_line(plan),
    ]
    lines += _many_slices_line(plan)
    lines += (f"budget     {each.line()}" for each in plan.budget)
    if plan.missing and (spent := plan.out_of_budget):
        lines.append(
            f"           is spent: nothing is sampled; give a higher {spent.flag} to go on"
        )
    if launcher == "slurm":
        jobs = (_asked(job_options(plan.config, stage)) for stage in ("sample", "evaluate"))
        lines.append("resources  a sampling array task: {}; an evaluation one: {}".format(*jobs))
        lines += _slow_slice_line(plan)
    # What an array task on another machine, or without a GPU, would cost is not known here.
    engines = max(1, len(tasks)) * r.engines_per_task
    on_gpus = launcher == "slurm" and s.backend == "vllm" and s.model and r.gres != ""
    if on_gpus and plan.samples_missing:
        lines.append(
            f"estimate   {tokens / 1e6:.2f} M tokens (assuming {a_sample:,} a sample); an 8B "
            f"model on A100-40GB (assuming {ASSUMED_TOKENS_PER_SECOND:g} tokens/s a GPU): "
            f"{hours:.2f} GPU-hours, {60 * hours / engines:.1f} min on {engines}"
        )
    return "\n".join(lines)


def _engines_line(config: Config, tasks: int) -> Iterator[str]:
    """How many engines and GPUs there are in all, where an array task has several engines."""
    engines, gpus = config.resources.engines_per_task, gpus_needed(config)
    if engines > 1:
        on_gpus = config.sampling.backend == "vllm" and config.resources.gres != ""
        told = f", {gpus} GPUs in each: {tasks * gpus} GPUs in all" if on_gpus else ""
        yield f"engines    {engines} in each sampling array task, {tasks * engines} in all{told}"


def _version_line(plan: LaunchPlan) -> Iterator[str]:
    """Said where this launch samples with another vLLM than the run's launches before it."""
    if not plan.exists or plan.config.sampling.backend != "vllm" or not plan.missing:
        return
    here, before = vllm_version(), recorded_vllm(open_run(plan.path))
    if here and before and before != here:
        yield (
            f"vllm       {here} here; the launch before had {before}. Samples of both will "
            "stand in one run; each shard records its own"
        )


def _dtype_line(plan: LaunchPlan) -> Iterator[str]:
    if plan.kept_dtype and plan.missing:
        yield f"dtype      {plan.kept_dtype}, as the run's samples have: this launch names none"


def _alongside(plan: LaunchPlan, launcher: str) -> str:
    if not alongside(plan):
        return ""
    inline = ", after it: inline is one process"
    return inline if launcher == "inline" else ", which begins while it samples"


def describe_prompt(plan: LaunchPlan, task_id: str) -> str:
    """What the model gets for a problem: messages or text, the template's arguments, stop strings.

    Raises `UsageError` if the run has no such problem.
    """
    sampling = plan.config.sampling
    problem = next((p for p in plan.problems if p.task_id == task_id), None)
    if problem is None:
        first, last = plan.problems[0].task_id, plan.problems[-1].task_id
        raise UsageError(f"--show-prompt {task_id}: no such problem; valid: {first} ... {last}")
    prompt = prompts_of([problem])[task_id]
    if sampling.prompt_style == "chat":
        shown = [f"[{role}]\n{text}" for role, text in prompt.messages]
        if arguments := chat_arguments(sampling):
            shown.append(f"[chat template's arguments]\n{json.dumps(arguments)}")
    else:
        shown = [f"[text]\n{prompt.text}"]
    stop = prompt.stop_strings(sampling.prompt_style, sampling.stop)
    shown.append(f"[stop]\n{json.dumps(list(stop), ensure_ascii=False)}")
    return "\n\n".join(shown)


def _many_slices_line(plan: LaunchPlan) -> Iterator[str]:
    """Warns of a round whose slices, of the size that was given, are far too many files."""
    given, count = plan.config.quantity.slice_samples, len(plan.new)
    if given and count > 2 * MOST_SLICES:
        yield (
            f"warning    {count:,} new slices of {given} become {2 * count:,} files in two "
            "directories: give --slice-samples 0, which takes a size that fits"
        )


def _slow_slice_line(plan: LaunchPlan) -> Iterator[str]:
    """Warns of a slice that takes over half of the time limit, at the speed of the run so far.

    Says nothing of a run that has no samples yet, whose speed is unknown.
    """
    minutes = _minutes_of(max(map(len, plan.missing), default=0), plan)
    limit = limit_minutes(plan.config)
    if 2 * minutes > limit:
        new = len(plan.new) == len(plan.missing)
        yield (
            f"warning    a slice takes about {minutes:.0f} min at the speed so far, over half of "
            f"the time limit of {limit:.0f} min: give --time more"
            + (" or --slice-samples less" if new else "")
        )


def _minutes_of(samples: int, plan: LaunchPlan) -> float:
    """So long one engine needs for so many samples; 0 if that is not known."""
    if not (plan.exists and samples):
        return 0.0
    return samples * (measured_seconds(open_run(plan.path), plan.config) or 0.0) / 60


def _asked(options: Options) -> str:
    """What a job asks Slurm for, in words."""
    found = [gres_asked(options, "") or "no gres"]
    if cores := options.get("cpus-per-task"):
        found.append(f"{cores} cores")
    if memory := options.get("mem"):
        found.append(memory_in_words(str(memory)))
    return ", ".join([*found, time_in_words(str(options["time"]))])


def _quantity(plan: LaunchPlan) -> str:
    if plan.rule is None:
        return f"n = {plan.config.quantity.samples} each"
    looks = ", ".join(map(str, plan.rule.looks))
    passes = how_many(plan.rule.r, "pass", "passes")
    return f"each until it has {passes}, looked for after {looks} samples"
