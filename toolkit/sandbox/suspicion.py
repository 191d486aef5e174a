"""Why a passing program is in doubt: it reaches beyond its own values, or games the tests."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Final

REASONS: Final[tuple[str, ...]] = (
    "frames",
    "gc",
    "trace",
    "native",
    "processes",
    "code",
    "reports",
)


def mask_of(reasons: Iterable[str]) -> int:
    """The reasons as a mask: bit i is REASONS[i]."""
    return sum(1 << REASONS.index(reason) for reason in set(reasons))


def reasons_of(mask: int) -> tuple[str, ...]:
    """The reasons in a mask, in the order of REASONS."""
    return tuple(reason for i, reason in enumerate(REASONS) if mask >> i & 1)


def names_are_plain(code: CodeType) -> bool:
    """Whether a text that a program evaluates uses no name that reaches beyond its values."""
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return not any("__" in name for name in code.co_names) and all(map(names_are_plain, nested))


@dataclass(frozen=True, slots=True)
class Given:
    """What a problem gives to its programs."""


def given_of(ending: str, prompt: str) -> Given:
    """What this ending and this prompt give."""
    return Given()


def suspicions(program: str, ending: str, given: Given) -> frozenset[str]:
    """Why a program that passed is in doubt. Never raises."""
    return frozenset()
