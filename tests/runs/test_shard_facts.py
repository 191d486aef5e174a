"""A shard's facts: one document, whatever wrote it; its keys and texts on disk are a format."""

from dataclasses import fields, is_dataclass

import polars as pl
import pytest
from old_shard import OF_0_1_0

from toolkit.errors import CorruptShard
from toolkit.records import EngineFacts
from toolkit.runs.shard_facts import (
    EngineStart,
    FeedFacts,
    Origin,
    Reading,
    ShardFacts,
    Times,
    TokenCounts,
    facts_of_metadata,
    facts_to_metadata,
    read_facts,
)

FULL = ShardFacts(
    run="bf1ceb81",
    slice="r000-s0001",
    content="aa0cdaa0",
    shard="a9719857",
    origin=Origin("0.1.0", "n1", 3145, "77", "4", 1, 3, "6,7"),
    engine=EngineFacts(
        engine="vllm 0.32.0",
        device="NVIDIA H100",
        dtype="bfloat16",
        max_model_len=4096,
        tensor_parallel_size=2,
        served_model="m",
        replay_file="/data/a.jsonl",
        model_commit="a1b2",
        opens_thought=True,
        engine_seed=4294967295,
        shape='{"dense": 7504658432}',
    ),
    start=EngineStart(restarts=2, staging_seconds=30.5, startup_seconds=61.2, max_num_seqs=256),
    times=Times(started=1795654997.305, ended=1795655997.5),
    tokens=TokenCounts(output=423, prompt=885, cached=640, shared=120),
    feed=FeedFacts.of([Reading(1795654998.3, 256, 90, True, 0.25, 1)], 0.8714, 3),
    earlier=(ShardFacts(origin=Origin(host="n0"), tokens=TokenCounts(200, 400, 300, 80)),),
)
FULL_METADATA = {
    "run": "bf1ceb81",
    "slice": "r000-s0001",
    "content": "aa0cdaa0",
    "shard": "a9719857",
    "toolkit": "0.1.0",
    "host": "n1",
    "process": "3145",
    "slurm_job": "77",
    "slurm_task": "4",
    "slurm_restarts": "1",
    "slot": "3",
    "gpus": "6,7",
    "engine": "vllm 0.32.0",
    "device": "NVIDIA H100",
    "dtype": "bfloat16",
    "max_model_len": "4096",
    "tensor_parallel_size": "2",
    "served_model": "m",
    "replay_file": "/data/a.jsonl",
    "model_commit": "a1b2",
    "opens_thought": "True",
    "engine_seed": "4294967295",
    "shape": '{"dense": 7504658432}',
    "engine_restarts": "2",
    "staging_seconds": "30.5",
    "startup_seconds": "61.2",
    "max_num_seqs": "256",
    "started": "1795654997.305",
    "ended": "1795655997.500",
    "tokens": "423",
    "prompt_tokens": "885",
    "cached_tokens": "640",
    "shared_tokens": "120",
    "feed": "[[1795654998.3, 256, 90, true, 0.25, 1]]",
    "kv_cache_peak": "0.8714",
    "preemptions": "3",
    "earlier": '[{"host": "n0", "tokens": "200", "prompt_tokens": "400", "cached_tokens": "300", "shared_tokens": "80"}]',
}


def leaves(facts):
    for each in fields(facts):
        value = getattr(facts, each.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield each.name, value


def test_the_full_document_has_every_field():
    """So that the next test leaves none out."""
    assert [name for name, value in leaves(FULL) if value is None] == []


def test_every_field_has_its_key_on_disk_and_comes_back():
    assert facts_to_metadata(FULL) == FULL_METADATA
    assert facts_of_metadata(FULL_METADATA) == FULL


def test_a_shard_of_0_1_0_is_read_and_written_as_it_was():
    facts = facts_of_metadata(OF_0_1_0)
    assert facts.origin == Origin("0.1.0", "vm", 3145, "", "", 0)
    assert facts.engine == EngineFacts("synthetic", device="none")
    assert facts.times == Times(1795654997.305, 1795654997.305)
    assert facts.tokens == TokenCounts(423, 885, None)
    assert facts.feed.readings() == [Reading(1795654997.3, 0, 0, False, None, None)]
    own = {key: text for key, text in OF_0_1_0.items() if key != "ARROW:schema"}
    assert facts_to_metadata(facts) == own


@pytest.mark.parametrize(
    "left_out", [key for key in FULL_METADATA if key not in {"started", "ended"}]
)
def test_a_key_that_an_older_shard_lacks_is_none_and_the_rest_is_read(left_out):
    found = {key: text for key, text in FULL_METADATA.items() if key != left_out}
    facts = facts_of_metadata(found)
    assert [value for _, value in leaves(facts)].count(None) == (left_out != "earlier")
    assert bool(facts.earlier) == (left_out != "earlier")
    assert facts_to_metadata(facts) == found


def test_a_shard_without_facts_says_nothing():
    assert facts_of_metadata({}) == ShardFacts()
    assert facts_to_metadata(ShardFacts()) == {}
    assert ShardFacts().origin.key == ("", "", "", "", "")


def test_nonsense_for_a_number_names_the_file(tmp_path):
    path = tmp_path / "r000-s0000.parquet"
    pl.DataFrame({"x": [1]}).write_parquet(path, metadata={"tokens": "many"})
    with pytest.raises(CorruptShard, match=r"r000-s0000\.parquet: its metadata cannot be read"):
        read_facts(path)


def test_an_attempt_has_the_tokens_of_its_own_samples():
    first, last = FULL.attempts()
    assert first == FULL.earlier[0]
    assert last.tokens == TokenCounts(223, 485, 340, 40)
    assert last.after((first,)).tokens == FULL.tokens
    assert last.after((first,)).attempts() == (first, last)
    unknown = ShardFacts(tokens=TokenCounts(10, None, None)).after((first,))
    assert unknown.tokens == TokenCounts(210, None, None, 80)


@pytest.mark.parametrize("text", ["5", "[5]", "{", '[{"tokens": "many"}]'])
def test_nonsense_for_the_earlier_attempts_names_the_file(tmp_path, text):
    path = tmp_path / "r000-s0000.parquet"
    pl.DataFrame({"x": [1]}).write_parquet(path, metadata={"earlier": text})
    with pytest.raises(CorruptShard, match=r"r000-s0000\.parquet: its metadata cannot be read"):
        read_facts(path)
