"""What a report is made of, whatever it is rendered to.

Texts are a small part of Markdown: *emphasis*, `code`, [a link](its address), and k^b for a power.
What comes from a run (names of problems, of models, of exceptions) goes through `plain` first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or more; `warning` sets it off."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of parallel facts."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines shown as they are."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of results/figures, by its name without suffix."""

    name: str
    caption: str


Block = Heading | Paragraph | Bullets | Table | Code | Picture


def plain(text: str) -> str:
    """A text in which nothing is markup: `a*b` shows its star."""
    return re.sub(r"([\\`*\[\]^|<])", r"\\\1", " ".join(text.split()))


def percent(value: float) -> str:
    """A share, such as `90.5 %`."""
    return f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Four digits; a dash for None."""
    return "-" if value is None else f"{value:.4g}"


def span(low: float, high: float) -> str:
    """The two ends of an interval."""
    return f"{number(low)} to {number(high)}"
