"""What a launch tells its user beforehand: the plan, in words."""

from collections.abc import Sequence

from toolkit.launch.prepare import LaunchPlan

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
        f"judge      {plan.judge.line()}",
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
