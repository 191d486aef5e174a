"""Whether a configuration can be: each value for itself, and together."""

import dataclasses
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from toolkit.config import SECTIONS, Budget, Config, Engine, Sampling
from toolkit.errors import UsageError, refuse
from toolkit.passed_on import chat_arguments, engine_arguments

LOGPROB_BACKENDS = ("vllm", "openai")
"""The backends that tell the probabilities of the tokens that they draw."""
SHARING_SETS = frozenset(
    {
        "async_scheduling",
        "data_parallel_size",
        "distributed_executor_backend",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "logits_processors",
        "pipeline_parallel_size",
        "watermark_config",
    }
)
"""Arguments of vLLM's engine that --share-prefixes sets itself, or needs at vLLM's default."""


Check = tuple[str, Any, bool, str]
"""A knob, its value, whether the value can be, and what it must be."""


def validate(config: Config) -> None:
    """Raise `UsageError`, naming the flag, for a value that no launch could use."""
    _check_choices(config)
    for name, value, holds, wanted in (*_ranges(config), *_ranges_if_given(config)):
        if not holds:
            refuse(name, value, wanted)
    sampling, engine = config.sampling, config.engine
    chat_arguments(sampling)
    if engine.share_prefixes:
        _check_sharing(sampling, engine)
    if config.resources.engines_per_task > 1 and sampling.backend == "openai":
        raise UsageError(
            f"--engines-per-task {config.resources.engines_per_task}: --backend openai asks one "
            "server and starts no engine; launch with --engines-per-task 1, and ask it more at a "
            "time by --max-parallel-requests"
        )
    if "@" in (split := urlsplit(engine.base_url)).netloc or split.query:
        # Not shown: it would be in the log.
        raise UsageError(
            "--base-url: holds a user, a password or a key, which would be recorded; give the URL "
            "alone, and the key in the variable OPENAI_API_KEY"
        )
    _check_budget(sampling.backend, engine, config.budget)
    engine_arguments(engine)
    if engine.store_logprob and sampling.backend not in LOGPROB_BACKENDS:
        raise UsageError(
            f"--store-logprob: --backend {sampling.backend} has no model, and so no "
            "log-probabilities; launch with --no-store-logprob, or with --backend "
            f"{' or '.join(LOGPROB_BACKENDS)}"
        )


def _check_choices(config: Config) -> None:
    """Raise `UsageError` for a value that is not among a knob's choices."""
    for section in SECTIONS:
        values = getattr(config, section)
        for field in dataclasses.fields(values):
            choices, value = field.metadata["choices"], getattr(values, field.name)
            if choices and value not in choices:
                refuse(field.name, value, f"one of {', '.join(choices)}")


def _ranges(config: Config) -> Iterator[Check]:
    """Numbers that always have a value."""
    s, q, e, r = config.sampling, config.quantity, config.engine, config.resources
    stop = config.stopping
    share = e.gpu_memory_utilization
    yield "temperature", s.temperature, 0 <= s.temperature < 10, "0 or more, under 10"
    yield "top_p", s.top_p, 0 < s.top_p <= 1, "over 0, at most 1"
    yield "max_tokens", s.max_tokens, s.max_tokens >= 1, "1 or more"
    yield "base_seed", s.base_seed, 0 <= s.base_seed < 2**62, "0 or more, under 2^62"
    yield "synthetic_a", s.synthetic_a, s.synthetic_a > 0, "over 0"
    yield "synthetic_b", s.synthetic_b, s.synthetic_b > 0, "over 0"
    yield "samples", q.samples, 1 <= q.samples < 2**32, "1 or more, under 2^32"
    yield "slice_samples", q.slice_samples, q.slice_samples >= 0, "0 or more"
    yield "slice_seeds", q.slice_seeds, q.slice_seeds >= 1, "1 or more"
    yield "stop_r", stop.stop_r, stop.stop_r >= 1, "1 or more"
    yield "stop_min", stop.stop_min, stop.stop_min >= 1, "1 or more"
    holds = stop.stop_min <= stop.stop_cap < 2**32
    yield "stop_cap", stop.stop_cap, holds, "at least --stop-min, under 2^32"
    yield "stop_batch", stop.stop_batch, stop.stop_batch >= 0, "0 or more"
    yield "max_model_len", e.max_model_len, e.max_model_len > s.max_tokens, "over --max-tokens"
    yield "max_num_seqs", e.max_num_seqs, e.max_num_seqs >= 1, "1 or more"
    yield "gpu_memory_utilization", share, 0 < share <= 1, "over 0, at most 1"
    yield "synthetic_rate", e.synthetic_rate, e.synthetic_rate >= 0, "0 or more"
    yield "array", r.array, r.array >= 1, "1 or more"
    yield "engines_per_task", r.engines_per_task, r.engines_per_task >= 1, "1 or more"
    yield "eval_array", r.eval_array, r.eval_array >= 1, "1 or more"
    yield "replicates", config.fit.replicates, config.fit.replicates >= 100, "100 or more"


def _ranges_if_given(config: Config) -> Iterator[Check]:
    """Numbers that may be None."""
    engine, resources = config.engine, config.resources
    for name, count in (
        ("limit", config.problem_set.limit),
        ("workers", config.evaluation.workers),
        ("max_parallel", resources.max_parallel),
        ("max_num_batched_tokens", engine.max_num_batched_tokens),
        ("max_parallel_requests", engine.max_parallel_requests),
    ):
        yield name, count, count is None or count >= 1, "1 or more"
    for name in ("usd_per_million_input_tokens", "usd_per_million_output_tokens"):
        price = getattr(engine, name)
        yield name, price, price is None or price >= 0, "0 or more"
    limit = config.evaluation.timeout
    yield "timeout", limit, limit is None or limit > 0, "over 0"
    for field in dataclasses.fields(config.budget):
        most = getattr(config.budget, field.name)
        yield field.name, most, most is None or most > 0, "over 0"


def _check_sharing(sampling: Sampling, engine: Engine) -> None:
    """Raise `UsageError` for what `--share-prefixes` cannot be combined with."""
    if sampling.backend != "vllm":
        said = f"--backend {sampling.backend} has no engine here; launch without it"
    elif sampling.temperature == 0:
        said = "with --temperature 0 all samples are one; launch without it, with --samples 1"
    elif engine.tensor_parallel_size > 1:
        said = "works with one GPU an engine; launch with --tensor-parallel-size 1, or without it"
    elif engine.speculation != "off":
        said = "draws each token itself; launch with --speculation off, or without it"
    elif engine.store_logprob:
        said = "knows no log-probabilities; launch with --no-store-logprob, or without it"
    elif taken := sorted(SHARING_SETS & engine_arguments(engine).keys()):
        said = (
            f"decides on {taken[0]} itself; leave out --engine-arg {taken[0]}, or launch without it"
        )
    else:
        return
    raise UsageError(f"--share-prefixes: {said}")


def _check_budget(backend: str, engine: Engine, budget: Budget) -> None:
    """Raise `UsageError` for a bound that a backend could never reach."""
    if backend != "openai":
        return
    if budget.max_gpu_hours is not None:
        raise UsageError(
            "--max-gpu-hours: the GPUs are the server's, so that their time is not known here; "
            "give --max-output-tokens"
        )
    prices = engine.usd_per_million_input_tokens, engine.usd_per_million_output_tokens
    if budget.max_usd is not None and prices == (None, None):
        raise UsageError(
            "--max-usd: the server's prices are not known; give "
            "--usd-per-million-output-tokens, or --max-output-tokens in place of --max-usd"
        )
