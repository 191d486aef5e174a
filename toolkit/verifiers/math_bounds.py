"""Which formulas are small enough to be evaluated.

sympy may take any time and memory over a short text: 9^{9^{9^9}}, (10^7)!, a sum of 10^9 terms. The
sandbox ends what takes too long; this finds the usual cases at once, from the text alone.
"""

import math
import re
from typing import Final

MAX_CHARACTERS: Final = 20_000
_MAX_DEPTH: Final = 60
"""Of braces and brackets."""
_MAX_DIGITS: Final = 1_000
"""Of a number that is written out."""
_MAX_EXPONENT: Final = 100_000
_MAX_POWER_DIGITS: Final = 50_000
_MAX_FACTORIAL: Final = 2_000
_MAX_BINOMIAL: Final = 10_000
_MAX_FOLDS: Final = 20
_LARGE: Final = "9999999"
"""Stands for a larger number when powers of powers are computed; too large for an exponent."""

_DIGITS = re.compile(r"[0-9](?:[0-9]|,(?=[0-9]))*")
_POWER = re.compile(r"([0-9]{1,1000})\s{0,9}\^\s{0,9}(?:\{\s{0,9}([0-9]{1,1000})\s{0,9}\}|([0-9]))")
_EXPONENT = re.compile(r"\^\s{0,9}\{?\s{0,9}[-+]?\s{0,9}([0-9]{1,1000})")
_FACTORIAL = re.compile(r"([0-9]{1,1000})[\s)}]{0,9}!")
_BINOMIAL = re.compile(
    r"\\[dt]?binom\s{0,9}\{\s{0,9}([0-9]{1,1000})|([0-9]{1,1000})\s{0,9}\\choose"
)


def why_too_large(text: str) -> str:
    """What makes a formula too large to be evaluated, "" if nothing does. Time is bounded."""
    if len(text) > MAX_CHARACTERS:
        return f"it has over {MAX_CHARACTERS:,} characters"
    if _depth(text) > _MAX_DEPTH:
        return f"its brackets are over {_MAX_DEPTH} deep"
    numbers = [number.replace(",", "") for number in _DIGITS.findall(text)]
    if any(len(number) > _MAX_DIGITS for number in numbers):
        return f"a number has over {_MAX_DIGITS:,} digits"
    text = text.replace("{,}", "").replace("\\,", "").replace(",", "")
    for _ in range(_MAX_FOLDS):
        folded = _POWER.sub(_value, text)
        if folded == text:
            break
        text = folded
    for found, most, what in (
        (_EXPONENT, _MAX_EXPONENT, "an exponent or a limit"),
        (_FACTORIAL, _MAX_FACTORIAL, "a factorial"),
        (_BINOMIAL, _MAX_BINOMIAL, "a binomial coefficient"),
    ):
        if any(int(next(filter(None, m.groups()))) > most for m in found.finditer(text)):
            return f"{what} is over {most:,}"
    return ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth = max(0, depth - 1)
    return deepest


def _value(power: re.Match[str]) -> str:
    """The value of a power of two numbers, or what stands for a large one.

    Where it cannot be evaluated, it becomes an exponent that is too large.
    """
    base, exponent = int(power[1]), int(power[2] or power[3])
    if base < 2 or exponent < 1:
        return "0" if base == 0 and exponent else "1"
    digits = exponent * math.log10(base)
    if exponent > _MAX_EXPONENT or digits > _MAX_POWER_DIGITS:
        return f"x^{{{_LARGE}}}"
    return _LARGE if digits >= len(_LARGE) - 1 else str(base**exponent)
