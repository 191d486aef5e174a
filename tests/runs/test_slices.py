from hypothesis import given
from hypothesis import strategies as st

from toolkit.runs.slices import deal, missing_slices, plan_round, planned_samples

numbers = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60), min_size=1)
sizes = st.integers(1, 25)


def keys(slices):
    return [
        (r.task_id, seed)
        for s in slices
        for r in s.ranges
        for seed in range(r.seed_start, r.seed_stop)
    ]


@given(numbers, numbers, sizes, sizes)
def test_rounds_cover_every_seed_exactly_once(first, second, slice_samples, slice_seeds):
    size = {"slice_samples": slice_samples, "slice_seeds": slice_seeds}
    one = plan_round(0, first, {}, **size)
    two = plan_round(1, second, planned_samples(one), **size)
    wanted = {t: max(first.get(t, 0), second.get(t, 0)) for t in first.keys() | second.keys()}
    assert sorted(keys(one + two)) == sorted((t, s) for t, n in wanted.items() for s in range(n))
    assert len({s.name for s in one + two}) == len(one + two)
    for slice_ in one + two:
        assert 1 <= len(slice_) <= slice_samples
        assert all(1 <= len(seeds) <= slice_seeds for seeds in slice_.ranges)
    # All slices of a round but the last are full.
    assert all(len(s) == slice_samples for s in one[:-1])


def test_layers_give_every_problem_its_first_seeds_first():
    slices = plan_round(0, {"a": 6, "b": 6}, {}, slice_samples=3, slice_seeds=3)
    assert [(r.task_id, r.seed_start, r.seed_stop) for s in slices for r in s.ranges] == [
        ("a", 0, 3),
        ("b", 0, 3),
        ("a", 3, 6),
        ("b", 3, 6),
    ]


def test_fewer_samples_than_planned_plans_nothing():
    assert plan_round(1, {"a": 5}, {"a": 8}, slice_samples=4, slice_seeds=4) == []


@given(st.integers(0, 40), st.integers(1, 50))
def test_deal_gives_each_slice_to_one_task_evenly(count, tasks):
    slices = plan_round(0, {"a": count}, {}, slice_samples=1, slice_seeds=1)
    hands = deal(slices, tasks)
    assert sorted(name for hand in hands for name in hand) == [s.name for s in slices]
    assert len(hands) == min(count, tasks)
    assert not hands or max(map(len, hands)) - min(map(len, hands)) <= 1


def test_missing_is_a_set_difference():
    slices = plan_round(0, {"a": 5}, {}, slice_samples=2, slice_seeds=2)
    assert [s.name for s in missing_slices(slices, {"r000-s0001"})] == ["r000-s0000", "r000-s0002"]
