"""The figures of a report, drawn from the document of fit.json; the only user of matplotlib.

Readable in greyscale and by the colour-blind: series differ in line style, marker and lightness.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, NullFormatter, PercentFormatter

from toolkit.files import replacing
from toolkit.stats.laws import BetaBinomial, ExpPower, LogLogLine

INK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#767676"
"""From the palette of Okabe and Ito, told apart in all common kinds of colour blindness."""
GPT4O_PASS_AT_1 = 0.902
"""Reported for GPT-4o on HumanEval: one try a problem."""

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


def draw_figures(document: Mapping[str, Any], counts: pl.DataFrame, folder: Path) -> None:
    """Write pass_at_k, fail_at_k, slope and difficulty, each as SVG and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = counts.filter(pl.col("n") > 0)
    with mpl.rc_context(STYLE):
        _save(_pass_figure(document), folder / "pass_at_k")
        _save(_fail_figure(document), folder / "fail_at_k")
        _save(_slope_figure(document), folder / "slope")
        _save(_difficulty_figure(judged), folder / "difficulty")


def draw_curves(curves: Mapping[str, pl.DataFrame], path: Path) -> None:
    """Several runs' fail@k on log-log axes; `curves`: label -> k, fail_at_k, lo, hi."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("tries per problem k", "fail@k")
        for (label, frame), look in zip(curves.items(), _looks(), strict=False):
            shown = frame.filter(pl.col("fail_at_k") > 0).drop_nulls("lo")
            axes.fill_between(shown["k"], shown["lo"], shown["hi"], alpha=0.15, color=look["color"])
            axes.plot(shown["k"], shown["fail_at_k"], label=label, **look)
        _log_log(axes)
        axes.legend()
        _save(figure, path)


def draw_scatter(
    x: Sequence[float], y: Sequence[float], labels: tuple[str, str], path: Path
) -> None:
    """Problem by problem: the pass rate of one run against another's."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(*labels)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        _save(figure, path)


def draw_coverage(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], usd_per_token: float, path: Path
) -> None:
    """pass@k of several runs against output tokens, and dollars above; label -> tokens, pass@k."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("output tokens of k samples of every problem", "pass@k (coverage)")
        for (label, (tokens, passed)), look in zip(curves.items(), _looks(), strict=False):
            axes.plot(tokens, passed, label=label, **look)
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(fontsize=8)
        dollars = axes.secondary_xaxis(
            "top",
            functions=(
                lambda tokens: np.asarray(tokens, dtype=float) * usd_per_token,
                lambda usd: np.asarray(usd, dtype=float) / usd_per_token,
            ),
        )
        dollars.set_xlabel("US dollars")
        _save(figure, path)


def draw_feed(feed: pl.DataFrame, path: Path) -> None:
    """Samples in flight as a share of max_num_seqs, output tokens/s, and where it is known the
    KV cache in use, against time; each task a line. `feed` as from `toolkit.runs.feed.read_feed`.
    """
    with mpl.rc_context(STYLE):
        panels = 3 if feed["kv_cache"].is_not_null().any() else 2
        figure = Figure(figsize=(6.4, 2.3 * panels), layout="constrained")
        above, below, *cache = figure.subplots(panels, 1, sharex=True)
        start = float(feed["time"].min() or 0.0)  # type: ignore[arg-type]
        for (_, task), look in zip(
            feed.group_by("task", maintain_order=True), itertools.cycle(_looks()), strict=False
        ):
            seconds = task["time"].to_numpy() - start
            share = (task["in_flight"] / task["wanted"]).to_numpy()
            above.plot(seconds, share, color=look["color"], linestyle=look["linestyle"], lw=1)
            if len(seconds) > 1:
                rate = np.diff(task["tokens"].to_numpy().astype(float)) / np.diff(seconds)
                below.plot(seconds[1:], rate, color=look["color"], linestyle=look["linestyle"],
                           lw=1)  # fmt: skip
            for axes in cache:
                used = task["kv_cache"].to_numpy()
                axes.plot(seconds, used, color=look["color"], linestyle=look["linestyle"], lw=1)
        above.axhline(0.9, color=GREY, lw=0.8, ls=":")
        above.set_ylim(0, None)
        above.set_ylabel("in flight / max_num_seqs")
        below.set_ylim(0, None)
        below.set_ylabel("tokens/s, counted\nwhen a sample ends")
        for axes in cache:
            axes.set_ylim(0, 1.05)
            axes.set_ylabel("KV cache in use")
        (cache or [below])[-1].set_xlabel("seconds since the first reading")
        _save(figure, path)


def draw_sizes(table: pl.DataFrame, chosen: int, path: Path) -> None:
    """Simulated arrays by slice size: wall time, lost work, files; `chosen` is marked.

    table: slice_samples, wall_s with wall_lo and wall_hi, lost_gpu_s, files.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        wall, lost, files = figure.subplots(3, 1, sharex=True)
        sizes = table["slice_samples"]
        wall.fill_between(sizes, table["wall_lo"], table["wall_hi"], color=BLUE, alpha=0.18, lw=0,
                          label="middle 90 %")  # fmt: skip
        for axes, column, name in (
            (wall, "wall_s", "wall time, s"),
            (lost, "lost_gpu_s", "lost work, GPU s"),
            (files, "files", "files"),
        ):
            axes.plot(sizes, table[column], "o-", color=BLUE, ms=4)
            axes.axvline(chosen, color=ORANGE, lw=1, ls="--", label=f"{chosen} samples")
            axes.set_ylabel(name)
        wall.legend(fontsize=8)
        lost.set_ylim(0, None)
        files.set_yscale("log")
        files.set_xscale("log")
        files.set_xlabel("samples in a slice")
        _save(figure, path)


