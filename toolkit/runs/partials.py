"""Partial files: the finished samples of slices that were interrupted.

`partial/<slice>.parquet` is like the shard of its slice, with fewer rows. The next process that
samples the slice takes these samples as drawn, adds the others, writes the shard, and deletes the
partial file. Nothing else reads its samples: to the ledger the slice is missing until its shard is
there.

Losing a partial file costs the samples in it, and nothing else. So one that is damaged or foreign
is moved to `quarantine/`, and its slice is sampled anew. Two processes may write the file of one
slice: either file is good.
"""

import contextlib
import functools
import logging
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from toolkit.errors import CorruptShard, ToolkitError
from toolkit.records import Sample, Slice
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import Origin, ShardFacts, read_facts
from toolkit.runs.shards import SAMPLE_SCHEMA, content_digest, read_samples, write_samples
from toolkit.runs.tables import parquet_names, remedy

log = logging.getLogger(__name__)

_UNREADABLE = (ToolkitError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What reading a file may raise. A library that reads foreign bytes may panic."""


ABANDONED_SECONDS = 600.0
"""Whoever has not finished to write a shard after this time is no more."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The finished samples of a slice, and the facts of the attempts that drew them.

    The tokens of prompts are known as sums only, in the facts.
    """

    samples: tuple[Sample, ...]
    facts: ShardFacts


class PartialFile(NamedTuple):
    """What the footer of a partial file tells. samples: how many it has."""

    slice: str
    samples: int
    facts: ShardFacts


def partial_path(run: Run, name: str) -> Path:
    """The path of the partial file of the slice `name`."""
    return run.partial_dir / f"{name}.parquet"


def write_partial(run: Run, slice_: Slice, samples: Iterable[Sample], facts: ShardFacts) -> None:
    """Write what is finished of a slice, in place of an earlier partial file.

    Writes nothing if the slice has a shard by now, for instance of a process believed dead. Raises
    `WriteFailure`.
    """
    if not run.shard_path(slice_.name).exists():
        rows = sorted(samples, key=lambda s: (s.task_id, s.seed))
        write_samples(partial_path(run, slice_.name), run, slice_, rows, facts)


def read_partials(run: Run, slices: Iterable[Slice]) -> dict[str, Partial]:
    """Name -> what is finished, for each of these slices that has a good partial file.

    A damaged or foreign one is named in the log and moved to `quarantine/`.
    """
    listed = parquet_names(run.partial_dir)
    found = {}
    for slice_ in slices:
        if slice_.name in listed and (partial := _read(run, slice_)) is not None:
            found[slice_.name] = partial
    return found


def _read(run: Run, slice_: Slice) -> Partial | None:
    path = partial_path(run, slice_.name)
    try:
        return _checked(run, slice_, path)
    except _UNREADABLE as error:
        log.warning("%s", error if isinstance(error, ToolkitError) else f"{path}: {error}")
        _set_aside(run, path)
        return None


def _checked(run: Run, slice_: Slice, path: Path) -> Partial:
    frame = read_samples(path)
    facts = read_facts(path)
    if (facts.run, facts.slice) != (run.manifest()["digest"], slice_.name):
        raise CorruptShard(f"{path}: belongs to another run or slice; {remedy(path)}")
    nulls = frame.select(SAMPLE_SCHEMA.names()).null_count().row(0)
    whole = not sum(nulls) and facts.content == content_digest(frame)
    if not whole or facts.tokens.output != frame["n_tokens"].sum():
        raise CorruptShard(f"{path}: its content is not what was written; {remedy(path)}")
    keys = list(frame.select("task_id", "seed").iter_rows())
    if len(set(keys)) < len(keys) or not set(keys) <= set(slice_.sample_keys()):
        raise CorruptShard(f"{path}: its rows are not samples that its slice plans; {remedy(path)}")
    return Partial(tuple(Sample(**row) for row in frame.iter_rows(named=True)), facts)


def _set_aside(run: Run, path: Path) -> None:
    """If the file system refuses that too, the next partial file of the slice replaces this one."""
    folder = run.path / "quarantine"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        path.replace(folder / f"{path.stem}.partial-{secrets.token_hex(4)}.parquet")


def discard_partial(run: Run, name: str) -> None:
    """Delete the partial file of a slice that has its shard."""
    with contextlib.suppress(OSError):
        partial_path(run, name).unlink(missing_ok=True)


def discard_stale_partials(run: Run) -> None:
    """Delete the partial files of slices that have their shards.

    A process that ends between the two steps leaves one, and so does the slower of two processes.
    A process that is killed while it writes leaves a temporary file, of a shard too.
    """
    done = run.done()
    shards = (p for p in run.samples_dir.glob(".*") if _is_older(p, ABANDONED_SECONDS))
    for path in (*run.partial_dir.glob("*"), *shards):
        if path.name.removeprefix(".").partition(".parquet")[0] in done:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


def list_partials(run: Run, without: Collection[str] | None = None) -> list[PartialFile]:
    """The good partial files of slices without a shard. Reads footers only, and moves nothing.

    A file that this process has read is not opened again until it changes. without: the slices
    whose files are left out; not given, those that have a shard, which takes a listing.
    """
    left_out = run.done() if without is None else without
    found = []
    for name in sorted(parquet_names(run.partial_dir).difference(left_out)):
        path = partial_path(run, name)
        with contextlib.suppress(*_UNREADABLE):
            status = path.stat()
            stamp = status.st_ino, status.st_size, status.st_mtime_ns
            found.append(_file_at(path, *stamp))
    return found


@functools.lru_cache(maxsize=1024)
def _file_at(path: Path, *stamp: int) -> PartialFile:
    """stamp: changes with the file, which a newer one replaces."""
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    return PartialFile(path.stem, int(rows), read_facts(path))


def brought_samples(run: Run, names: Sequence[str], origin: Origin, restarts: set[int]) -> bool:
    """Whether an array task brought a sample of these slices to disk in one of its `restarts`.

    origin: of the array task. A restart is a number, 0 for the first start.
    """
    for path in (*(partial_path(run, n) for n in names), *map(run.shard_path, names)):
        with contextlib.suppress(*_UNREADABLE):
            for attempt in read_facts(path).attempts() if path.exists() else ():
                found = attempt.origin
                task = (found.slurm_job, found.slurm_task) == (origin.slurm_job, origin.slurm_task)
                if task and found.slurm_restarts in restarts:
                    return True
    return False
