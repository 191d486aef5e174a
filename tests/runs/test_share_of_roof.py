"""The share of its roof that a run has reached, from the metadata of its shards."""

import json
from dataclasses import asdict, replace

import pytest

from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Sample
from toolkit.resolve import resolve
from toolkit.runs.partials import write_partial
from toolkit.runs.roof import read_roof, roof_of
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts, Times, TokenCounts
from toolkit.runs.shards import write_shard
from toolkit.stats.roofline import Roof, Shape, card_of

SHAPE = Shape(7_504_658_432, 131_072)


def shard(task, device="NVIDIA H100 80GB HBM3", shape=SHAPE, tokens=1_000_000, seconds=50.0):
    return ShardFacts(
        origin=Origin(host="n1", process=task),
        engine=EngineFacts(
            device=device,
            tensor_parallel_size=1,
            shape=None if shape is None else json.dumps(asdict(shape)),
        ),
        start=EngineStart(restarts=0, max_num_seqs=256),
        times=Times(1000.0, 1000.0 + seconds),
        tokens=TokenCounts(tokens, 1_400_000, 0),
    )


def test_one_engine_by_hand():
    found = roof_of([shard(1)], samples=5000)
    # 280 tokens of prompt and half of 200: a context of 380.
    assert found.context == 380
    roof = Roof(SHAPE, card_of("H100"), 256, 380).tokens_per_second
    assert found.tokens_per_second == pytest.approx(roof)
    assert found.share == pytest.approx(20_000 / roof)
    assert found.line().endswith("a GPU (H100, 256 sequences, context 380)")


def test_two_cards_count_by_their_time():
    found = roof_of([shard(1), shard(2, "NVIDIA A100-SXM4-40GB", seconds=150.0)], samples=10_000)
    h100, a100 = (
        Roof(SHAPE, card_of(name), 256, 380).tokens_per_second for name in ("H100", "A100-40GB")
    )
    assert found.tokens_per_second == pytest.approx((50 * h100 + 150 * a100) / 200)
    assert found.share == pytest.approx(2_000_000 / (50 * h100 + 150 * a100))
    assert found.cards == ("A100-40GB", "H100")


def test_two_cards_that_hold_one_model():
    two = shard(1)
    two = replace(two, engine=replace(two.engine, tensor_parallel_size=2))
    found, alone = roof_of([two], samples=5000), roof_of([shard(1)], samples=5000)
    assert found.tokens_per_second == pytest.approx(alone.tokens_per_second)
    assert found.share == pytest.approx(alone.share / 2)


@pytest.mark.parametrize(
    "facts",
    [
        shard(1, device="cpu"),
        shard(1, device="NVIDIA GeForce RTX 4090"),
        shard(1, shape=None),
        replace(shard(1), times=None),
    ],
)
def test_what_is_not_known_has_no_roof(facts):
    assert roof_of([facts], samples=5000) is None
    assert roof_of([], samples=0) is None


def test_a_run_counts_its_shards_and_the_samples_of_interrupted_slices(tmp_path):
    flags = {"backend": "synthetic", "limit": 1, "samples": 6, "slice_samples": 3}
    run = freeze_launch(plan_launch(resolve(flags), tmp_path, tmp_path / "run"))
    assert read_roof(run) is None  # nothing is drawn yet
    whole, begun, *_ = run.slices()
    rows = [
        [Sample(*key, "x", 1, "stop", prompt_tokens=100) for key in slice_.sample_keys()]
        for slice_ in (whole, begun)
    ]
    write_shard(run, whole, rows[0], shard(1, tokens=3))
    write_partial(run, begun, rows[1][:1], shard(2, tokens=1))
    found = read_roof(run)
    # Four samples: the prompts that the facts tell, and half of a token each.
    assert found.context == pytest.approx(2 * 1_400_000 / 4 + 0.5)
    assert found.share == pytest.approx(4 / (100 * found.tokens_per_second))
