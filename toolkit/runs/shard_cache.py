"""What was read of a run's finished shards, kept in one file: `results/shards.parquet`.

A run of 8,000 slices has as many shards and maps. To open each of them takes a shared file system
long. So status keeps what it has read, and reads only what is new.

The file is a cache: it may be deleted. One that is damaged, or of another version, is made anew. If
it cannot be written, as in another user's run, everything works without it.

A file counts as unchanged while its name and its inode number are the same. One listing of its
directory tells both. What replaces a file is renamed to its name, so it has another inode. Size and
time of a file cost one operation each time. They are compared for `CHECKED` files drawn at random,
and after a launch for all of them. So damage inside an old file of a large run may be seen late.
All that works with the samples reads the shards themselves: fit, evaluate, `launch.py --resume` and
`status.py --verify`.
"""

import contextlib
import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from toolkit import __version__
from toolkit.errors import CorruptShard, ToolkitError, WriteFailure
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts, facts_of_metadata, facts_to_metadata, read_facts
from toolkit.runs.tables import metadata, read_table, write_table

VERSION = f"{__version__}, 2"
"""Another version of the toolkit may read more. The last number is raised within a version."""
CHECKED = 256
"""How many unchanged files are compared by size and time, each time."""
SCHEMA = pl.Schema(
    {
        "file": pl.String(),
        "inode": pl.UInt64(),
        "size": pl.UInt64(),
        "modified": pl.Int64(),
        "facts": pl.String(),
    }
)
"""One row for each shard, map and file of verdicts that was read.

file: its path in the run. size: in bytes. modified: in nanoseconds since the epoch. facts: of a
shard, its metadata as JSON, without the readings of its feed; null for other files.
"""


class Stamp(NamedTuple):
    """What tells a file from another one of its name. Fields as in `SCHEMA`."""

    inode: int
    size: int
    modified: int


@dataclass(slots=True)
class ShardCache:
    """What is known of the files that a run has now. Paths are relative to the run.

    listed: path -> inode number of all shards, maps and files of verdicts. launches: changes with
    each launch. stamps: of the files that were read and are unchanged. facts: path -> facts of a
    shard, as JSON. outcomes: what `toolkit.runs.summary` keeps here, "" for nothing. changed:
    whether the file on disk says something else.
    """

    run: Run
    listed: Mapping[str, int]
    launches: str
    stamps: dict[str, Stamp] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    outcomes: str = ""
    changed: bool = False

    def files_in(self, folder: Path) -> list[str]:
        """The paths of all files in this directory of the run, sorted."""
        return sorted(path for path in self.listed if path.startswith(f"{folder.name}/"))

    def note(self, path: str) -> bool:
        """Call it before a file is read. False means that the file is gone."""
        if path not in self.stamps:
            try:
                self.stamps[path] = _stamp(self.run, path, self.listed[path])
            except FileNotFoundError:
                return False
            self.changed = True
        return True

    def forget(self, path: str) -> None:
        """The next reader reads this file again."""
        self.stamps.pop(path, None)
        self.facts.pop(path, None)
        self.changed = True

    def shards(self, *, skip_damaged: bool = False) -> dict[str, ShardFacts]:
        """Slice -> what its shard records about itself, without the readings of its feed.

        Raises `CorruptShard` for a shard that cannot be read, unless those are to be left out. What
        the others say is saved.
        """
        found, damaged = {}, []
        for path in self.files_in(self.run.samples_dir):
            try:
                if facts := self._facts(path):
                    found[Path(path).stem] = facts
            except CorruptShard as error:
                self.forget(path)
                damaged.append(error)
        if damaged and not skip_damaged:
            self.save()
            raise damaged[0]
        return found

    def _facts(self, path: str) -> ShardFacts | None:
        if path not in self.facts:
            if not self.note(path):
                return None
            facts = _without_readings(read_facts(self.run.path / path))
            self.facts[path] = json.dumps(facts_to_metadata(facts))
        return facts_of_metadata(json.loads(self.facts[path]))

    def save(self) -> None:
        """Write the file if it would say something new, and if the run can be written."""
        if not self.changed:
            return
        rows = [(path, *stamp, self.facts.get(path)) for path, stamp in sorted(self.stamps.items())]
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        facts = {"version": VERSION, "launches": self.launches, "outcomes": self.outcomes}
        facts["content"] = _content(rows, facts)
        with contextlib.suppress(WriteFailure):
            # A crash may leave a part of it. `content` tells, and it is made anew.
            write_table(_path(self.run), frame, facts, durable=False)
            self.changed = False


def open_cache(run: Run) -> ShardCache:
    """What the file says of files that are unchanged. Nothing, if it cannot be used."""
    cache = ShardCache(run, dict(_listing(run)), _launches(run))
    if not _path(run).is_file():
        return cache
    try:
        known = metadata(_path(run))
        rows = list(read_table(_path(run), SCHEMA).iter_rows())
    except ToolkitError:
        return cache
    if known.get("version") != VERSION or known.get("content") != _content(rows, known):
        return cache
    cache.outcomes = known["outcomes"]
    for path, inode, size, modified, facts in rows:
        if cache.listed.get(path) == inode:
            cache.stamps[path] = Stamp(inode, size, modified)
            if facts is not None:
                cache.facts[path] = facts
    cache.changed = len(cache.stamps) < len(rows)
    _check(cache, after_launch=known["launches"] != cache.launches)
    return cache


def read_all_facts(run: Run, *, skip_damaged: bool = False) -> list[ShardFacts]:
    """What each shard of a run records, without the readings of its feed.

    Raises `CorruptShard` for a shard that cannot be read, unless those are to be left out.
    """
    cache = open_cache(run)
    found = list(cache.shards(skip_damaged=skip_damaged).values())
    cache.save()
    return found


def _check(cache: ShardCache, *, after_launch: bool) -> None:
    """Forget the files whose size or time has changed: of all after a launch, else of some."""
    paths = list(cache.stamps)
    if after_launch:
        cache.changed = True
    else:
        paths = random.sample(paths, min(CHECKED, len(paths)))
    for path in paths:
        stamp = cache.stamps[path]
        try:
            same = _stamp(cache.run, path, stamp.inode) == stamp
        except FileNotFoundError:
            same = False
        if not same:
            cache.forget(path)


def _without_readings(facts: ShardFacts) -> ShardFacts:
    feed = replace(facts.feed, readings_json=None)
    return replace(facts, feed=feed, earlier=tuple(map(_without_readings, facts.earlier)))


def _path(run: Run) -> Path:
    return run.results_dir / "shards.parquet"


def _content(rows: Iterable[tuple[object, ...]], facts: Mapping[str, str]) -> str:
    """A digest of all that the file says. A damaged file may be parquet still."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("version", "launches", "outcomes"):
        digest.update(f"{facts.get(name)}\n".encode())
    digest.update("\n".join(map(str, rows)).encode())
    return digest.hexdigest()


def _listing(run: Run) -> Iterator[tuple[str, int]]:
    """Path and inode number of each shard, map and file of verdicts: three listings."""
    for folder in (run.samples_dir, run.answers_dir, run.verdicts_dir):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".parquet"):
                        yield f"{folder.name}/{entry.name}", entry.inode()


def _stamp(run: Run, path: str, inode: int) -> Stamp:
    found = (run.path / path).stat()
    return Stamp(inode, found.st_size, found.st_mtime_ns)


def _launches(run: Run) -> str:
    try:
        found = (run.path / "launches.jsonl").stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
