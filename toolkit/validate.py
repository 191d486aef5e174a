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


def validate(config: Config) -> None:
    """Raise `UsageError`, naming the flag, for a value that no launch could use."""
    for section in SECTIONS:
        values = getattr(config, section)
        for field in dataclasses.fields(values):
            choices, value = field.metadata["choices"], getattr(values, field.name)
            if choices and value not in choices:
                refuse(field.name, value, f"one of {', '.join(choices)}")
    s, q, e, r = config.sampling, config.quantity, config.engine, config.resources
    stop = config.stopping
    checks: list[tuple[str, Any, bool, str]] = [
        ("temperature", s.temperature, 0 <= s.temperature < 10, "0 or more, under 10"),
        ("top_p", s.top_p, 0 < s.top_p <= 1, "over 0, at most 1"),
        ("max_tokens", s.max_tokens, s.max_tokens >= 1, "1 or more"),
        ("base_seed", s.base_seed, 0 <= s.base_seed < 2**62, "0 or more, under 2^62"),
        ("synthetic_a", s.synthetic_a, s.synthetic_a > 0, "over 0"),
        ("synthetic_b", s.synthetic_b, s.synthetic_b > 0, "over 0"),
        ("samples", q.samples, 1 <= q.samples < 2**32, "1 or more, under 2^32"),
        ("slice_samples", q.slice_samples, q.slice_samples >= 0, "0 or more"),
        ("slice_seeds", q.slice_seeds, q.slice_seeds >= 1, "1 or more"),
        ("stop_r", stop.stop_r, stop.stop_r >= 1, "1 or more"),
        ("stop_min", stop.stop_min, stop.stop_min >= 1, "1 or more"),
        (
            "stop_cap",
            stop.stop_cap,
            stop.stop_min <= stop.stop_cap < 2**32,
            "at least --stop-min, under 2^32",
        ),
        ("stop_batch", stop.stop_batch, stop.stop_batch >= 0, "0 or more"),
        ("max_model_len", e.max_model_len, e.max_model_len > s.max_tokens, "over --max-tokens"),
        ("max_num_seqs", e.max_num_seqs, e.max_num_seqs >= 1, "1 or more"),
        (
            "gpu_memory_utilization",
            e.gpu_memory_utilization,
            0 < e.gpu_memory_utilization <= 1,
            "over 0, at most 1",
        ),
        ("synthetic_rate", e.synthetic_rate, e.synthetic_rate >= 0, "0 or more"),
        ("array", r.array, r.array >= 1, "1 or more"),
        ("engines_per_task", r.engines_per_task, r.engines_per_task >= 1, "1 or more"),
        ("eval_array", r.eval_array, r.eval_array >= 1, "1 or more"),
        ("replicates", config.fit.replicates, config.fit.replicates >= 100, "100 or more"),
        *(
            (name, value, value is None or value >= 1, "1 or more")
            for name, value in (
                ("limit", config.problem_set.limit),
                ("workers", config.evaluation.workers),
                ("max_parallel", r.max_parallel),
                ("max_num_batched_tokens", e.max_num_batched_tokens),
                ("max_parallel_requests", e.max_parallel_requests),
            )
        ),
        *(
            (name, price, price is None or price >= 0, "0 or more")
            for name in ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
            for price in (getattr(e, name),)
        ),
        ("timeout", (limit := config.evaluation.timeout), limit is None or limit > 0, "over 0"),
        *(
            (name, most, most is None or most > 0, "over 0")
            for name, most in _bounds(config.budget)
        ),
    ]
    for name, value, holds, wanted in checks:
        if not holds:
            refuse(name, value, wanted)
    chat_arguments(s)
    if e.share_prefixes:
        _check_sharing(s, e)
    if r.engines_per_task > 1 and s.backend == "openai":
        raise UsageError(
            f"--engines-per-task {r.engines_per_task}: --backend openai asks one server and starts "
            "no engine; launch with --engines-per-task 1, and ask it more at a time by "
            "--max-parallel-requests"
        )
    if "@" in (split := urlsplit(e.base_url)).netloc or split.query:
        # Not shown: it would be in the log.
        raise UsageError(
            "--base-url: holds a user, a password or a key, which would be recorded; give the URL "
            "alone, and the key in the variable OPENAI_API_KEY"
        )
    _check_budget(s.backend, e, config.budget)
    engine_arguments(e)
    if e.store_logprob and s.backend not in LOGPROB_BACKENDS:
        raise UsageError(
            f"--store-logprob: --backend {s.backend} has no model, and so no log-probabilities; "
            f"launch with --no-store-logprob, or with --backend {' or '.join(LOGPROB_BACKENDS)}"
        )


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
    else:
        return
    raise UsageError(f"--share-prefixes: {said}")


def _bounds(budget: Budget) -> Iterator[tuple[str, float | None]]:
    """Each amount of a budget that must be over 0, by its name."""
    for field in dataclasses.fields(budget):
        yield field.name, getattr(budget, field.name)


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
            "--max-usd: what does the server ask for its tokens? Give "
            "--usd-per-million-output-tokens, or --max-output-tokens in place of --max-usd"
        )
