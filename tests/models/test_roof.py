"""A model's shape from its config.json and its roof on a card, by hand arithmetic."""

import pytest
from llama_8b import LLAMA_8B

from toolkit.models.shape import shape_of
from toolkit.stats.roofline import CARDS, Roof, card_of

LLAMA_2_7B = {  # each head has keys and values of its own
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}
MIXTRAL = {  # two of eight experts a token
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


def test_grouped_queries():
    shape = shape_of(LLAMA_8B, "bfloat16")
    # A layer: q and o 4096^2 each, k and v 4096 x 1024 each, 3 x 4096 x 14336.
    layer = 2 * 16_777_216 + 2 * 4_194_304 + 176_160_768
    assert shape.dense == 32 * layer + 525_336_576 == 7_504_658_432
    assert shape.kv_bytes == 131_072
    assert shape.read(1) == shape.read(256) == 2 * 7_504_658_432


def test_no_grouped_queries():
    shape = shape_of(LLAMA_2_7B, "float16")
    assert shape.dense == 32 * (4 * 16_777_216 + 135_266_304) + 131_072_000
    assert shape.kv_bytes == 2 * 32 * 4096 * 2 == 524_288


def test_mixture_of_experts():
    shape = shape_of(MIXTRAL, "bfloat16")
    expert = 3 * 4096 * 14336
    assert shape.experts == 32 * 8 * expert
    assert shape.multiplied() == 32 * (2 * 16_777_216 + 2 * 4_194_304 + 4096 * 8 + 2 * expert) + (
        4096 * 32000
    )
    # One token reads two experts of each layer; two tokens read 1 - (3/4)^2 = 7/16 of them.
    assert shape.read(1) == pytest.approx(2 * shape.multiplied())
    assert shape.read(2) == pytest.approx(2 * (shape.dense + 7 / 16 * 32 * 8 * expert))


def test_number_formats():
    half = shape_of(LLAMA_8B, "bfloat16")
    assert shape_of(LLAMA_8B, "float32").weight_bytes == 4
    assert shape_of(LLAMA_8B, "float32").kv_bytes == 2 * half.kv_bytes
    fp8 = shape_of(LLAMA_8B, "bfloat16", quantization="fp8", kv_cache_dtype="fp8")
    assert (fp8.weight_bytes, fp8.kv_bytes) == (1, half.kv_bytes / 2)


def test_an_unknown_architecture_has_no_shape():
    assert shape_of(LLAMA_8B | {"model_type": "mamba"}, "bfloat16") is None
    assert shape_of(LLAMA_8B, "int3") is None


def roof(config, device, sequences, context, cards=1):
    return Roof(shape_of(config, "bfloat16"), card_of(device), sequences, context, cards)


def test_llama_3_1_8b_on_an_a100():
    found = roof(LLAMA_8B, "A100-40GB", 256, 400)
    # 15.01 GB / 1.555 TB/s = 9.65 ms, 3.842 TFLOP / 312 TF = 12.32 ms, 13.42 GB / 1.555 = 8.63 ms.
    assert found.step_seconds == pytest.approx(12.315e-3 + 8.631e-3, rel=1e-3)
    assert found.tokens_per_second == pytest.approx(12_200, rel=0.03)
    assert found.bound == pytest.approx(256 / (9.652e-3 + 8.631e-3), rel=1e-3)


def test_llama_3_1_8b_on_an_h100():
    assert roof(LLAMA_8B, "H100", 256, 400).tokens_per_second == pytest.approx(30_200, rel=0.03)
    assert roof(LLAMA_8B, "H100", 384, 400).tokens_per_second == pytest.approx(32_400, rel=0.03)


def test_without_grouped_queries_attention_reads_four_times_as_much():
    found = roof(LLAMA_2_7B, "A100-80GB", 64, 1000)
    weights, kv = 13.215e9 / 2.039e12, 64 * 1000 * 524_288 / 2.039e12
    assert found.step_seconds == pytest.approx(weights + kv, rel=1e-3)
    assert found.tokens_per_second == pytest.approx(64 / (weights + kv), rel=1e-3)


def test_a_mixture_of_experts_reads_all_experts_in_a_large_batch():
    alone, full = roof(MIXTRAL, "H100", 1, 0), roof(MIXTRAL, "H100", 256, 0)
    # 12.75 of 46.57 thousand million weights multiply a token; of 256 tokens each expert has some.
    assert alone.step_seconds == pytest.approx(2 * 12.75e9 / 3.35e12, rel=1e-2)
    assert full.step_seconds == pytest.approx(2 * 46.57e9 / 3.35e12, rel=1e-2)


def test_two_cards_halve_the_step():
    one, two = roof(MIXTRAL, "H100", 64, 500), roof(MIXTRAL, "H100", 64, 500, cards=2)
    assert two.tokens_per_second == pytest.approx(2 * one.tokens_per_second)


def test_the_bound_is_never_under_the_reference():
    for sequences in (1, 64, 256, 1024):
        found = roof(LLAMA_8B, "H200", sequences, 400)
        assert found.overlapped_seconds <= found.step_seconds


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB-PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("cpu", None),
    ],
)
def test_cards_by_the_names_of_their_devices(device, name):
    assert (card_of(device).name if card_of(device) else None) == name


def test_each_card_finds_itself_and_has_a_source():
    assert all(card_of(card.name) is card and card.source for card in CARDS)