def draw_bars(labels: Sequence[str], values: Sequence[float], name: str, path: Path) -> None:
    """One horizontal bar for each label; `name` is what the bars measure, with its unit."""
    with mpl.rc_context(STYLE):
        height = max(2.0, 0.6 + 0.16 * len(labels))
        figure, axes = _axes(name, "", size=(6.4, height))
        axes.barh(range(len(labels)), values, color=BLUE, height=0.7)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        _save(figure, path)


def _pass_figure(document: Mapping[str, Any]) -> Figure:
    figure, axes = _axes("tries per problem k", "pass@k (coverage)")
    axes.set_title(document["title"], fontsize=10)
    k, low, high = _band(document)
    axes.fill_between(k, 1 - high, 1 - low, color=BLUE, alpha=0.18, label="95 %, such problems")
    values = document["pass_at_k"]
    axes.plot([int(j) for j in values], list(values.values()), "o-", color=BLUE, ms=4,
              label="unbiased pass@k")  # fmt: skip
    model = _model(document, "beta_binomial_map")
    if model:
        ks = _grid(document)
        inside, beyond = ks[ks <= document["k_max"]], ks[ks >= document["k_max"]]
        axes.plot(inside, 1 - model.fail_at_k(inside), color=INK, lw=1, label="beta-binomial (MAP)")
        axes.plot(beyond, 1 - model.fail_at_k(beyond), color=INK, lw=1, ls="--",
                  label="extrapolated")  # fmt: skip
        ahead = {int(j): f for j, f in document["forecast"].items() if int(j) >= document["k_max"]}
        axes.fill_between(list(ahead), [1 - f["hi"] for f in ahead.values()],
                          [1 - f["lo"] for f in ahead.values()], color=GREY, alpha=0.2, lw=0,
                          hatch="///", label="forecast, 95 %")  # fmt: skip
    _gpt4o(document, axes, GPT4O_PASS_AT_1)
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="best", fontsize=8)
    return figure


def _fail_figure(document: Mapping[str, Any]) -> Figure:
    figure, axes = _axes("tries per problem k", "fail@k = 1 - pass@k", size=(6.4, 4.6))
    axes.set_title(document["title"], fontsize=10)
    k, low, high = _band(document)
    seen = np.array([document["fail_at_k"][str(j)] for j in k])
    axes.fill_between(k, np.maximum(low, 1e-9), high, color=BLUE, alpha=0.18,
                      label="95 %, such problems")  # fmt: skip
    axes.plot(k[seen > 0], seen[seen > 0], "o", color=BLUE, ms=5, label="unbiased fail@k", zorder=5)
    _draw_fits(document, axes)
    _draw_bracket(document, axes)
    _gpt4o(document, axes, 1 - GPT4O_PASS_AT_1)
    _log_log(axes)
    positive = seen[seen > 0]
    floor = float(positive.min()) if positive.size else 0.1
    lowest = min((f["estimate"] for f in document["forecast"].values()), default=floor)
    axes.set_ylim(max(0.4 * min(floor, lowest), 1e-5), 1.15)
    axes.legend(loc="lower left", fontsize=8)
    return figure


def _draw_fits(document: Mapping[str, Any], axes: Axes) -> None:
    ks, top = _grid(document), document["k_max"]
    drawn = (
        ("log_log_line", "straight line, as in the blog", ORANGE, "x"),
        ("exp_power", "exp(a k^b)", GREEN, "^"),
        ("beta_binomial_map", "beta-binomial (MAP)", INK, ""),
    )
    for name, label, color, marker in drawn:
        model = _model(document, name)
        if model:
            for part, style in ((ks[ks <= top], "-"), (ks[ks >= top], "--")):
                values = model.fail_at_k(part)
                axes.plot(part, np.where(values > 0, values, np.nan), color=color, lw=1.2,
                          ls=style, marker=marker, ms=4.5, markevery=(6, 13),
                          label=label if style == "-" else None)  # fmt: skip
    beyond = {int(k): f for k, f in document["forecast"].items() if int(k) >= top}
    axes.fill_between(list(beyond), [max(f["lo"], 1e-9) for f in beyond.values()],
                      [max(f["hi"], 1e-9) for f in beyond.values()], color=GREY, alpha=0.2, lw=0,
                      hatch="///", label="forecast, 95 %")  # fmt: skip
    axes.axvline(top, color=GREY, lw=0.8, ls=":")


