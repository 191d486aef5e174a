"""What status says of engines: from the shards' footers, each read once."""

import json
from dataclasses import replace

import polars as pl
import pytest

from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.progress import Ledger
from toolkit.launch.status import _engine_lines, read_status, speed_of
from toolkit.records import EngineFacts, Sample, Verdict
from toolkit.resolve import resolve
from toolkit.runs.answers import write_map
from toolkit.runs.partials import write_partial
from toolkit.runs.shard_facts import (
    EngineStart,
    FeedFacts,
    Origin,
    ShardFacts,
    Times,
    TokenCounts,
)
from toolkit.runs.shards import read_shard, write_shard
from toolkit.runs.usage import spent_of
from toolkit.runs.verdicts import write_verdicts
from toolkit.verifiers.judges import judge_of_run

FACTS = ShardFacts(
    origin=Origin(host="n1"),
    engine=EngineFacts(device="NVIDIA A100-SXM4-40GB"),
    start=EngineStart(startup_seconds=60.0, staging_seconds=30.0),
    times=Times(started=100.0, ended=200.0),
    tokens=TokenCounts(output=4000, prompt=1000, cached=900),
    feed=FeedFacts(kv_cache_peak=0.8714, preemptions=3),
)


@pytest.fixture
def run(tmp_path):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 4}
    return freeze_launch(plan_launch(resolve(flags), tmp_path))


def write(run, *facts):
    for slice_, each in zip(run.slices(), facts, strict=True):
        rows = [Sample(task_id, seed, "x", 1, "stop") for task_id, seed in slice_.sample_keys()]
        write_shard(run, slice_, rows, each)


def test_tokens_engines_and_time_are_shown(run):
    other = replace(
        FACTS,
        origin=Origin(host="n2"),
        engine=EngineFacts(device="NVIDIA H100"),
        feed=FeedFacts(kv_cache_peak=0.2, preemptions=3),
    )
    write(run, FACTS, other)
    found = read_status(run, judge_of_run(run))
    lines = found.text().splitlines()
    assert "tokens     2000 in (90% cached), 8000 out, 80 tokens/s now, 80 on average" in lines
    both = [replace(FACTS, origin=replace(FACTS.origin, slot=slot)) for slot in (0, 1)]
    assert next(_engine_lines(spent_of(both))) == (
        "engines    2 in 1 array task: 2 on NVIDIA A100-SXM4-40GB"
    )
    assert "engines    2 array tasks: 1 on NVIDIA A100-SXM4-40GB, 1 on NVIDIA H100" in lines
    assert "gpu time   180 s start-up (60 s staging), 200 s sampling" in lines
    assert "kv cache   at most 87% in use, 6 preemptions" in lines
    assert json.loads(found.json())["spent"] == {
        "tasks": 2,
        "tokens": 8000,
        "prompt_tokens": 2000,
        "cached_tokens": 1800,
        "shared_tokens": None,
        "sampling_seconds": 200.0,
        "startup_seconds": 180.0,
        "staging_seconds": 60.0,
        "kv_cache_peak": 0.8714,
        "preemptions": 6,
        "devices": {"NVIDIA A100-SXM4-40GB": 1, "NVIDIA H100": 1},
        "on_gpus": True,
        "engines": 2,
    }
    assert "cost       0.11 GPU-hours paid (from the shards), 53% of it sampling" in lines
    assert json.loads(found.json())["cost"]["gpu_hours"] == 380 / 3600


def test_a_run_without_a_gpu_shows_task_time_and_no_price(run):
    cpu = replace(FACTS, engine=EngineFacts(device="cpu"))
    write(run, cpu, cpu)
    found = read_status(run, judge_of_run(run))
    lines = found.text().splitlines()
    assert "engines    1 array task: 1 on a CPU" in lines
    assert "task time  90 s start-up (30 s staging), 100 s sampling" in lines
    assert (
        "cost       190 s of sampling tasks, no GPU (from the shards), 53% of it sampling" in lines
    )
    assert not [line for line in lines if "gpu time" in line or "GPU-hours" in line]
    assert json.loads(found.json())["cost"]["gpu_hours"] is None


