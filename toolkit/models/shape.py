"""What a decoding step of a model reads and multiplies, from its config.json.

Weights of a layer, for hidden size H, heads of size D, intermediate size I:

- attention: H x heads x D for the queries, 2 x H x KV heads x D for keys and values, heads x D x H
  for the output;
- a gated feed-forward part (Llama, Qwen, Mistral, Gemma): 3 x H x I. Each expert has its own.

At the end hidden size x vocabulary for the next token's scores. Norms and biases are left out: they
are under 0.1 %. So are other architectures, whose layers this does not describe.
"""

from collections.abc import Mapping
from typing import Any

from toolkit.models.footprint import BYTES, kv_bytes_per_token
from toolkit.stats.roofline import Shape

KNOWN = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma", "phi3")
"""The model_type of the models whose layers are as described. Others have no roof here."""
WEIGHT_BYTES = {"fp8": 1.0, "fbgemm_fp8": 1.0, "awq": 0.5, "gptq": 0.5}
"""Bytes of a weight by kind of quantization, without its scales."""


def shape_of(
    config: Mapping[str, Any], dtype: str, quantization: str = "", kv_cache_dtype: str = "auto"
) -> Shape | None:
    """The shape of a model. None: its architecture or its number format is not known.

    dtype: of weights and activations. quantization: of weights, "" for none.
    """
    text = config.get("text_config", config)
    kv_dtype = dtype if kv_cache_dtype == "auto" else kv_cache_dtype
    kv_size = 1 if kv_dtype.startswith("fp8") else BYTES.get(kv_dtype)
    size = WEIGHT_BYTES.get(quantization) if quantization else BYTES.get(dtype)
    if text.get("model_type") not in KNOWN or size is None or kv_size is None:
        return None
    layers, hidden = int(text["num_hidden_layers"]), int(text["hidden_size"])
    heads = int(text["num_attention_heads"])
    head_dim = int(text.get("head_dim") or hidden // heads)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    dense, experts, share = _feed_forward(text, hidden)
    last = hidden * int(text["vocab_size"])
    return Shape(
        dense=layers * (attention + dense) + last,
        kv_bytes=kv_bytes_per_token(text, "float16") / 2 * kv_size,
        weight_bytes=size,
        experts=layers * experts,
        expert_share=share,
    )


def _feed_forward(text: Mapping[str, Any], hidden: int) -> tuple[int, int, float]:
    """Of a layer: weights that every token needs, those of all experts, and the share of them."""
    count = int(text.get("num_local_experts") or text.get("num_experts") or 0)
    inner = int(text["intermediate_size"])
    if not count:
        return 3 * hidden * inner, 0, 1.0
    expert = int(text.get("moe_intermediate_size") or inner)
    shared = int(text.get("shared_expert_intermediate_size") or 0)
    router = hidden * count
    share = int(text["num_experts_per_tok"]) / count
    return router + 3 * hidden * shared, count * 3 * hidden * expert, share
