"""Places in time for runs that share a bound on parallel array tasks.

The bound is a number of slots. A run takes as many slots as array tasks of it sample at the same
time, and its sampling waits until all that had these slots before have ended. So at no moment more
array tasks sample than there are slots, whatever takes longer than expected. Expected lengths only
decide who comes after whom: each run takes the slots that are free first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is to sample. tasks: array tasks. size: in any unit, for all tasks together.

    endless: it keeps its slots, because nobody knows when it ends, as an adaptive run.
    """

    tasks: int
    size: float
    endless: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """slots: of a run, one for each array task of it that samples at the same time.

    start, end: in the unit of the sizes, for one task; the end of an endless run is infinite.
    """

    slots: tuple[int, ...]
    start: float
    end: float


def places(
    works: Sequence[Work], bound: int, until: Mapping[int, float] | None = None
) -> list[Place | None]:
    """A place for each run, in their order; None where no slot will ever be free for it.

    until: when slots get free that others hold already, infinite for those of endless runs. Runs
    that end are placed first. The endless ones share the slots, one or more each.
    """
    free = {slot: (until or {}).get(slot, 0.0) for slot in range(bound)}
    found: list[Place | None] = [None] * len(works)
    for i in sorted(range(len(works)), key=lambda i: works[i].endless):
        work = works[i]
        if not work.tasks and not work.endless:
            found[i] = Place((), 0.0, 0.0)
            continue
        open_slots = [slot for slot in free if free[slot] < math.inf]
        if not open_slots:
            continue
        most = len(open_slots)
        if work.endless:
            left = sum(w.endless for w, place in zip(works, found, strict=True) if place is None)
            most = max(1, most // left)
        width = max(1, min(work.tasks, most))
        soonest = sorted(open_slots, key=lambda slot: (free[slot], slot))
        taken = tuple(sorted(soonest[:width]))
        start = max(free[slot] for slot in taken)
        end = math.inf if work.endless else start + work.size / width
        free.update(dict.fromkeys(taken, end))
        found[i] = Place(taken, start, end)
    return found
