"""GPU memory: what weights and KV cache of a model take, from its config.json.

The KV cache of a token is 2 (keys, values) x layers x KV heads x head dimension x bytes a value.
Llama 3.1 8B in bfloat16: 2 x 32 x 8 x 128 x 2 = 131,072 bytes a token, 16.06 GB = 14.96 GiB of
weights. What is left for the cache, and the sequences of some 400 tokens (a HumanEval prompt and
its completion, with room) that the presets decode together:

    GPU                 GiB x utilization - weights - 2 GiB     tokens     sequences
    A10, L4 (24 GB)       22.5 x 0.92     =   3.7 GiB            30,600        64
    A100 (40 GB)          40   x 0.90     =  19.0 GiB           156,000       256
    L40S (48 GB)          44.5 x 0.90     =  23.1 GiB           189,000       256
    A100, H100 (80 GB)    80   x 0.90     =  55.0 GiB           450,900       768
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "auto": 2}
RESERVED = 2 << 30
"""Activations, CUDA graphs and the allocator's slack of an 8B model at 256 sequences."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of all weights, and of the KV cache of one token."""

    weights: int
    kv_per_token: int

    def kv_tokens(self, gpu_bytes: float, utilization: float) -> int:
        """Tokens whose KV cache fits beside the weights; negative: the weights do not fit."""
        room = gpu_bytes * utilization - self.weights - RESERVED
        return int(room // self.kv_per_token)


def kv_bytes_per_token(config: Mapping[str, Any], dtype: str) -> int:
    """From a model's config.json. Raises `UsageError` where it names no attention heads."""
    text = config.get("text_config", config)
    try:
        heads = int(text["num_attention_heads"])
        head_dim = int(text.get("head_dim") or text["hidden_size"] // heads)
        kv_heads = int(text.get("num_key_value_heads") or heads)
        return 2 * int(text["num_hidden_layers"]) * kv_heads * head_dim * BYTES[dtype]
    except KeyError as error:
        raise UsageError(
            f"config.json has no {error.args[0]}: not a decoder that we know"
        ) from None


def read_footprint(model: Path, dtype: str) -> Footprint:
    """Of a model directory; weights as large as their files. Raises `UsageError` naming what it
    lacks: config.json, a tokenizer, weights, or a file that their index names.
    """
    config = _read(model / "config.json")
    if not any((model / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UsageError(f"{model}: no tokenizer.json and no tokenizer.model")
    index = model / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read(index)["weight_map"].values()))
        files = [model / name for name in names]
        if missing := [f.name for f in files if not f.is_file()]:
            raise UsageError(
                f"{model}: {len(missing)} of {len(files)} weight files are missing, "
                f"such as {missing[0]}"
            )
    else:
        files = sorted(model.glob("*.safetensors")) or sorted(model.glob("*.bin"))
        if not files:
            raise UsageError(f"{model}: no weights (*.safetensors or *.bin)")
    weights = sum(f.stat().st_size for f in files)
    return Footprint(weights, kv_bytes_per_token(config, dtype))


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    return found
