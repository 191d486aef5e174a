"""What a run has cost, from what its shards say."""

import pytest

from toolkit.runs.shard_facts import facts_of_metadata
from toolkit.runs.usage import Spent, spent_of

TASK = {"host": "n1", "slurm_job": "7", "slurm_task": "0", "slurm_restarts": "0", "process": "11"}


def shard(started, ended, **facts):
    times = {"started": f"{started:.3f}", "ended": f"{ended:.3f}", "tokens": "100"}
    told = {name: str(value) for name, value in facts.items()}
    return facts_of_metadata(TASK | times | told)


def test_a_start_is_paid_once_a_task_however_many_shards_it_writes():
    shards = [shard(110, 130, startup_seconds=10), shard(105, 120, startup_seconds=10)]
    spent = spent_of(shards)
    assert (spent.tasks, spent.tokens) == (1, 200)
    assert (spent.sampling_seconds, spent.startup_seconds) == (25, 10)
    assert spent.gpu_hours == pytest.approx(35 / 3600)
    assert spent.tokens_per_second == 8
    other = shard(105, 120, startup_seconds=10, slurm_task=1)
    assert spent_of([*shards, other]).startup_seconds == 20


def test_an_engine_that_is_started_again_between_two_slices_is_start_up_and_not_sampling():
    shards = [
        shard(110, 120, startup_seconds=10, engine_restarts=0),
        shard(150, 170, startup_seconds=12, engine_restarts=1),
        shard(160, 180, startup_seconds=12, engine_restarts=1),
    ]
    spent = spent_of(reversed(shards))
    assert spent.startup_seconds == 22
    assert spent.sampling_seconds == 70 - 12
    assert spent.gpu_hours == pytest.approx((10 + 70) / 3600)  # from the first start to the end


def test_staging_is_part_of_the_start():
    spent = spent_of([shard(110, 120, startup_seconds=10, staging_seconds=30)])
    assert (spent.startup_seconds, spent.staging_seconds, spent.sampling_seconds) == (40, 30, 10)


def test_a_task_of_two_gpus_costs_twice_its_time():
    facts = {"tensor_parallel_size": 2, "startup_seconds": 5, "device": "A100"}
    spent = spent_of([shard(110, 120, **facts)])
    assert spent.gpu_hours == pytest.approx(30 / 3600)
    assert spent.tokens_per_second == 5
    assert spent.devices == {"2 x A100": 1}


def test_what_not_every_shard_tells_is_unknown():
    told = shard(1, 2, prompt_tokens=50, cached_tokens=40, preemptions=3, kv_cache_peak=0.5)
    spent = spent_of([told, told])
    assert (spent.prompt_tokens, spent.cached_tokens, spent.preemptions) == (100, 80, 6)
    assert spent.kv_cache_peak == 0.5
    spent = spent_of([told, shard(3, 4)])
    assert (spent.prompt_tokens, spent.cached_tokens, spent.preemptions) == (None, None, None)
    assert spent.kv_cache_peak == 0.5


def test_ingested_samples_cost_nothing():
    assert spent_of([facts_of_metadata({"engine": "ingest samples.jsonl"})]) == Spent()
    assert spent_of([]).tokens_per_second is None
