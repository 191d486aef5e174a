"""Errands and their results, as the supervisor gives and gets them."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Literal

from toolkit.records import FailureKind

End = Literal["done", "failed", "timed_out", "error"]
"""error: the errand could not be done, which is our fault."""
_WALL_SHARE: Final = 8
"""So many times its timeout an errand may take by the wall clock, on a crowded machine."""


def wall_limit(timeout: float, least: float) -> float:
    """The limit of an errand's wall time, in seconds. least: it is never under this."""
    return max(least, _WALL_SHARE * timeout)


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing to do in a child of its own.

    key: comes back with the result. payload: what the function is called with. timeout: in seconds
    of the child's own clock, CPU time and time asleep. stdin: what the child reads from its
    descriptor 0.

    more: whether another errand may follow upon its result that its child can do as well. The child
    then waits a moment for it. follows: whether this is such an errand. It saves a process. What it
    leaves to chance is which process does the errand, so nothing that `follows` is to depend on it.
    """

    key: Hashable
    payload: bytes
    timeout: float
    stdin: bytes = b""
    more: bool = False
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an errand.

    kind, detail: why it failed; "" if it is done. output: what the function returned, after what
    its child has written to descriptor 1 before. seconds: the child's own clock at its end.
    """

    key: Hashable
    end: End
    kind: FailureKind
    detail: str
    output: bytes
    seconds: float
