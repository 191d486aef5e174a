"""The arguments of vLLM's engine, from the configuration and what the installed version has.

vLLM's arguments change from version to version. So the version that runs says which there are. An
argument that only some versions have is set where it is known. One of the user's that is not known
is refused, with the nearest that is.
"""

import difflib
from collections.abc import Collection
from typing import Any

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.passed_on import engine_arguments

NGRAM_TOKENS, NGRAM_LONGEST, NGRAM_SHORTEST = 6, 4, 2
"""Speculation by n-grams: guess so many tokens, after the last 4 to 2 tokens were seen before."""
KINDS = ("ngram", "suffix")
"""The kinds of speculation that --speculation offers."""


def arguments_of(
    config: Config, known: Collection[str], methods: Collection[str], seed: int, *, on_cpu: bool
) -> dict[str, Any]:
    """The keyword arguments of `vllm.LLM`, without the model.

    known: the arguments that the installed vLLM has. methods: its kinds of speculation. seed: the
    engine's own. Raises `UsageError` for an argument or a kind of speculation that it lacks.
    """
    engine = config.engine
    arguments: dict[str, Any] = {
        "revision": config.sampling.revision or None,
        "dtype": engine.dtype,
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "tensor_parallel_size": engine.tensor_parallel_size,
        "enable_prefix_caching": True,
        "seed": seed,
    }
    # Statistics of the scheduler, see toolkit.backends.vllm_stats.
    optional: dict[str, Any] = {"disable_log_stats": False}
    if engine.store_logprob:
        # Of the model itself: before temperature and top_p. It is vLLM's default too.
        optional["logprobs_mode"] = "raw_logprobs"
    if speculation := speculation_of(engine.speculation, methods, on_cpu=on_cpu):
        arguments["speculative_config"] = speculation
    arguments |= {name: value for name, value in optional.items() if name in known}
    arguments |= _on_cpu(config) if on_cpu else _on_gpu(config)
    return arguments | checked(engine_arguments(engine), known)


def _on_gpu(config: Config) -> dict[str, Any]:
    engine = config.engine
    arguments: dict[str, Any] = {"gpu_memory_utilization": engine.gpu_memory_utilization}
    if engine.max_num_batched_tokens:
        arguments["max_num_batched_tokens"] = engine.max_num_batched_tokens
    return arguments


def _on_cpu(config: Config) -> dict[str, Any]:
    engine = config.engine
    return {
        # bfloat16 is several times slower where the CPU has no AVX-512.
        "dtype": "float32" if engine.dtype == "auto" else engine.dtype,
        # Compilation takes minutes on a CPU and gains nothing.
        "enforce_eager": True,
        # The CPU engine dies of a seeded request whose prefill is split into chunks.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(engine.max_model_len, 2048),
        # With the default of 128, prompts of fewer tokens share no prefix.
        "block_size": 32,
    }


def speculation_of(kind: str, methods: Collection[str], *, on_cpu: bool) -> dict[str, Any] | None:
    """vLLM's speculative_config. None: no speculation. `UsageError` if this vLLM has no such kind.

    On a GPU, n-grams are looked up there if this version can. The CPU need not wait for it then.
    """
    if kind == "off":
        return None
    if kind == "ngram" and not on_cpu and "ngram_gpu" in methods:
        kind = "ngram_gpu"
    if kind not in methods:
        has = ", ".join(sorted(set(KINDS) & set(methods))) or "none"
        raise UsageError(
            f"--speculation {kind}: the installed vLLM has only {has}; launch with one of these, "
            "or off"
        )
    if kind == "suffix":
        return {"method": kind}  # its length is its own choice
    return {
        "method": kind,
        "num_speculative_tokens": NGRAM_TOKENS,
        "prompt_lookup_max": NGRAM_LONGEST,
        "prompt_lookup_min": NGRAM_SHORTEST,
    }


def checked(asked: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The arguments that the user asked for. Raises `UsageError` for one that vLLM has not."""
    for name in asked:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise UsageError(
                f"--engine-arg {name}: the installed vLLM has no such argument; the nearest is "
                f"{nearest[0] if nearest else 'none'}"
            )
    return asked
