"""What a user passes on to vLLM: arguments of its engine, and of the model's chat template.

Each is a text key=value. What vLLM knows of them is checked where vLLM is: see
`toolkit.backends.engine_arguments`.
"""

import json
from typing import Any

from toolkit.config import Engine, Sampling
from toolkit.errors import UsageError, refuse

OWN_FLAGS = {
    **{
        name: f"give --{name.replace('_', '-')} itself"
        for name in (
            "revision",
            "dtype",
            "max_model_len",
            "max_num_seqs",
            "max_num_batched_tokens",
            "gpu_memory_utilization",
            "tensor_parallel_size",
        )
    },
    "model": "give --model itself",
    "seed": "each sample has a seed from --base-seed; with --no-seeded each engine draws its own",
    "speculative_config": "give --speculation",
    "logprobs_mode": "give --store-logprob, which needs the default",
    "hf_token": "set HF_TOKEN in the environment; a run records its arguments",
}
"""Arguments of vLLM's engine that are set in another way: which."""
CHANGE_SAMPLES = (
    "calculate_kv_scales",
    "code_revision",
    "config_format",
    "default_mm_loras",
    "disable_sliding_window",
    "enable_mamba_cache_stochastic_rounding",
    "enable_trace_replay",
    "hf_config_path",
    "hf_overrides",
    "kv_cache_dtype",
    "kv_cache_dtype_skip_layers",
    "load_format",
    "logits_processors",
    "mamba_cache_dtype",
    "mamba_ssm_cache_dtype",
    "model_class_overrides",
    "model_weights",
    "override_attention_dtype",
    "quantization",
    "quantization_config",
    "swa_bounded_replay",
    "tokenizer",
    "tokenizer_mode",
    "tokenizer_revision",
    "watermark_config",
)
"""Arguments of vLLM's engine, of any version, that change what is drawn: a run's identity."""


def chat_arguments(sampling: Sampling) -> dict[str, Any]:
    """The arguments of the chat template, by name. A value is read as JSON, else as a text.

    Raises `UsageError` for what is no key=value, or where nothing is asked as a chat.
    """
    found = _pairs("chat_arg", sampling.chat_arg, "enable_thinking=true")
    if found and sampling.prompt_style != "chat":
        raise UsageError(
            f"--chat-arg {next(iter(found))}: --prompt-style {sampling.prompt_style} has no chat "
            "template; leave it out, or ask with --prompt-style chat"
        )
    return found


def engine_arguments(engine: Engine) -> dict[str, Any]:
    """The further arguments of vLLM's engine, by name. A value is read as JSON, else as a text.

    Raises `UsageError` for what is no key=value, and for an argument that a flag of its own sets.
    Which names vLLM has, only vLLM knows: `toolkit.backends.engine_arguments` asks it.
    """
    found = _pairs("engine_arg", engine.engine_arg, "kv_cache_dtype=fp8")
    for key in found:
        if key in OWN_FLAGS:
            raise UsageError(f"--engine-arg {key}: {OWN_FLAGS[key]}")
    return found


def _pairs(name: str, texts: tuple[str, ...] | None, example: str) -> dict[str, Any]:
    """key=value of each text; a value is read as JSON, else as a text."""
    found: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (equals and key.isidentifier()):
            refuse(name, text, f"key=value, such as {example}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
