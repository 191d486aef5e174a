"""Answers that are Python programs, decided by the problem's unit tests."""

from collections.abc import Iterable

from toolkit.records import Problem


def endings(problems: Iterable[Problem]) -> dict[str, str]:
    """task_id -> what is executed after a program: the tests, and the call of `check`."""
    return {p.task_id: f"\n{p.test}\ncheck({p.entry_point})" for p in problems}
