"""The figures of analysis/: several runs side by side, and what is no part of a report."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FormatStrFormatter,
    LogLocator,
    NullFormatter,
    PercentFormatter,
)

from toolkit.cli import how_many
from toolkit.report.groups import GroupCurve
from toolkit.report.style import (
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    k_axis,
    legend_below,
    log_amount_axis,
    log_k_axis,
    log_percent_axis,
    new_figure,
    save,
    series_styles,
)
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.frontier import Frontier
from toolkit.stats.passk import k_grid
from toolkit.stats.selectors import Selected


def draw_curves(curves: Mapping[str, pl.DataFrame], path: Path) -> None:
    """Several runs' fail@k on log-log axes; `curves`: label -> k, fail_at_k, lo, hi."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure("tries per problem k", "fail@k")
        styles = itertools.cycle(series_styles())
        for (label, frame), style in zip(curves.items(), styles, strict=False):
            shown = frame.filter(pl.col("fail_at_k") > 0).drop_nulls("lo")
            color = style["color"]
            axes.fill_between(shown["k"], shown["lo"], shown["hi"], alpha=0.15, color=color)
            axes.plot(shown["k"], shown["fail_at_k"], label=label, **style)
        log_k_axis(axes)
        log_percent_axis(axes)
        legend_below(figure, axes, columns=2)
        save(figure, path)


Curve = tuple[Ints, Floats, Floats, Floats]
"""pass@k of a run: k, the estimates, and the ends of their intervals."""
MOST_BANDS = 6
"""Of more curves in a panel, bands would hide one another."""
MOST_NAMED = 30
"""Of more curves in a panel, their names would leave it no room."""


def draw_study(panels: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """pass@k of many runs, a panel for each task; title -> label -> curve."""
    with mpl.rc_context(STYLE):
        figure, found = _panels(len(panels), "tries per problem k", "pass@k")
        for (title, curves), axes in zip(panels.items(), found, strict=True):
            styles = _many_styles(len(curves))
            for (label, (k, passed, low, high)), style in zip(curves.items(), styles, strict=True):
                if len(curves) <= MOST_BANDS:
                    axes.fill_between(k, low, high, color=style["color"], alpha=0.12, lw=0)
                axes.plot(k, passed, label=label, markevery=_grid_places(k), **style)
            longest = max((k for k, *_ in curves.values()), key=len)
            k_axis(axes, longest[_grid_places(longest)].tolist())
            _finish_panel(axes, title, len(curves))
        save(figure, path)


def draw_frontiers(panels: Mapping[str, Mapping[str, Sequence[Frontier]]], path: Path) -> None:
    """Coverage against dollars, a panel for each task; title -> label -> a run's frontiers.

    The first one of a run is a solid line, and the second one a dotted one.
    """
    with mpl.rc_context(STYLE):
        figure, found = _panels(len(panels), "US dollars for all problems", "pass@k (coverage)")
        for (title, runs), axes in zip(panels.items(), found, strict=True):
            styles = _many_styles(len(runs))
            for (label, both), style in zip(runs.items(), styles, strict=True):
                for each, line in zip(both, ("-", ":"), strict=False):
                    name = f"{label}, {each.policy}" if len(runs) <= MOST_BANDS else None
                    look = style | {"linestyle": line, "lw": 1.5, "markevery": _grid_places(each.k)}
                    name = name or (label if line == "-" else "_")
                    axes.plot(each.cost, each.coverage, label=name, **look)
            axes.set_xscale("log")
            _dollar_axis(axes)
            _finish_panel(axes, title, len(runs))
        save(figure, path)


def _many_styles(count: int) -> list[dict[str, Any]]:
    """As `series_styles`; of more than it has, each with a lightness of its own."""
    known = series_styles()
    if count <= len(known):
        return known[:count]
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.93, count))
    styles = zip(itertools.cycle(known), colors, strict=False)
    return [style | {"color": tuple(color)} for style, color in styles]


def _grid_places(k: Ints) -> list[int]:
    """Where the k of a fine grid are those that get a mark."""
    return [i for i, each in enumerate(k.tolist()) if each in k_grid(int(k[-1]))]


def _dollar_axis(axes: Axes) -> None:
    """Numbers at 1, 2 and 5 of each decade, or at the decades alone where there are many."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)


def _panels(count: int, x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with up to three panels in a row."""
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(6.4, 5.0 * columns), 4.4 * rows), layout="constrained")
    found = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in found[count:]:
        axes.set_visible(False)
    for axes in found[:count]:
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return figure, found[:count]


