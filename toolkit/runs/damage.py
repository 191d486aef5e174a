"""Damage at the files of a run: which file it is, and what is moved aside.

Files appear whole, but a disk, a copy or a person may damage them later. What can be made anew is a
cache: maps, results. Verdicts are reached again. Shards are sampled again. A manifest, the problems
and a plan cannot be made anew: the error says to restore them from a copy, and nothing is written.
"""

import functools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from toolkit.errors import CorruptShard, ToolkitError
from toolkit.files import make_directory, sync_directory, writing
from toolkit.runs.answers import map_path, read_map
from toolkit.runs.predictions import SCHEMA as PREDICTIONS
from toolkit.runs.run import Run
from toolkit.runs.scores import read_scores, score_names
from toolkit.runs.second_judge import second_judge, second_judges
from toolkit.runs.shards import verify_shards
from toolkit.runs.tables import UNREADABLE, read_json, read_table
from toolkit.runs.verdicts import read_batch

Values = ParamSpec("Values")
Result = TypeVar("Result")


def damaged_shards(run: Run) -> Iterator[tuple[Path, CorruptShard]]:
    """Each shard that is not what its slice plans, and why. Every shard is read."""
    for name, error in verify_shards(run):
        yield run.shard_path(name), error


def damaged_verdicts(run: Run) -> Iterator[tuple[Path, CorruptShard]]:
    """Each file of verdicts that cannot be read, and why."""
    for path in sorted(run.verdicts_dir.glob("*.parquet")):
        try:
            read_batch(path)
        except CorruptShard as error:
            yield path, error


def damaged_maps(run: Run) -> Iterator[tuple[Path, CorruptShard]]:
    """Each map of answers that cannot be read, and why."""
    for path in sorted(run.answers_dir.glob("*.parquet")):
        try:
            read_map(run, path.stem)
        except CorruptShard as error:
            yield path, error


def damaged_records(run: Run) -> Iterator[ToolkitError]:
    """What is wrong with the run's other files, except its results: one error for each file."""
    try:
        run.problems()
    except ToolkitError as error:
        yield error
    for name in second_judges(run):
        try:
            second_judge(run, name)
        except ToolkitError as error:
            yield error
    for name in score_names(run):
        try:
            read_scores(run, name)
        except ToolkitError as error:
            yield error
    for path in sorted(run.predictions_dir.glob("*.parquet")):
        try:
            read_table(path, PREDICTIONS)
        except ToolkitError as error:
            yield error
    for path in sorted((run.path / "isolation").glob("*.json")):
        try:
            read_json(path)
        except ToolkitError as error:
            yield error
    for _, damage in (*damaged_maps(run), *damaged_verdicts(run)):
        yield damage


def set_aside(run: Run, path: Path) -> Path:
    """Move a damaged file to `quarantine/`. Returns its new path. Raises `WriteFailure`.

    A shard's map goes with it. If another process has moved the file already, this does nothing.
    """
    folder = run.path / "quarantine"
    make_directory(folder)
    target = folder / f"{path.stem}.{secrets.token_hex(4)}{path.suffix}"
    with writing(target):
        try:
            path.replace(target)
        except FileNotFoundError:
            return target
        if path.parent == run.samples_dir:
            map_path(run, path.stem).unlink(missing_ok=True)
        sync_directory(folder)
        sync_directory(path.parent)
    return target


def naming_damage(
    function: Callable[Concatenate[Run, Values], Result],
) -> Callable[Concatenate[Run, Values], Result]:
    """Decorate a function that scans many files of a run: it raises `CorruptShard` for the file
    that cannot be read. Only then each file is read by itself.
    """

    @functools.wraps(function)
    def named(run: Run, /, *args: Values.args, **kwargs: Values.kwargs) -> Result:
        try:
            return function(run, *args, **kwargs)
        except UNREADABLE as error:
            for _, damage in (*damaged_maps(run), *damaged_shards(run)):
                raise damage from None
            raise ToolkitError(
                f"{run.path}: its files changed while they were read ({error}); try again"
            ) from None

    return named
