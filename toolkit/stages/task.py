"""Opens a task: its problems, and how it judges them."""

from pathlib import Path
from typing import NamedTuple

from toolkit.errors import UsageError
from toolkit.problems.humaneval import HUMANEVAL
from toolkit.problems.humaneval_plus import HUMANEVAL_PLUS, read_humaneval_plus
from toolkit.problems.load import load_problems
from toolkit.problems.mbpp import MBPP, MBPP_PLUS, read_mbpp
from toolkit.records import JudgeChoice, Problem
from toolkit.verifiers.base import only_kind
from toolkit.verifiers.judges import choice_of

READERS = {HUMANEVAL_PLUS: read_humaneval_plus, MBPP: read_mbpp, MBPP_PLUS: read_mbpp}


class LoadedTask(NamedTuple):
    """A task's name, its problems in their order, and how it judges them unless the user says."""

    name: str
    problems: list[Problem]
    judge: JudgeChoice


def load_task(name: str = HUMANEVAL, problems: str = "") -> LoadedTask:
    """The task of this name. problems: the file of its data, as published.

    Raises `UsageError` for a task, a file or a row that cannot be used.
    """
    if name == HUMANEVAL:
        found = load_problems(problems or HUMANEVAL)
        return LoadedTask(name, found, choice_of(only_kind(found)))
    if name not in READERS:
        raise UsageError(f"--task {name}: no such task; valid: {', '.join((HUMANEVAL, *READERS))}")
    if not problems:
        raise UsageError(f"--task {name}: name the file of its problems with --problems FILE")
    if not Path(problems).is_file():
        raise UsageError(f"--problems {problems}: no such file; give {name}'s data as published")
    found = READERS[name](Path(problems))
    return LoadedTask(name, found, choice_of(only_kind(found)))