def _share_axis(axes: Axes) -> None:
    """From 0 % to 100 %, with whole markers at both ends."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _finish_panel(axes: Axes, title: str, curves: int) -> None:
    axes.set_title(title if curves <= MOST_NAMED else f"{title}, {curves} runs", fontsize=10)
    _share_axis(axes)
    if curves <= MOST_NAMED:  # below, where no curve is
        size, columns = (7, 2) if curves <= MOST_BANDS else (6, 3 if curves > 3 * MOST_BANDS else 2)
        axes.legend(fontsize=size, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def draw_groups(groups: Sequence[GroupCurve], path: Path) -> None:
    """pass@k of groups of problems, with bands."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure("tries per problem k", "pass@k")
        for each, style in zip(groups, itertools.cycle(series_styles()), strict=False):
            axes.fill_between(each.k, each.lo, each.hi, color=style["color"], alpha=0.12, lw=0)
            label = f"{each.label} ({how_many(each.problems, 'problem')})"
            axes.plot(each.k, each.passed, label=label, **style)
        k_axis(axes, max((each.k.tolist() for each in groups), key=len))
        _share_axis(axes)
        legend_below(figure, axes, columns=2)
        save(figure, path)


def draw_over(runs: Mapping[float, GroupCurve], name: str, path: Path) -> None:
    """pass@k against a setting of sampling, a line for each k that all runs have."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(name.replace("_", " "), "pass@k")
        shared = set.intersection(*(set(each.k.tolist()) for each in runs.values()))
        shown = sorted(shared)[:: max(1, -(-len(shared) // 5))]
        for k, style in zip(shown, series_styles(), strict=False):
            at = [(each, each.k.tolist().index(k)) for each in runs.values()]
            low, high = [each.lo[i] for each, i in at], [each.hi[i] for each, i in at]
            axes.fill_between(list(runs), low, high, color=style["color"], alpha=0.12, lw=0)
            axes.plot(list(runs), [each.passed[i] for each, i in at], label=f"k = {k}", **style)
        _share_axis(axes)
        legend_below(figure, axes, columns=2)
        save(figure, path)


def draw_scatter(
    x: Sequence[float], y: Sequence[float], labels: tuple[str, str], path: Path
) -> None:
    """Problem by problem: the pass rate of one run against another's."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(*labels)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        save(figure, path)


def draw_coverage(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], usd_per_token: float, path: Path
) -> None:
    """pass@k of several runs against output tokens, and dollars above; label -> tokens, pass@k."""
    with mpl.rc_context(STYLE):
        tokens_name = "output tokens of k samples of every problem"
        figure, axes = new_figure(tokens_name, "pass@k (coverage)")
        styles = itertools.cycle(series_styles())
        for (label, (tokens, passed)), style in zip(curves.items(), styles, strict=False):
            axes.plot(tokens, passed, label=label, **style)
        log_amount_axis(axes)
        _share_axis(axes)
        legend_below(figure, axes, columns=2)
        dollars = axes.secondary_xaxis(
            "top",
            functions=(
                lambda tokens: np.asarray(tokens, dtype=float) * usd_per_token,
                lambda usd: np.asarray(usd, dtype=float) / usd_per_token,
            ),
        )
        dollars.set_xlabel("US dollars")
        low, high = (end * usd_per_token for end in axes.get_xlim())
        dollars.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
        dollars.xaxis.set_major_formatter(FormatStrFormatter("%.3g"))
        dollars.xaxis.set_minor_formatter(NullFormatter())
        dollars.tick_params(axis="x", labelsize=8)
        save(figure, path)


def draw_frontier(runs: Mapping[str, Sequence[Frontier]], path: Path) -> None:
    """Coverage against dollars; label -> a run's frontiers, the first one with a band."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure("US dollars for all problems", "pass@k (coverage)")
        styles = itertools.cycle(series_styles())
        for (label, found), style in zip(runs.items(), styles, strict=False):
            for each, line in zip(found, ("-", ":"), strict=False):
                look = style | {"linestyle": line, "lw": 1.5, "markevery": _grid_places(each.k)}
                axes.plot(each.cost, each.coverage, label=f"{label}, {each.policy}", **look)
            first = found[0]
            axes.fill_between(
                first.cost, first.lo, first.hi, color=style["color"], alpha=0.15, lw=0
            )
        axes.set_xscale("log")
        _dollar_axis(axes)
        _share_axis(axes)
        legend_below(figure, axes, columns=2)
        save(figure, path)


def draw_differences(k: Ints, pairs: Mapping[str, tuple[Floats, ...]], path: Path) -> None:
    """Differences of pass@k with simultaneous intervals; `pairs`: label -> mean, lo, hi."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure("tries per problem k", "difference of pass@k")
        axes.axhline(0, color=GREY, lw=1, ls=":")
        styles = itertools.cycle(series_styles())
        for (label, (mean, low, high)), style in zip(pairs.items(), styles, strict=False):
            axes.fill_between(k, low, high, color=style["color"], alpha=0.15, lw=0)
            axes.plot(k, mean, label=f"{label}, with 95 % for all k at once", **style)
        k_axis(axes, k.tolist())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend_below(figure, axes, columns=2)
        save(figure, path)


