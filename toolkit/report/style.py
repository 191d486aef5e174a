"""How every figure looks: colours, lines, axes, and the two files that it is saved to.

Readable in greyscale and by the colour-blind: series differ in line style, marker and lightness.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, NullFormatter, PercentFormatter

from toolkit.files import replace_file

INK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#767676"
"""From the palette of Okabe and Ito, told apart in all common kinds of colour blindness."""
PALE = "#BBBBBB"
"""For bars that carry a hatch."""

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "inference-scaling",  # the same input gives the same file
}


def new_figure(x: str, y: str, size: tuple[float, float] = (6.4, 4.0)) -> tuple[Figure, Axes]:
    """A figure of one panel, `size` in inches, with names for its axes."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def series_styles() -> list[dict[str, Any]]:
    """Arguments of `plot`, one set for each series of a figure."""
    colors, markers = (BLUE, ORANGE, GREEN, INK, GREY), "os^Dv"
    lines = ("-", "--", "-.", ":", "-")
    return [
        {"color": c, "marker": m, "linestyle": s, "markersize": 4}
        for c, m, s in zip(colors, markers, lines, strict=True)
    ]


def k_axis(axes: Axes, k: Sequence[int]) -> None:
    """A logarithmic horizontal axis with a number at each k, as whole numbers."""
    axes.set_xscale("log")
    axes.set_xticks(k, [f"{each:g}" for each in k])
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_log(axes: Axes) -> None:
    """Both axes logarithmic, with numbers on the vertical one whatever its range."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatterSciNotation())
    low, high = axes.get_ylim()
    if high / low < 100:  # decades alone would leave the axis without numbers
        axes.yaxis.set_minor_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.tick_params(axis="y", which="minor", labelsize=7)


def save(figure: Figure, path: Path) -> None:
    """Write `path` with .svg and .png. Raises `WriteFailure`."""
    for suffix in (".svg", ".png"):
        facts = {"Date": None} if suffix == ".svg" else {"Software": None}
        # Drawn in memory: the library that writes PNG does not say why a write has failed.
        drawn = io.BytesIO()
        figure.savefig(drawn, format=suffix[1:], metadata=facts)
        replace_file(path.with_name(path.name + suffix), drawn.getvalue())
