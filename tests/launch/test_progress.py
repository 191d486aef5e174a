"""What a launch shows while it goes on."""

import io

import pytest

from toolkit.launch import ticker as ticker_module
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.ticker import Ticker
from toolkit.records import Sample, SeedRange, Slice
from toolkit.resolve import resolve
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard


@pytest.fixture
def run(tmp_path):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 4}
    return freeze_launch(plan_launch(resolve(flags), tmp_path))


def finish(run, slice_):
    rows = [Sample(task_id, seed, "x", 1, "stop") for task_id, seed in slice_.sample_keys()]
    write_shard(run, slice_, rows, ShardFacts())


def test_the_ticker_shows_what_is_new_and_reads_the_plan_once_a_round(run, monkeypatch):
    read = []
    slices = Run.slices
    monkeypatch.setattr(Run, "slices", lambda run: read.append(1) or slices(run))
    monkeypatch.setattr(ticker_module, "LOG_SECONDS", 0.0)
    ticker = Ticker(run, io.StringIO())
    ticker.show()
    ticker.show()
    finish(run, slices(run)[0])
    (run.slurm_dir / "1_0_log.out").write_text("2026-01-01T00:00:00Z node1 12 tokens/s\n")
    ticker.show()
    assert ticker.stream.getvalue().splitlines() == [
        "0/8 samples (0%), 0/2 slices | ",
        "4/8 samples (50%), 1/2 slices | 12 tokens/s",
    ]
    assert len(read) == 1
    freeze_round(run.path, 1, [Slice("r001-s0000", (SeedRange("HumanEval/0", 4, 8),))])
    ticker.show()
    assert ticker.stream.getvalue().endswith("4/12 samples (33%), 1/3 slices | 12 tokens/s\n")
    assert len(read) == 2


def test_in_a_log_the_ticker_shows_a_line_now_and_then(run):
    ticker = Ticker(run, io.StringIO())
    ticker.show()
    finish(run, run.slices()[0])
    ticker.show()
    assert ticker.stream.getvalue().splitlines() == ["0/8 samples (0%), 0/2 slices | "]