def draw_selection(curves: Mapping[str, Mapping[int, Selected]], path: Path) -> None:
    """What each selector gets of k samples; label -> k -> value. The first one is the oracle."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure("samples per problem k", "share of the problems answered right")
        for (label, by_k), style in zip(curves.items(), series_styles(), strict=False):
            k, points = list(by_k), list(by_k.values())
            low, high = [p.lo for p in points], [p.hi for p in points]
            axes.fill_between(k, low, high, color=style["color"], alpha=0.13, lw=0)
            axes.plot(k, [p.right for p in points], label=label, **style)
        k_axis(axes, list(next(iter(curves.values()))))
        lowest = min(p.lo for by_k in curves.values() for p in by_k.values())
        axes.set_ylim(0 if lowest < 0.5 else 0.9 * lowest, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        legend_below(figure, axes, columns=2)
        save(figure, path)


def draw_feed(feed: pl.DataFrame, path: Path) -> None:
    """How busy the engines were against time, each task a line; `feed` as from `read_feed`.

    Panels: samples in flight as a share of max_num_seqs, output tokens/s, and, where it is known,
    the KV cache in use.
    """
    with mpl.rc_context(STYLE):
        panels = 3 if feed["kv_cache"].is_not_null().any() else 2
        figure = Figure(figsize=(6.4, 2.3 * panels), layout="constrained")
        above, below, *cache = figure.subplots(panels, 1, sharex=True)
        start = float(feed["time"].min() or 0.0)  # type: ignore[arg-type]
        tasks = feed.group_by("task", maintain_order=True)
        for (_, task), style in zip(tasks, itertools.cycle(series_styles()), strict=False):
            line = {"color": style["color"], "linestyle": style["linestyle"], "lw": 1}
            seconds = task["time"].to_numpy() - start
            above.plot(seconds, (task["in_flight"] / task["wanted"]).to_numpy(), **line)
            if len(seconds) > 1:
                rate = np.diff(task["tokens"].to_numpy().astype(float)) / np.diff(seconds)
                below.plot(seconds[1:], rate, **line)
            for axes in cache:
                axes.plot(seconds, task["kv_cache"].to_numpy(), **line)
        _name_panels(above, below, cache)
        save(figure, path)


def _name_panels(above: Axes, below: Axes, cache: Sequence[Axes]) -> None:
    above.axhline(0.9, color=GREY, lw=0.8, ls=":")
    above.set_ylim(0, None)
    above.set_ylabel("in flight / max_num_seqs")
    below.set_ylim(0, None)
    below.set_ylabel("tokens/s, counted\nwhen a sample ends")
    for axes in cache:
        axes.set_ylim(0, 1.05)
        axes.set_ylabel("KV cache in use")
    (cache or [below])[-1].set_xlabel("seconds since the first reading")


def draw_sizes(table: pl.DataFrame, chosen: int, path: Path) -> None:
    """Simulated arrays by slice size: wall time, lost work, files; `chosen` is marked.

    table: slice_samples, wall_s with wall_lo and wall_hi, lost_gpu_s, files.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        wall, lost, files = figure.subplots(3, 1, sharex=True)
        sizes, low, high = table["slice_samples"], table["wall_lo"], table["wall_hi"]
        wall.fill_between(sizes, low, high, color=BLUE, alpha=0.18, lw=0, label="middle 90 %")
        for axes, column, name in (
            (wall, "wall_s", "wall time, s"),
            (lost, "lost_gpu_s", "lost work, GPU s"),
            (files, "files", "files"),
        ):
            axes.plot(sizes, table[column], "o-", color=BLUE, ms=4)
            axes.axvline(chosen, color=ORANGE, lw=1, ls="--", label=f"{chosen} samples")
            axes.set_ylabel(name)
        legend_below(figure, wall)
        lost.set_ylim(0, None)
        files.set_yscale("log")
        files.set_xscale("log")
        files.set_xlabel("samples in a slice")
        save(figure, path)


def draw_bars(labels: Sequence[str], values: Sequence[float], name: str, path: Path) -> None:
    """One horizontal bar for each label; `name` is what the bars measure, with its unit."""
    with mpl.rc_context(STYLE):
        height = max(2.0, 0.6 + 0.16 * len(labels))
        figure, axes = new_figure(name, "", size=(6.4, height))
        axes.barh(range(len(labels)), values, color=BLUE, height=0.7)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        save(figure, path)
