"""What a run has cost, from what its shards say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runs.shard_facts import facts_of_metadata
from toolkit.runs.usage import Allocation, Spent, condensed, cost_of, spent_of

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
    assert cost_of(shards).gpu_hours == pytest.approx(35 / 3600)
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
    assert cost_of(shards).gpu_hours == pytest.approx(
        (10 + 70) / 3600
    )  # from the first start to the end


def test_staging_is_part_of_the_start():
    spent = spent_of([shard(110, 120, startup_seconds=10, staging_seconds=30)])
    assert (spent.startup_seconds, spent.staging_seconds, spent.sampling_seconds) == (40, 30, 10)


def test_a_task_of_two_gpus_costs_twice_its_time():
    facts = {"tensor_parallel_size": 2, "startup_seconds": 5, "device": "A100"}
    shards = [shard(110, 120, **facts)]
    assert cost_of(shards).gpu_hours == pytest.approx(30 / 3600)
    spent = spent_of(shards)
    assert spent.tokens_per_second == 5
    assert spent.devices == {"2 x A100": 1}


def test_the_engines_of_one_task_cost_their_own_time_each():
    """Side by side; the second one was replaced after it had died."""
    facts = {"process": 7, "device": "A100", "startup_seconds": 5, "engine_restarts": 0}
    again = facts | {"slot": 1, "engine_restarts": 1}
    shards = [
        shard(110, 150, **facts, slot=0),
        shard(110, 120, **facts, slot=1),
        shard(130, 150, **again),
    ]
    spent = spent_of(shards)
    assert (spent.tasks, spent.engines, spent.devices) == (1, 2, {"A100": 2})
    assert spent.sampling_seconds == 40 + 40 - 5
    assert spent.startup_seconds == 15
    assert cost_of(shards).gpu_hours == pytest.approx(90 / 3600)


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


def test_a_run_without_a_gpu_has_no_gpu_hours_and_no_rate_of_a_gpu():
    for device in ("cpu", "none", "http://127.0.0.1:8000"):
        shards = [shard(100, 160, startup_seconds=3, device=device)]
        spent, cost = spent_of(shards), cost_of(shards)
        assert spent.sampling_seconds == 60
        assert spent.tokens_per_second is None
        assert cost.gpu_hours is None
        assert cost.line() == "63 s of sampling tasks, no GPU (from the shards), 95% of it sampling"


def test_a_trial_on_a_cpu_is_no_gpu_time():
    trial = shard(0, 1000, device="cpu", host="login")
    spent = spent_of([trial, shard(110, 120, device="A100", startup_seconds=5)])
    assert (spent.tasks, spent.sampling_seconds, spent.startup_seconds) == (2, 10, 5)
    assert spent.on_gpus


def test_accounting_counts_lost_attempts_and_the_time_before_the_first_slice():
    shards = [shard(1000, 4600, device="A100", startup_seconds=100)]
    lost, kept = Allocation("7", True, 3000, 1), Allocation("7", True, 4200, 1)
    evaluation = Allocation("8", False, 900, 0)
    cost = cost_of(shards, [lost, kept, evaluation], {"7"})
    assert cost.gpu_hours == 2.0
    assert cost.line() == "2.00 GPU-hours paid (from sacct), 50% of it sampling"


def test_an_allocation_of_four_gpus_costs_four_times_its_time():
    assert cost_of([], [Allocation("7", True, 900, 4)], {"7"}).gpu_hours == 1.0


def test_jobs_that_accounting_forgot_cost_what_their_shards_say():
    shards = [shard(0, 3600, device="A100"), shard(0, 1800, device="A100", slurm_job="9")]
    cost = cost_of(shards, [Allocation("9", True, 7200, 1)], {"7", "9"})
    assert cost.gpu_hours == 3.0
    assert "from sacct for 1 of 2 sampling jobs, the shards for the rest" in cost.line()
    outside = shard(0, 3600, device="A100", slurm_job="")
    cost = cost_of([outside], [Allocation("9", True, 7200, 1)], {"9"})
    assert (cost.gpu_hours, cost.source) == (3.0, "sacct and the shards")


def test_accounting_that_tells_no_gpus_is_not_believed_where_shards_name_them():
    shards = [shard(0, 3600, device="A100")]
    cost = cost_of(shards, [Allocation("7", True, 9999, 0)], {"7"})
    assert (cost.gpu_hours, cost.source) == (1.0, "the shards")


def test_without_a_gpu_only_sampling_is_task_time():
    shards = [shard(0, 60, device="cpu")]
    jobs = [Allocation("7", True, 80, 0), Allocation("8", False, 500, 0)]
    cost = cost_of(shards, jobs, {"7"})
    assert cost.line() == "80 s of sampling tasks, no GPU (from sacct), 75% of it sampling"


FACTS = st.fixed_dictionaries(
    {"slurm_task": st.integers(0, 2), "engine_restarts": st.integers(0, 2)},
    optional={
        "slot": st.integers(0, 1),
        "device": st.sampled_from(["A100", "cpu"]),
        "tensor_parallel_size": st.sampled_from([1, 2]),
        "startup_seconds": st.integers(0, 90),
        "staging_seconds": st.integers(0, 90),
        "prompt_tokens": st.integers(0, 50),
        "preemptions": st.integers(0, 3),
        "kv_cache_peak": st.sampled_from([0.25, 0.5]),
    },
)
ATTEMPTS = st.lists(st.tuples(st.integers(1, 99), FACTS), max_size=12)


@given(ATTEMPTS, ATTEMPTS, st.integers(0, 12))
def test_condensed_shards_cost_what_the_shards_do(some, others, interrupted):
    """Whole seconds: sums of them do not depend on the order. No two attempts start together."""
    shards = [
        shard(100 * i, 100 * i + seconds, **facts)
        for i, (seconds, facts) in enumerate([*some, *others])
    ]
    if shards[interrupted + 1 :]:
        first, last = shards[interrupted : interrupted + 2]
        shards[interrupted : interrupted + 2] = [replace(last, earlier=(first,))]
    one, two = shards[: len(some)], shards[len(some) :]
    kept = condensed(one)
    assert spent_of(kept) == spent_of(one)
    assert spent_of([*kept, *two]) == spent_of(condensed([*kept, *two])) == spent_of(shards)
    starts = {(*a.origin.key, a.start.restarts) for s in one for a in s.attempts()}
    assert len(kept) == len(starts)
