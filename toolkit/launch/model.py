"""The model of a launch: at hand before anything is submitted, or looked at by the doctor."""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.config import Engine, Sampling
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.doctor import Finding
from toolkit.launch.prepare import LaunchPlan
from toolkit.models.footprint import Footprint, held_tokens, kv_bytes_per_token, read_footprint
from toolkit.models.hub_cache import cache_folder, find_model, is_hub_model
from toolkit.passed_on import engine_arguments

USUAL_PROMPT, USUAL_COMPLETION = 200, 200
"""Tokens of a HumanEval sample, on average, with room."""
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The variables that may hold a user's token of the hub."""


def with_model(plan: LaunchPlan, alive: Callable[[], None] = lambda: None) -> LaunchPlan:
    """The plan with its hub model in the cache, at the commit that the run records.

    What the cache lacks is fetched, and one line says which model it is. Unchanged if the plan
    samples nothing, or if its model is not of the hub. From here on this process has no token: the
    jobs that it submits need none, and Slurm would keep it with them.

    alive: called now and then while something is fetched. Raises `UsageError` or `ToolkitError`,
    which name what to do, if the model cannot be had.
    """
    sampling = plan.config.sampling
    wanted = bool(plan.missing) or plan.rule is not None
    if wanted and is_hub_model(sampling.backend, sampling.model):
        from toolkit.models.hub import fetch_model

        commit = (plan.hub_model or {}).get("commit", "")
        found = fetch_model(sampling.model, sampling.revision, commit, alive)
        print(f"hub        {found.line()}")
        plan = replace(plan, hub_model=found.document())
    for name in TOKENS:
        os.environ.pop(name, None)
    return plan


def model_at_hand(sampling: Sampling) -> bool:
    """Whether the model can be loaded without fetching anything."""
    if not is_hub_model(sampling.backend, sampling.model):
        return True
    return find_model(sampling.model, sampling.revision or "main") is not None


def describe_model(plan: LaunchPlan) -> str:
    """One line for a dry run: whether the hub's cache has the model. The hub is not asked.

    "" if the model is not of the hub.
    """
    sampling = plan.config.sampling
    if not is_hub_model(sampling.backend, sampling.model):
        return ""
    commit = (plan.hub_model or {}).get("commit", "")
    if found := find_model(sampling.model, sampling.revision or "main", commit):
        return f"hub        {found.line()}"
    return f"hub        {sampling.model} is not whole in the cache: the launch will fetch it"


def examine_model(
    sampling: Sampling, engine: Engine, gpu_gib: float, seeds: int = 1
) -> Iterator[Finding]:
    """Whether the model can be had and is complete, and weights and KV cache fit the GPU.

    gpu_gib: memory of a GPU, in GiB. seeds: samples of a problem that follow one another in a
    slice and share the blocks of its prompt. Of a hub model nothing is fetched but its
    configuration.
    """
    model, backend = sampling.model, sampling.backend
    if backend != "vllm":
        yield Finding("ok", "model", f"none is loaded: --backend {backend}")
    elif not model:
        yield Finding("ok", "model", "the embedded model, for the CPU")
    elif is_hub_model(backend, model):
        yield from _examine_hub_model(sampling, engine, gpu_gib, seeds)
    else:
        try:
            need = read_footprint(Path(model), engine.dtype)
        except UsageError as error:
            yield Finding("fail", "model", str(error), "download it again")
        else:
            yield _fits(need, engine, gpu_gib, seeds)


def _examine_hub_model(
    sampling: Sampling, engine: Engine, gpu_gib: float, seeds: int
) -> Iterator[Finding]:
    """In the cache, or to be had from the hub: access, commit, size and room."""
    try:
        if found := find_model(sampling.model, sampling.revision or "main"):
            need = read_footprint(found.snapshot, engine.dtype)
            yield Finding("ok", "hub", f"{found.line()}, in the cache: no network needed")
        else:
            from toolkit.models.hub import survey_model

            survey = survey_model(sampling.model, sampling.revision)
            need = Footprint(survey.weights, kv_bytes_per_token(survey.config, engine.dtype))
            had = (
                f"{sampling.model}, commit {survey.commit[:12]}: {survey.missing / 1e9:.1f} GB to "
                f"fetch, {survey.free / 1e9:.1f} GB free in {cache_folder()}"
            )
            if survey.missing > survey.free:
                yield Finding("fail", "hub", had, "set HF_HOME to a shared directory with more")
            else:
                yield Finding("ok", "hub", had)
    except ToolkitError as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding("fail", "hub", what, remedy)
        return
    yield _fits(need, engine, gpu_gib, seeds)


def _fits(need: Footprint, engine: Engine, gpu_gib: float, seeds: int) -> Finding:
    """Whether weights and KV cache fit the GPUs of one engine."""
    if engine_arguments(engine).get("enable_prefix_caching") is False:
        seeds = 1
    gpus = engine.tensor_parallel_size
    tokens = need.kv_tokens(gpus * gpu_gib * 2**30, engine.gpu_memory_utilization)
    found = (
        f"{need.weights / 2**30:.1f} GiB of weights, {need.kv_per_token / 1024:.0f} KiB of KV "
        f"cache a token: room for {max(0, tokens):,} tokens on {gpus} x {gpu_gib:g} GiB"
    )
    if tokens < engine.max_model_len:
        return Finding("fail", "model", found, "take a larger GPU or --tensor-parallel-size")

    def held(sequences: int) -> int:
        return held_tokens(sequences, USUAL_PROMPT, USUAL_COMPLETION, seeds)

    if tokens < held(engine.max_num_seqs):
        fit = bisect_right(range(1, engine.max_num_seqs), tokens, key=held)
        return Finding("warn", "model", found, f"enough for --max-num-seqs {fit}")
    return Finding("ok", "model", found)
