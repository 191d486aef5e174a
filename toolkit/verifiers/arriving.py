"""Answers that come while others are judged."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from toolkit.records import Answer, Problem


@runtime_checkable
class Arriving(Protocol):
    """Pairs for a `Judging`: an iterator that had ended may have more again."""

    def __iter__(self) -> Iterator[tuple[Problem, Answer]]: ...

    def __next__(self) -> tuple[Problem, Answer]: ...

    def fileno(self) -> int:
        """A descriptor that can be read when there is more."""