def _draw_bracket(document: Mapping[str, Any], axes: Axes) -> None:
    bracket = {int(k): b for k, b in document["bracket"].items()}
    if not bracket:
        return
    top = document["k_max"]
    bracket = {top: dict.fromkeys(("lower", "upper"), document["fail_at_k"][str(top)])} | bracket
    ends = [b["upper"] for b in bracket.values()], [max(b["lower"], 1e-9) for b in bracket.values()]
    for values, label in zip(ends, ("model-free bracket", None), strict=True):
        if max(values) > 0:
            axes.plot(list(bracket), values, color=GREY, lw=0.9, ls="-.", label=label)


def _slope_figure(document: Mapping[str, Any]) -> Figure:
    figure, axes = _axes("tries per problem k", "local slope d log fail@k / d log k", (6.4, 3.4))
    for i, slope in enumerate(document["slopes"]):
        middle = float(np.sqrt(slope["from"] * slope["to"]))
        axes.fill_between([slope["from"], slope["to"]], slope["lo"], slope["hi"], color=BLUE,
                          alpha=0.18, lw=0, label=None if i else "95 %")  # fmt: skip
        axes.plot([slope["from"], slope["to"]], [slope["estimate"]] * 2, color=BLUE, lw=2,
                  label=None if i else "a decade of k")  # fmt: skip
        axes.annotate(f"{slope['estimate']:.3f}", (middle, slope["estimate"]), ha="center",
                      va="bottom", fontsize=8)  # fmt: skip
    model = _model(document, "beta_binomial_map")
    if model:
        ks = np.geomspace(1, 10 * document["k_max"], 60)
        step = 1.01
        local = np.log(model.fail_at_k(ks * step) / model.fail_at_k(ks)) / np.log(step)
        axes.plot(ks, local, color=INK, lw=1, ls="--", label="beta-binomial (MAP)")
    axes.set_xscale("log")
    axes.legend(fontsize=8)
    return figure


def _difficulty_figure(judged: pl.DataFrame) -> Figure:
    figure, axes = _axes("problems, easiest first", "share of samples that pass, c/n", (6.4, 3.4))
    rate = np.sort((judged["c"] / judged["n"]).to_numpy())[::-1]
    rank = np.arange(1, len(rate) + 1)
    floor = 0.3 / float(judged["n"].cast(pl.Int64).max() or 1)  # type: ignore[arg-type]
    solved = rate > 0
    axes.plot(rank[solved], rate[solved], "o", color=BLUE, ms=3.5, label="solved")
    axes.plot(rank[~solved], np.full((~solved).sum(), floor), "x", color=ORANGE, ms=4,
              label=f"unsolved: {int((~solved).sum())}")  # fmt: skip
    # The limits first: a log scale warns where all points lie at the same height.
    axes.set_ylim(floor * 0.6, 1.3)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8)
    return figure


def _axes(x: str, y: str, size: tuple[float, float] = (6.4, 4.0)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _looks() -> list[dict[str, Any]]:
    colors, markers = (BLUE, ORANGE, GREEN, INK, GREY), "os^Dv"
    styles = ("-", "--", "-.", ":", "-")
    return [
        {"color": c, "marker": m, "linestyle": s, "markersize": 4}
        for c, m, s in zip(colors, markers, styles, strict=True)
    ]


def _band(document: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    band = document["band"]
    k = np.array([int(j) for j in band])
    low, high = (np.array([band[str(j)][end] for j in k]) for end in ("lo", "hi"))
    return k, low, high


def _grid(document: Mapping[str, Any]) -> Any:
    top = document["k_max"]
    return np.unique(np.concatenate([np.geomspace(1, top, 80), np.geomspace(top, 10 * top, 40)]))


def _model(document: Mapping[str, Any], name: str) -> BetaBinomial | LogLogLine | ExpPower | None:
    found = document["fits"].get(name)
    if not found:
        return None
    match name:
        case "log_log_line":
            return LogLogLine(**found)
        case "exp_power":
            return ExpPower(**found)
        case _:
            return BetaBinomial(found["a"], found["b"], found["pi0"], found["neg_log_lik"])


def _gpt4o(document: Mapping[str, Any], axes: Axes, level: float) -> None:
    """The reference means something only where the problems are all of HumanEval."""
    if document.get("full_humaneval"):
        axes.axhline(level, color=ORANGE, lw=1, ls=(0, (1, 1.5)), label="GPT-4o, one try (90.2 %)")


def _log_log(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatterSciNotation())
    low, high = axes.get_ylim()
    if high / low < 100:  # decades alone would leave the axis without numbers
        axes.yaxis.set_minor_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.tick_params(axis="y", which="minor", labelsize=7)


def _save(figure: Figure, path: Path) -> None:
    """Write `path` with .svg and .png."""
    for suffix in (".svg", ".png"):
        with replacing(path.with_name(path.name + suffix)) as temporary:
            facts = {"Date": None} if suffix == ".svg" else {"Software": None}
            figure.savefig(temporary, format=suffix[1:], metadata=facts)
