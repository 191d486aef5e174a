"""Cut the wanted samples into slices, and find out which slices are still missing.

Pure functions: records in, records out. `toolkit.runs.rounds` freezes a round on disk. A slice is
*done* when its shard exists. So resume, status and completeness are one set difference
(`missing_slices`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from toolkit.records import SeedRange, Slice

USUAL_SIZE = 2048
"""Samples in a slice, where nothing asks for another size."""


def plan_round(
    index: int,
    wanted: Mapping[str, int],
    planned: Mapping[str, int],
    *,
    slice_samples: int,
    slice_seeds: int,
) -> list[Slice]:
    """Slices that bring every problem from its `planned` number of samples to its `wanted` one.

    wanted, planned: task_id -> number of samples. A problem's seeds are 0, 1, 2 ... So the number
    planned is also the first seed to plan. Nothing is planned twice, and a smaller `wanted` takes
    nothing back.

    Seeds are dealt in layers: first seeds 0 to slice_seeds-1 of every problem, then the next ones.
    So a run that ends early has a similar n everywhere. Consecutive seeds of a problem stay
    together, so that they share the prefill of their prompt.
    """
    slices: list[Slice] = []
    ranges: list[SeedRange] = []
    room = slice_samples
    for seeds in _layers(wanted, planned, slice_seeds):
        start = seeds.seed_start
        while start < seeds.seed_stop:
            stop = min(seeds.seed_stop, start + room)
            ranges.append(SeedRange(seeds.task_id, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                slices.append(Slice(slice_name(index, len(slices)), tuple(ranges)))
                ranges, room = [], slice_samples
    if ranges:
        slices.append(Slice(slice_name(index, len(slices)), tuple(ranges)))
    return slices


def _layers(
    wanted: Mapping[str, int], planned: Mapping[str, int], slice_seeds: int
) -> Iterator[SeedRange]:
    starts = {task_id: planned.get(task_id, 0) for task_id in wanted}
    pending = [task_id for task_id, n in wanted.items() if starts[task_id] < n]
    while pending:
        for task_id in pending:
            start = starts[task_id]
            starts[task_id] = min(wanted[task_id], start + slice_seeds)
            yield SeedRange(task_id, start, starts[task_id])
        pending = [task_id for task_id in pending if starts[task_id] < wanted[task_id]]


def slice_name(round_index: int, slice_index: int) -> str:
    """`r000-s0000`. Names sort in the order of planning, for up to 10,000 slices in a round."""
    return f"r{round_index:03d}-s{slice_index:04d}"


def planned_samples(slices: Iterable[Slice]) -> dict[str, int]:
    """task_id -> samples planned so far: one past the highest planned seed."""
    planned: dict[str, int] = {}
    for slice_ in slices:
        for seeds in slice_.ranges:
            planned[seeds.task_id] = max(planned.get(seeds.task_id, 0), seeds.seed_stop)
    return planned


def missing_slices(slices: Iterable[Slice], done: Collection[str]) -> list[Slice]:
    """The slices without a shard. `done` holds the names of those that have one."""
    return [s for s in slices if s.name not in done]


def deal(slices: Sequence[Slice], tasks: int) -> list[list[str]]:
    """Deal slices like cards to at most `tasks` array tasks. Returns the slice names of each.

    Every launch deals the missing slices again. So any number of array tasks shares the work
    evenly, and no file name depends on that number. Fewer slices give fewer array tasks.
    """
    return [[s.name for s in slices[i::tasks]] for i in range(min(tasks, len(slices)))]
