"""The files of a run: tables in parquet and objects in JSON. What is wrong with one is one line.

Each error names the file and what helps. Only this module says what helps for which file.
"""

import io
import json
import os
import shlex
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, ToolkitError
from toolkit.files import replace_file
from toolkit.runs import format1

NO_COPY = "restore it from a copy, or launch with a new directory as --run"
"""What to do about a damaged file that nothing else in the run can replace."""
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What polars raises for a file that is no parquet file any more."""


def remedy(path: Path) -> str:
    """What to do about a damaged file of a run."""
    run = shlex.quote(str(path.parents[1]))
    match path.parent.name:
        case "samples":
            return (
                f"`{job_command('launch')} --resume --run {run}` moves it to quarantine/ "
                "and samples its slice again"
            )
        case "partial":
            return "its slice is sampled anew"
        case "verdicts":
            return (
                f"`{job_command('evaluate')} {run}` moves it to quarantine/ and judges its answers "
                "again"
            )
        case "judges":
            return (
                f"delete it: `{job_command('evaluate')} {run} --task {shlex.quote(path.stem)}` "
                "makes it anew"
            )
        case "scores":
            return "delete it, and ingest the scores again"
        case "predictions":
            return (
                f"delete it: `{job_command('evaluate')} {run} --export-predictions DIR` makes it "
                "anew, unless the answers have verdicts already"
            )
        case "isolation":
            return "delete it: it only records how a node confined what it executed"
        case "answers" | format1.ANSWERS_DIRECTORY:
            return f"`{job_command('evaluate')} {run}` makes it anew"
        case "results":
            return f"`{job_command('fit')} {run}` makes it anew"
        case _:
            return NO_COPY


def parquet_names(folder: Path) -> set[str]:
    """The parquet files in a folder, without their suffix; none where there is no folder.

    One listing, which opens no file and asks for no status: runs have tens of thousands of them.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
    return {name.removesuffix(".parquet") for name in found if name.endswith(".parquet")}


def metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a parquet file. Raises `CorruptShard` if it cannot be read."""
    try:
        return pl.read_parquet_metadata(path)
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def write_table(
    path: Path, frame: pl.DataFrame, facts: dict[str, str], *, durable: bool = True
) -> None:
    """Write a parquet file (zstd) with `facts` as its metadata. It is complete or not there.

    durable: see `toolkit.files.replacing`. Raises `WriteFailure`.
    """
    # Built in memory: polars raises errors of its own, without a number, if a disk is full.
    built = io.BytesIO()
    frame.write_parquet(built, compression="zstd", metadata=facts)
    replace_file(path, built.getvalue(), durable=durable)


def read_table(path: Path, *schemas: pl.Schema) -> pl.DataFrame:
    """Read a parquet file that has one of the schemas. `CorruptShard` says what is wrong, where."""
    frame = read_frame(path)
    check_schema(path, frame, *schemas)
    return frame


def read_frame(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read columns of a parquet file, by default all. `CorruptShard` says what is wrong, where."""
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run. Raises `CorruptShard` if it does not hold one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if not isinstance(found, dict):
        raise CorruptShard(f"{path}: does not hold a JSON object; {remedy(path)}")
    return found


def json_bytes(value: Any) -> bytes:
    """A value as the JSON files of a run hold it."""
    return (json.dumps(value, indent=2) + "\n").encode()


def check_schema(path: Path, frame: pl.DataFrame, *schemas: pl.Schema) -> None:
    """Raise `CorruptShard` unless a table has one of these schemas."""
    if frame.schema not in schemas:
        raise CorruptShard(f"{path}: has unexpected columns {frame.columns}; {remedy(path)}")


def unreadable(path: Path, error: BaseException) -> ToolkitError:
    """The error for a damaged file, or for one that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return CorruptShard(f"{path}: missing; {remedy(path)}")
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    if isinstance(error, OSError) and error.errno is not None:
        return ToolkitError(f"{path}: cannot be read: {error.strerror}; mend that, then try again")
    return CorruptShard(f"{path}: cannot be read ({reason}); {remedy(path)}")
