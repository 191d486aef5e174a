"""The problems of a launch: a benchmark by its name, or a user's file. All of it, or a subset."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.config import ProblemSet
from toolkit.errors import UsageError
from toolkit.problems.humaneval import HUMANEVAL, humaneval_path, read_humaneval
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.records import Problem


def source_of(chosen: ProblemSet) -> str:
    """What a run says of its problems' origin: HumanEval's file or name, else the task's name."""
    if chosen.task == HUMANEVAL:
        return chosen.problems or HUMANEVAL
    return Path(chosen.task).name.split(".")[0]


def load_problems(
    source: str = HUMANEVAL,
    *,
    limit: int | None = None,
    task_ids: Sequence[str] | None = None,
) -> list[Problem]:
    """The problems of `source` ("humaneval" or the path of a file), in its order.

    task_ids: keep only these. limit: keep only this many of the rest, from the first one on. Raises
    `UsageError` for an unknown task_id or a bad file; it names file, line and field.
    """
    return pick(_read(source), source, limit=limit, task_ids=task_ids)


def pick(
    problems: list[Problem],
    source: str,
    *,
    limit: int | None = None,
    task_ids: Sequence[str] | None = None,
) -> list[Problem]:
    """Those of `source` that are asked for; see `load_problems`."""
    if task_ids is not None:
        problems = _pick(problems, task_ids, source)
    return problems[:limit]


def _read(source: str) -> list[Problem]:
    match source:
        case "" | "humaneval":
            return read_humaneval(humaneval_path())
        case _:
            if not Path(source).exists():
                raise UsageError(f"--problems {source}: no such file; give one, or `{HUMANEVAL}`")
            return read_humaneval(Path(source))


def problems_label(source: str) -> str:
    """The short name of a set of problems, which becomes part of a run's name."""
    return source if source == HUMANEVAL else Path(source).name.split(".")[0]


def problems_digest(problems: Iterable[Problem]) -> str:
    """SHA-256 over what the model reads and what judges it. The order makes no difference."""
    lines = sorted(
        # The reference's values without its keys, as 0.1.0 hashed them: so runs keep their names.
        json.dumps([p.task_id, p.prompt, *json.loads(p.reference).values(), *_told_kind(p)])
        for p in problems
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _told_kind(problem: Problem) -> list[str]:
    """The kind of verifier. 0.1.0 knew one kind and did not hash it, so that one is left out."""
    return [] if problem.kind == PYTHON_TESTS else [problem.kind]


def _pick(problems: list[Problem], task_ids: Sequence[str], source: str) -> list[Problem]:
    unknown = sorted(set(task_ids) - {p.task_id for p in problems})
    if unknown:
        raise UsageError(
            f"--task-ids {' '.join(unknown[:5])}: not in {source}; valid: "
            f"{problems[0].task_id} ... {problems[-1].task_id}"
        )
    return [p for p in problems if p.task_id in set(task_ids)]
