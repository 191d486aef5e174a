"""Opens a task: finds its data, reads its problems, and chooses its judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.config import ProblemSet
from toolkit.errors import UsageError
from toolkit.models.hub_data import fetch_data, file_digest
from toolkit.problems.humaneval import HUMANEVAL, humaneval_path
from toolkit.problems.load import load_problems, pick
from toolkit.problems.task import Task, read_task
from toolkit.records import JudgeChoice, Problem
from toolkit.verifiers.base import only_kind, open_verifier
from toolkit.verifiers.judges import choice_of, choice_of_task


class LoadedTask(NamedTuple):
    """A task's name, its problems in their order, and how it judges them unless the user says."""

    name: str
    problems: list[Problem]
    judge: JudgeChoice


def load_task(
    name: str = HUMANEVAL,
    problems: str = "",
    *,
    limit: int | None = None,
    task_ids: Sequence[str] | None = None,
) -> LoadedTask:
    """The task of this name, or in this TOML file; see `load_problems` for limit and task_ids.

    problems: the file of its data. "": the task's own, which may have to be fetched. Raises
    `UsageError` for a task, a file or a row that cannot be used.
    """
    if name == HUMANEVAL:
        found = load_problems(problems or HUMANEVAL, limit=limit, task_ids=task_ids)
        return LoadedTask(name, found, choice_of(only_kind(found)))
    task = read_task(name)
    judge = choice_of_task(task)
    try:
        open_verifier(judge)
    except UsageError as error:
        raise UsageError(f"{task.file}: [judge] {error}") from None
    path = _data_path(task, problems)
    found = pick(task.problems(path), f"{task.name} ({path})", limit=limit, task_ids=task_ids)
    return LoadedTask(task.name, found, judge)


def task_document(chosen: ProblemSet) -> dict[str, Any]:
    """What the manifest says of a launch's task: its name, and the file of its data with a digest.

    The digest tells data that were fetched at a branch from later ones.
    """
    task = None if chosen.task == HUMANEVAL else read_task(chosen.task)
    if task is not None:
        path = _data_path(task, chosen.problems)
    elif chosen.problems in ("", HUMANEVAL):
        path = humaneval_path()
    else:
        path = Path(chosen.problems)
    document: dict[str, Any] = {"name": task.name if task else HUMANEVAL}
    if path.is_file():
        document |= {"data": path.name, "sha256": file_digest(path)}
    if task and task.hub and not (chosen.problems or task.data):
        document |= {"hub": f"{task.hub.repository}, {task.hub.revision}"}
    return document


def _data_path(task: Task, problems: str) -> Path:
    """The user's file, else the task's own, else the one on the hub."""
    if problems:
        path = Path(problems)
        if not path.is_file():
            raise UsageError(
                f"--problems {problems}: no such file; give {task.name}'s data as published"
            )
        return path
    if task.data is not None:
        if not task.data.is_file():
            raise UsageError(f"{task.file}: problems: {task.data}: no such file")
        return task.data
    if task.hub is None:
        raise UsageError(f"--task {task.name}: name the file of its problems with --problems FILE")
    hub = task.hub
    return fetch_data(hub.repository, hub.file, hub.revision, hub.sha256)
