"""The problems of a launch: a benchmark by its name, or a user's file; all, or a subset."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.problems.humaneval import HUMANEVAL, humaneval_path, read_humaneval
from toolkit.records import Problem


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
    path = humaneval_path() if source == HUMANEVAL else Path(source)
    problems = read_humaneval(path)
    if task_ids is not None:
        problems = _pick(problems, task_ids, path)
    return problems[:limit]


def problems_label(source: str) -> str:
    """The short name of a set of problems, as it stands in a run's name."""
    return source if source == HUMANEVAL else Path(source).name.split(".")[0]


def problems_digest(problems: Iterable[Problem]) -> str:
    """SHA-256 over what the model reads and what judges it; the order counts for nothing."""
    lines = sorted(
        # The reference's values, without its keys: so 0.1.0 hashed them, and runs keep their names.
        json.dumps([p.task_id, p.prompt, *json.loads(p.reference).values()])
        for p in problems
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pick(problems: list[Problem], task_ids: Sequence[str], path: Path) -> list[Problem]:
    unknown = sorted(set(task_ids) - {p.task_id for p in problems})
    if unknown:
        raise UsageError(
            f"--task-ids {' '.join(unknown[:5])}: not in {path}, "
            f"which has {problems[0].task_id} ... {problems[-1].task_id}"
        )
    return [p for p in problems if p.task_id in set(task_ids)]
