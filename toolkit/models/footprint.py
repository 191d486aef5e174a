"""GPU memory that a model needs: weights and KV cache, from its config.json.

The KV cache of a token takes 2 (keys, values) x layers x KV heads x head dimension x bytes per
value. Llama 3.1 8B in bfloat16: 2 x 32 x 8 x 128 x 2 = 131,072 bytes per token. Its weights take
16.06 GB = 14.96 GiB.

The table shows the memory left for the KV cache, the tokens that fit in it, how many sequences the
presets decode together, and the tokens that these hold (`held_tokens`). A sequence of HumanEval has
about 400 tokens, with a margin: 200 of the prompt, which the samples of a problem share, and 200 of
the completion. A slice has 125 samples of a problem.

    GPU                 GiB x utilization - weights - 2 GiB     tokens     sequences     held
    A10, L4 (24 GB)       22.5 x 0.92     =   3.7 GiB            30,600       128       27,200
    A100 (40 GB)          40   x 0.90     =  19.0 GiB           156,000       256       54,016
    L40S (48 GB)          44.5 x 0.90     =  23.1 GiB           189,000       512      107,648
    A100, H100 (80 GB)    80   x 0.90     =  55.0 GiB           450,900       512      107,648

An A100 (40 GB) has room for 512 sequences. By the roof they are no faster than 256 (docs/roof.md).

DeepSeek-R1-Distill-Qwen-7B has 14.2 GiB of weights and 2 x 28 x 4 x 128 x 2 = 57,344 bytes per
token. An A100 (40 GB) has room for 371,000 tokens: 96 thoughts of 3,800 tokens.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "auto": 2}
BLOCK = 16
"""Tokens of a block of vLLM's KV cache on a GPU, by default."""
RESERVED = 2 << 30
"""Bytes for activations, CUDA graphs and unused allocations, of an 8B model at 256 sequences."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of all weights, and bytes of the KV cache of one token."""

    weights: int
    kv_per_token: int

    def kv_tokens(self, gpu_bytes: float, utilization: float) -> int:
        """How many tokens of KV cache fit beside the weights. Negative: the weights do not fit.

        gpu_bytes: memory of the GPU. utilization: the share of it that the engine may use, 0 to 1.
        """
        room = gpu_bytes * utilization - self.weights - RESERVED
        return int(room // self.kv_per_token)


def held_tokens(sequences: int, prompt: int, completion: int, seeds: int = 1) -> int:
    """Tokens of KV cache that so many running sequences hold, in whole blocks.

    prompt, completion: tokens of each sequence. seeds: how many samples of a problem follow one
    another. With prefix caching they share the prompt's blocks, which count once for each problem
    in the batch. 1: nothing is shared.

    A block that is not full is never shared, nor is the prompt's last token: vLLM computes it for
    each sequence, because the first token of the completion comes from it.
    """
    each = -(-(prompt + completion) // BLOCK)
    if seeds == 1:
        return BLOCK * sequences * each
    # A batch may begin and end within a problem.
    problems = min(sequences, -(-sequences // seeds) + 1)
    shared = max(0, prompt - 1) // BLOCK
    return BLOCK * (problems * shared + sequences * (each - shared))


def kv_bytes_per_token(config: Mapping[str, Any], dtype: str) -> int:
    """Bytes of KV cache per token, from a model's config.json.

    Raises `UsageError` for an unknown dtype, or if a key is missing that a decoder has.
    """
    text = config.get("text_config", config)
    if dtype not in BYTES:
        raise UsageError(f"--dtype {dtype}: its size is not known; valid: {', '.join(BYTES)}")
    try:
        heads = int(text["num_attention_heads"])
        head_dim = int(text.get("head_dim") or text["hidden_size"] // heads)
        kv_heads = int(text.get("num_key_value_heads") or heads)
        return 2 * int(text["num_hidden_layers"]) * kv_heads * head_dim * BYTES[dtype]
    except KeyError as error:
        raise UsageError(
            f"config.json has no {error.args[0]}: not a decoder that the toolkit knows; "
            "name another model with --model"
        ) from None


def read_footprint(model: Path, dtype: str) -> Footprint:
    """The footprint of a model directory. Weights take as many bytes as their files.

    Raises `UsageError`, naming what is missing: config.json, a tokenizer, the weights, or one of
    the files that their index names.
    """
    config = _read(model / "config.json")
    if not any((model / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UsageError(
            f"{model}: no tokenizer.json and no tokenizer.model; download the model again"
        )
    index = model / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read(index)["weight_map"].values()))
        files = [model / name for name in names]
        if missing := [f.name for f in files if not f.is_file()]:
            raise UsageError(
                f"{model}: {len(missing)} of {len(files)} weight files are missing, "
                f"such as {missing[0]}; download the model again"
            )
    else:
        files = sorted(model.glob("*.safetensors")) or sorted(model.glob("*.bin"))
        if not files:
            raise UsageError(
                f"{model}: no weights (*.safetensors or *.bin); download the model again"
            )
    weights = sum(f.stat().st_size for f in files)
    return Footprint(weights, kv_bytes_per_token(config, dtype))


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    return found
