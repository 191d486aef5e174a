"""What status says of engines: from the shards' metadata, each read once."""

import json

import pytest

from toolkit.config import resolve
from toolkit.launch import status
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.status import read_status
from toolkit.records import Sample
from toolkit.runs.shards import write_shard
from toolkit.verifiers.judges import judge_of_run

FACTS = {
    "started": "100.0", "ended": "200.0", "tokens": "4000", "prompt_tokens": "1000",
    "cached_tokens": "900", "device": "NVIDIA A100-SXM4-40GB", "startup_seconds": "60.0",
    "staging_seconds": "30.0", "kv_cache_peak": "0.8714", "preemptions": "3", "host": "n1",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 4}
    return freeze_launch(plan_launch(resolve(flags), tmp_path))


def write(run, *facts):
    for piece, each in zip(run.slices(), facts, strict=True):
        (r,) = piece.ranges
        rows = [Sample(r.task_id, s, "x", 1, "stop") for s in range(r.seed_start, r.seed_stop)]
        write_shard(run, piece, rows, each)


def test_tokens_engines_and_time_are_shown(run):
    write(run, FACTS, FACTS | {"host": "n2", "device": "NVIDIA H100", "kv_cache_peak": "0.2"})
    found = read_status(run, judge_of_run(run))
    lines = found.text().splitlines()
    assert "tokens     2000 in (90% cached), 8000 out, 80 tokens/s now, 80 on average" in lines
    assert "engines    2 task(s): 1 on NVIDIA A100-SXM4-40GB, 1 on NVIDIA H100" in lines
    assert "gpu time   180 s start-up (60 s staging), 200 s sampling" in lines
    assert "kv cache   at most 87% in use, 6 preemptions" in lines
    assert json.loads(found.json())["spent"] == {
        "tasks": 2, "tokens": 8000, "prompt_tokens": 2000, "cached_tokens": 1800,
        "sampling_seconds": 200.0, "startup_seconds": 180.0, "staging_seconds": 60.0,
        "kv_cache_peak": 0.8714, "preemptions": 6,
        "devices": {"NVIDIA A100-SXM4-40GB": 1, "NVIDIA H100": 1},
    }  # fmt: skip


def test_what_no_shard_tells_is_not_shown(run):
    old = {k: FACTS[k] for k in ("started", "ended", "tokens", "host")}
    write(run, old, old)
    said = read_status(run, judge_of_run(run)).text()
    assert "tokens     8000 out, " in said
    assert "engines    1 task(s): 1 on unknown" in said
    assert "kv cache" not in said
    write(run, {}, {})
    assert "engines" not in read_status(run, judge_of_run(run)).text()


def test_the_metadata_of_a_shard_is_read_once(run, monkeypatch):
    write(run, FACTS, FACTS)
    read = []
    plain = status.metadata
    monkeypatch.setattr(status, "metadata", lambda path: read.append(path) or plain(path))
    read_status(run, judge_of_run(run))
    assert sorted(read) == sorted(run.samples_dir.glob("*.parquet"))
