"""A run's problems in groups, so that the samples of one group fit in memory together.

Each distinct answer to a problem is judged once, and a problem's counts are over all its samples.
So all samples of a problem must be seen together, but not those of all problems. The plan tells
which slices hold a problem. Which files of verdicts hold one is read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.records import Slice
from toolkit.runs.run import Run
from toolkit.runs.verdicts import read_batch, task_ids_in, verdict_files

SAMPLES_AT_ONCE = 500_000
"""So many samples are looked at together. Their rows take some hundreds of MB."""


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Some problems of a run, and the files that tell of them.

    task_ids: None for all problems. slices: those that hold samples of them. files: those that hold
    verdicts of them; None for all of the run. Slices and files may hold other problems too.
    """

    task_ids: frozenset[str] | None
    slices: tuple[Slice, ...]
    files: tuple[Path, ...] | None = None


def group_files(
    run: Run, slices: Sequence[Slice], most: int = SAMPLES_AT_ONCE
) -> list[ProblemGroup]:
    """The problems of these slices in groups of at most `most` samples, with their files.

    The groups are in the order of the problems in the slices. Raises `CorruptShard` for a file of
    verdicts that cannot be read.
    """
    groups = group_problems(slices, most)
    if len(groups) == 1:
        return groups
    group_of = {t: number for number, group in enumerate(groups) for t in group.task_ids or ()}
    files: list[list[Path]] = [[] for _ in groups]
    for path in verdict_files(run):
        numbers = _numbers(task_ids_in(path), group_of)
        if not numbers:
            read_batch(path)  # nobody else would notice that it is damaged
        for number in numbers:
            files[number].append(path)
    return [replace(group, files=tuple(own)) for group, own in zip(groups, files, strict=True)]


def group_problems(slices: Sequence[Slice], most: int) -> list[ProblemGroup]:
    """The same without the files of verdicts.

    A problem with more samples is a group of its own. One group if all fit, or without slices.
    """
    group_of = _numbered(slices, most)
    members: dict[int, list[str]] = {}
    for task_id, number in group_of.items():
        members.setdefault(number, []).append(task_id)
    if len(members) < 2:
        return [ProblemGroup(None, tuple(slices))]
    holding: list[list[Slice]] = [[] for _ in members]
    for each in slices:
        for number in _numbers((seeds.task_id for seeds in each.ranges), group_of):
            holding[number].append(each)
    return [
        ProblemGroup(frozenset(members[number]), tuple(held)) for number, held in enumerate(holding)
    ]


def _numbers(task_ids: Iterable[str], group_of: dict[str, int]) -> set[int]:
    """The numbers of the groups of these problems. A problem of no group is left out."""
    return {group_of[task_id] for task_id in task_ids if task_id in group_of}


def _numbered(slices: Iterable[Slice], most: int) -> dict[str, int]:
    """task_id -> number of its group, from 0; in the order in which slices name the problems."""
    samples: dict[str, int] = {}
    for each in slices:
        for seeds in each.ranges:
            samples[seeds.task_id] = samples.get(seeds.task_id, 0) + len(seeds)
    group_of: dict[str, int] = {}
    number = held = 0
    for task_id, count in samples.items():
        if held and held + count > most:
            number, held = number + 1, 0
        group_of[task_id] = number
        held += count
    return group_of
