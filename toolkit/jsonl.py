"""Read a user's JSON Lines file, plain or gzipped. Errors name the file, the line, the field."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from toolkit.errors import UsageError


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each non-empty line of a JSONL file, gzipped or not.

    Raises `UsageError`, naming the file, when it cannot be read. If a line is not a JSON object,
    the error names the line too.
    """
    try:
        with _open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise UsageError(f"{path}, line {number}: not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number}: not a JSON object")
                yield number, row
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def text_field(row: dict[str, Any], field: str, where: str) -> str:
    """`row[field]`. Raises `UsageError`, beginning with `where`, unless it is a string."""
    if field not in row:
        raise UsageError(f"{where}: field {field!r} is missing")
    if not isinstance(row[field], str):
        raise UsageError(f"{where}: field {field!r} is {type(row[field]).__name__}, not a string")
    return cast(str, row[field])


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
