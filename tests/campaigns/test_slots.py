"""No more array tasks sample than there are slots, whatever takes longer than expected."""

import math

from hypothesis import given
from hypothesis import strategies as st

from toolkit.campaigns.slots import Work, places

WORKS = st.lists(
    st.builds(Work, st.integers(1, 12), st.floats(0.1, 100), st.just(False)), max_size=12
)


def played(works, found, lengths):
    """When each run begins and ends, if each begins as soon as its slots are free."""
    free, times = {}, []
    for work, place, length in zip(works, found, lengths, strict=True):
        start = max((free.get(slot, 0.0) for slot in place.slots), default=0.0)
        free.update(dict.fromkeys(place.slots, start + length))
        times.append((start, start + length, len(place.slots), work))
    return times


@given(WORKS, st.integers(1, 9), st.data())
def test_the_bound_holds_for_any_true_lengths(works, bound, data):
    found = places(works, bound)
    lengths = data.draw(st.lists(st.floats(0.1, 50), min_size=len(works), max_size=len(works)))
    times = played(works, found, lengths)
    for start, *_ in times:
        busy = sum(width for begin, end, width, _ in times if begin <= start < end)
        assert busy <= bound
    for place, work in zip(found, works, strict=True):
        assert len(place.slots) == min(work.tasks, bound)
        assert len(set(place.slots)) == len(place.slots)
        assert set(place.slots) <= set(range(bound))


def test_slots_that_are_free_first_are_taken_first():
    works = [Work(2, 20.0), Work(1, 3.0), Work(1, 3.0), Work(3, 3.0)]
    found = places(works, 3)
    assert [place.slots for place in found] == [(0, 1), (2,), (2,), (0, 1, 2)]
    assert [(place.start, place.end) for place in found] == [(0, 10), (0, 3), (3, 6), (10, 11)]


def test_endless_runs_come_last_and_share_the_slots():
    works = [Work(4, 1.0, endless=True), Work(4, 8.0), Work(1, 1.0, endless=True)]
    found = places(works, 4)
    assert [place.slots for place in found] == [(0, 1), (0, 1, 2, 3), (2,)]
    assert found[0].start == 2.0
    assert found[0].end == math.inf


def test_a_run_waits_for_a_slot_but_not_for_an_endless_one():
    held = {0: math.inf, 1: 5.0}
    assert [p and p.slots for p in places([Work(3, 1.0)], 2, held)] == [(1,)]
    assert places([Work(1, 1.0)], 1, {0: math.inf}) == [None]
    endless = [Work(1, 1.0, endless=True)] * 2
    assert [p and p.slots for p in places(endless, 1)] == [(0,), None]


def test_what_samples_nothing_needs_no_slot():
    (place,) = places([Work(0, 0.0)], 1, {0: math.inf})
    assert place.slots == ()