def test_what_no_shard_tells_is_not_shown(run):
    old = ShardFacts(origin=FACTS.origin, times=FACTS.times, tokens=TokenCounts(output=4000))
    write(run, old, old)
    said = read_status(run, judge_of_run(run)).text()
    assert "tokens     8000 out, " in said
    assert "engines    1 array task: 1 on unknown" in said
    assert "kv cache" not in said
    write(run, ShardFacts(), ShardFacts())
    assert "engines" not in read_status(run, judge_of_run(run)).text()


def test_kinds_cuts_and_suspect_passes_are_shown(run):
    """Four samples each of two problems; those of the second are cut."""
    judge = judge_of_run(run)
    for slice_ in run.slices():
        rows = [
            Sample(task_id, seed, "x", 1, "length" if task_id == "HumanEval/1" else "stop")
            for task_id, seed in slice_.sample_keys()
        ]
        write_shard(run, slice_, rows, FACTS)
        answer = pl.Series("answer", [0, 1, 2, 3], dtype=pl.UInt64)
        write_map(run, slice_.name, read_shard(run, slice_).with_columns(answer), "2")
    suspect = Verdict("HumanEval/0", 0, "passed", "", "", ("frames", "equality"), 0.1)
    clean = Verdict("HumanEval/0", 1, "passed", "", "", (), 0.1)
    cut = [Verdict("HumanEval/1", i, "failed", "syntax", "SyntaxError", (), 0.1) for i in range(3)]
    write_verdicts(run, [suspect, clean, *cut], judge)
    found = read_status(run, judge)
    lines = found.text().splitlines()
    assert "outcomes   passed 2 (40.0 %), syntax 3 (60.0 %)" in lines
    assert "cut        3 samples ended at max_tokens: syntax 3" in lines
    assert "suspect    1 pass is suspect: equality 1, frames 1" in lines
    said = json.loads(found.json())
    assert said["passed"] == 2
    assert said["taxonomy"] == {
        "kinds": {"passed": 2, "syntax": 3},
        "cut": {"syntax": 3},
        "exceptions": {},
        "suspect_passes": 1,
        "suspect": {"equality": 1, "frames": 1},
        "suspect_problems": {"HumanEval/0": 1},
    }


def test_what_has_no_verdict_has_no_kinds(run):
    write(run, FACTS, FACTS)
    said = read_status(run, judge_of_run(run)).text()
    assert not {"outcomes", "cut", "suspect"} & {line.split()[0] for line in said.splitlines()}


def test_the_footer_of_a_shard_is_read_once(run, monkeypatch):
    write(run, FACTS, FACTS)
    read = []
    plain = pl.read_parquet_metadata
    monkeypatch.setattr(pl, "read_parquet_metadata", lambda path: read.append(path) or plain(path))
    read_status(run, judge_of_run(run))
    assert sorted(read) == sorted(run.samples_dir.glob("*.parquet"))


def test_samples_of_interrupted_slices_are_told_apart(run):
    """The ledger does not count them: their slices are missing."""
    first, second = run.slices()
    write_partial(run, first, [Sample("HumanEval/0", 1, "x", 1, "stop")], FACTS)
    rows = [Sample(task_id, seed, "x", 1, "stop") for task_id, seed in second.sample_keys()]
    write_shard(run, second, rows, FACTS)
    found = read_status(run, judge_of_run(run))
    assert "sampled    4/8 samples (50%), 1/2 slices" in found.text()
    assert "partial    1 sample is kept of 1 interrupted slice" in found.text()
    assert "missing    1 slice: launch again" in found.text()
    assert json.loads(found.json())["partial"] == {first.name: 1}
    write(run, FACTS, FACTS)
    assert "partial" not in read_status(run, judge_of_run(run)).text()


def test_a_first_shard_that_appears_while_status_reads(run):
    before = Ledger.of(run.slices(), run.done())
    write(run, FACTS, FACTS)
    found = speed_of([FACTS], before)  # the ledger was read a moment ago
    assert (found.tokens, found.seconds_left) == (4000, None)
