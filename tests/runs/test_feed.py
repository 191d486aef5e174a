"""Readings of an engine's feed: what they hold, in the shards and read back."""

import polars as pl
import pytest

from toolkit.backends import open_backend
from toolkit.backends.vllm_stats import EngineReports, listen
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import Load, Sample
from toolkit.resolve import resolve
from toolkit.runs.feed import Feed, read_feed
from toolkit.runs.shard_facts import FeedFacts, Reading, ShardFacts, read_facts
from toolkit.runs.shards import read_shard, write_shard
from toolkit.runs.usage import read_spent
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import examples_of, prompts_of

FLAGS = {"backend": "synthetic", "limit": 2, "samples": 20, "slice_samples": 10}


@pytest.fixture
def run(tmp_path):
    return freeze_launch(plan_launch(resolve(FLAGS), tmp_path))


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr("toolkit.runs.feed.SECONDS", 0.0)


def test_a_reading_holds_the_fullest_cache_since_the_last_one(every_step):
    loads = iter([Load(0.2, 0), Load(0.6, 1), Load(0.3, 4), Load(0.1, 4)])
    feed = Feed(lambda: next(loads))
    feed.note(5, 10, True)
    first = feed.take()  # asks once more, so that nothing before the shard's end is missed
    assert [r[1:] for r in first.readings()] == [(5, 10, True, 0.2, 0)]
    assert (first.kv_cache_peak, first.preemptions) == (0.6, 1)
    feed.note(4, 20, False)
    second = feed.take()
    assert [r[1:] for r in second.readings()] == [(4, 20, False, 0.6, 4)]
    assert (second.kv_cache_peak, second.preemptions) == (0.3, 3)


def test_an_engine_that_tells_nothing_leaves_nulls(every_step):
    feed = Feed(Load)
    feed.note(5, 10, True)
    facts = feed.take()
    (reading,) = facts.readings()
    assert (reading.kv_cache, reading.preemptions) == (None, None)
    assert (facts.kv_cache_peak, facts.preemptions) == (None, None)


def test_the_engine_is_asked_at_most_once_a_second():
    asked = []
    feed = Feed(lambda: asked.append(1) or Load())
    for _ in range(100):
        feed.note(1, 1, True)
    assert len(asked) == 1


def test_a_shard_says_what_went_in_and_how_full_the_engine_was(run):
    backend = open_backend(resolve(FLAGS), examples_of(run.problems()))
    backend.load = lambda: Load(0.25, 2)
    prompts = prompts_of(run.problems())
    assert Sampler(run, run.slices(), prompts, backend).sample()
    facts = [read_facts(p) for p in sorted(run.samples_dir.glob("*.parquet"))]
    assert [f.feed.kv_cache_peak for f in facts] == [0.25] * 4
    assert sum(f.feed.preemptions for f in facts) == 2
    spent = read_spent(run)
    assert spent.prompt_tokens == sum(20 * (len(p.text) // 4) for p in prompts.values())
    assert spent.cached_tokens is None
    assert read_feed(run)["kv_cache"].max() == 0.25


def test_readings_of_the_first_version_are_read(run):
    backend = open_backend(resolve(FLAGS), examples_of(run.problems()))
    assert Sampler(run, run.slices(), prompts_of(run.problems()), backend).sample()
    old = run.slices()[0]
    rows = [Sample(*row) for row in read_shard(run, old).iter_rows()]
    readings = FeedFacts("[[1.5, 3, 40, true], [2.5, 2, 80, false]]")
    assert readings.readings()[0] == Reading(1.5, 3, 40, True)
    write_shard(run, old, rows, ShardFacts(feed=readings))
    feed = read_feed(run).filter(pl.col("tokens").is_in([40, 80]))
    assert feed["in_flight"].to_list()[:2] == [3, 2]
    assert feed["kv_cache"].to_list()[:2] == [None, None]


class Stats:
    """Of vLLM's scheduler, as far as we read them."""

    def __init__(self, share, again):
        self.kv_cache_usage = share
        self.prefix_cache_stats = type("Prefixes", (), {"preempted_requests": again})


class Engine:
    def __init__(self, **attributes):
        self.log_stats = True
        vars(self).update(attributes)


def test_reports_take_the_place_of_the_engines_loggers():
    manager = type("Manager", (), {"stat_loggers": ["prometheus"]})
    engine = Engine(logger_manager=manager)
    reports = listen(engine)
    assert manager.stat_loggers == [reports]
    assert not engine.log_stats  # no statistics of single requests
    assert reports.load() == Load()
    for share, again in ((0.5, 1), (0.9, 0), (0.1, 2)):
        reports.record(Stats(share, again), None, mm_cache_stats=None, engine_idx=0)
    assert reports.load() == Load(0.9, 3)
    reports.record(Stats(0.2, 0), None)
    assert reports.load() == Load(0.2, 3)
    reports.log()
    reports.record_sleep_state(1, 0)


@pytest.mark.parametrize("engine", [Engine(), Engine(logger_manager=None)])
def test_another_version_of_the_engine_is_unknown_and_no_error(engine):
    assert listen(engine).load() == Load()


def test_statistics_without_what_we_read_are_unknown():
    reports = EngineReports()
    reports.record(None, None)
    reports.record(object(), None)
    assert reports.load() == Load()
