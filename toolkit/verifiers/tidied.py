"""Short answers in fewer ways to write them, so that equal answers are one text more often."""

import re
from typing import Final

from toolkit.verifiers.answers import NUMBER

TIDY_VERSION: Final = 1
"""Raised with every change of `tidy`. Answers are then extracted again."""
_MAX_DIGITS = 1000
"""Of an answer. A longer number is none."""
_MAX_TIDIED: Final = 20_000
_MARKED = re.compile(r"\$|\\\(|\\\[|\\boxed|\\fbox")
_WORDS = re.compile(r"\\(?:text|mbox|mathrm|begin|operatorname)")
_AROUND_SIGNS = re.compile(r"(?:(?<!\\)\s+)?([-+=<>^_{}()])\s*")


def number_in(text: str) -> str | None:
    """The first number after the last equals sign, in the one way to write it; None without one.

    `$1,234.50` is 1234.5, `x = 5 apples` is 5, `-0` is 0.
    """
    found = NUMBER.search(text.rpartition("=")[2].replace("\\!", "").replace("\\,", ""))
    if not found or len(found["digits"]) > _MAX_DIGITS:
        return None
    digits = found["digits"].replace("{,}", "").replace(",", "")
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    number = (whole.lstrip("0") or "0") + ("." if fraction else "") + fraction
    negative = any(sign in (found["sign"] or "") for sign in "-−")
    return f"-{number}" if negative and number != "0" else number


def tidy(text: str) -> str:
    r"""An answer in fewer ways to write it, so that equal answers are one text more often.

    Only what math-verify reads the same: blanks around signs, \dfrac, \!, a final dot. A text with
    words, or with formulas between delimiters, keeps its blanks.
    """
    text = " ".join(text.split())
    if len(text) > _MAX_TIDIED or _MARKED.search(text):
        return text
    text = text.removesuffix(".").rstrip().replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = text.replace("\\!", "").replace("\\displaystyle", "").strip()
    return text if _WORDS.search(text) else _AROUND_SIGNS.sub(r"\1", text)
