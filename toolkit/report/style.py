"""How every figure looks: colours, lines, axes, legends, and the three files that it is saved to.

Readable in greyscale and by the colour-blind: series differ in line style, marker and lightness,
bands in hatch. Legends stand below the axes, so that they never cover data.
"""

import functools
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from toolkit.files import replace_file
from toolkit.stats.arrays import Floats

INK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#767676"
"""From the palette of Okabe and Ito, told apart in all common kinds of colour blindness."""
PALE = "#BBBBBB"
"""For bars that carry a hatch."""

DPI = 150
"""Dots an inch of a PNG."""

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": DPI,
    "svg.hashsalt": "inference-scaling",  # the same input gives the same file
    "pdf.fonttype": 3,
}
PAPER: Any = {**STYLE, "pdf.fonttype": 42}
"""As `STYLE`. Fonts are embedded in PDF either way. Some journals want TrueType; that takes three
times as long.
"""
SUFFIXES = (".svg", ".png", ".pdf")
"""Of the files that a figure is saved to: for the report, for a page, for a paper."""
STYLE_KEY = "Inference-Scaling-Style"
"""Under it a PNG says which code has drawn it (`drawing_digest`)."""
DRAWING = ("style.py", "coverage_figures.py", "figures.py")
"""The files that draw the figures of a report."""
APART = 1.035
"""The factor of k from one series to the next, so that their intervals stand side by side."""
MANY_DECADES = 2.0
"""On a longer logarithmic axis only the decades have numbers."""


def new_figure(x: str, y: str, size: tuple[float, float] = (6.4, 4.4)) -> tuple[Figure, Axes]:
    """A figure of one panel, `size` in inches, with names for its axes."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def legend_below(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """A legend of the series of `axes`, under everything else of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


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
    axes.set_xticks(k, [f"{each:,g}" for each in k])
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_k_axis(axes: Axes) -> None:
    """A logarithmic axis of k up to any k: 1, 10, 100, 1,000; on a short one also 2 and 5."""
    axes.set_xscale("log")
    _few_numbers(axes.xaxis, axes.get_xlim(), lambda value, _: f"{value:,g}")


def log_percent_axis(axes: Axes) -> None:
    """A logarithmic vertical axis of shares: 100 %, 10 %, 1 %; on a short one also 2 and 5."""
    axes.set_yscale("log")
    _few_numbers(axes.yaxis, axes.get_ylim(), lambda value, _: f"{100 * value:.6g} %")


def log_amount_axis(axes: Axes) -> None:
    """A logarithmic horizontal axis of any amount, in short: 500, 2k, 1M."""
    axes.set_xscale("log")
    in_words = EngFormatter(sep="")
    _few_numbers(axes.xaxis, axes.get_xlim(), lambda value, _: in_words(value))


def _few_numbers(axis: Any, limits: tuple[float, float], in_words: Any) -> None:
    """Numbers on a logarithmic axis, far enough apart at any length."""
    decades = abs(np.log10(limits[1] / limits[0]))
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < MANY_DECADES else (1,)))
    axis.set_major_formatter(FuncFormatter(in_words))
    axis.set_minor_formatter(NullFormatter())


def error_bars(
    axes: Axes, x: Sequence[float], ends: tuple[Floats, Floats], color: str, label: str | None
) -> None:
    """Thin intervals with caps, which stay apart from a band behind them also in grey."""
    low, high = ends
    middle = (low + high) / 2
    look: dict[str, Any] = {"ecolor": color, "elinewidth": 1.1, "capsize": 3, "zorder": 4}
    # Lists: of arrays with one value each, matplotlib asks NumPy for what that warns of.
    beside = [(middle - low).tolist(), (high - middle).tolist()]
    axes.errorbar(x, middle, yerr=beside, fmt="none", label=label, **look)


def save(figure: Figure, path: Path) -> None:
    """Write `path` with .svg, .png and .pdf. Raises `WriteFailure`."""
    # Where everything stands is computed once, not for each file.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # Not by savefig, which draws each figure twice to find its size.
    writers: dict[str, tuple[Any, dict[str, Any]]] = {
        ".svg": (FigureCanvasSVG(figure).print_svg, {"Date": None}),
        ".png": (
            FigureCanvasAgg(figure).print_png,
            {"Software": None, STYLE_KEY: drawing_digest()},
        ),
        ".pdf": (FigureCanvasPdf(figure).print_pdf, {"CreationDate": None}),
    }
    for suffix in SUFFIXES:
        # Drawn in memory: the library that writes PNG does not say why a write has failed.
        write, facts = writers[suffix]
        drawn = io.BytesIO()
        figure.set_dpi(DPI)  # SVG and PDF leave another one
        write(drawn, metadata=facts)
        replace_file(path.with_name(path.name + suffix), drawn.getvalue())


@functools.cache
def drawing_digest() -> str:
    """A digest of the code that draws a report's figures; comments do not change it."""
    here = Path(__file__).parent
    lines = (line.strip() for name in DRAWING for line in (here / name).read_text().splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:16]
