"""Figures: what they show, which code has drawn those of the pages, and when there is none."""

import dataclasses

import matplotlib as mpl
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from PIL import Image
from run_jobs import ROOT

from toolkit.report.comparisons import draw_feed
from toolkit.report.document import FitContext, read_fit
from toolkit.report.figures import draw_figures, figures_of
from toolkit.report.style import (
    DPI,
    PAPER,
    STYLE,
    STYLE_KEY,
    SUFFIXES,
    drawing_digest,
    new_figure,
    save,
    series_styles,
)
from toolkit.runs.taxonomy import Taxonomy
from toolkit.stages.fit_document import fit_document

README = ROOT / "analysis" / "readme"
REDRAW = "python analysis/redraw.py analysis/readme/{} --figure {} --out analysis/{}"


@pytest.fixture(scope="module")
def quickstart():
    """README's fit, drawn: name -> figure."""
    with mpl.rc_context(STYLE):
        figures = figures_of(read_fit(README / "quickstart"), None)
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


@pytest.mark.parametrize(
    ("page", "fit", "figure"),
    [("quickstart", "quickstart", "fail_at_k"), ("outcomes", "codegen", "outcomes")],
)
def test_the_figures_of_readme_are_drawn_by_todays_code(page, fit, figure):
    with Image.open(ROOT / "analysis" / f"{page}.png") as image:
        found = image.info.get(STYLE_KEY)
    assert found == drawing_digest(), f"draw it anew: {REDRAW.format(fit, figure, page)}"


def test_legends_stand_off_the_data(quickstart):
    for name, figure in quickstart.items():
        for legend in figure.legends:
            for axes in figure.axes:
                box = axes.get_tightbbox()
                assert not legend.get_window_extent().overlaps(box), name
        assert not any(axes.get_legend() for axes in figure.axes), name


def test_ticks_do_not_overlap(quickstart):
    for name, figure in quickstart.items():
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
                labels = [t.label1 for t in ticks if low <= t.get_loc() <= high]
                labels += [t.label2 for t in ticks if low <= t.get_loc() <= high]
                boxes = [
                    each.get_window_extent()
                    for each in labels
                    if each.get_visible() and each.get_text()
                ]
                for i, box in enumerate(boxes):
                    assert not box.count_overlaps(boxes[i + 1 :]), (name, labels[i].get_text())


def test_both_estimands_and_the_change_to_the_forecast_are_marked(quickstart):
    for name in ("pass_at_k", "fail_at_k"):
        (legend,) = quickstart[name].legends
        labels = [text.get_text() for text in legend.get_texts()]
        assert {"95 %, such problems", "95 %, these problems"} <= set(labels)
        assert "forecast, 95 %, such problems" in labels
        (axes,) = quickstart[name].axes
        said = {text.get_text(): text.get_window_extent() for text in axes.texts}
        assert {"measured", "forecast"} <= said.keys()
        assert min(box.y0 for box in said.values()) >= axes.get_window_extent().y1


def test_series_differ_without_colour():
    looks = {(s["marker"], s["linestyle"]) for s in series_styles()}
    assert len(looks) == len(series_styles())
    grey = [
        sum(w * v for w, v in zip((0.3, 0.59, 0.11), to_rgb(s["color"]), strict=True))
        for s in series_styles()
    ]
    assert max(grey) < 0.5  # dark enough on white paper


@pytest.mark.parametrize("c", [0, 8])
def test_where_all_samples_agree_nothing_empty_is_drawn_nor_left(tmp_path, c):
    counts = pl.DataFrame({"task_id": ["a", "b"], "n": 8, "c": c})
    document = fit_document(counts, FitContext(title="equal"), replicates=100, forecasts=False)
    (tmp_path / "slope.png").write_bytes(b"of an earlier fit")
    draw_figures(document, counts, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {f"pass_at_k{s}" for s in SUFFIXES}
    assert b"/CharProcs" in (tmp_path / "pass_at_k.pdf").read_bytes()  # a font, embedded
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    draw_figures(dataclasses.replace(document), counts, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_interval_that_ends_next_to_0_is_drawn(tmp_path):
    """fail@k stands on a logarithmic axis, which ends where its numbers mean nothing."""
    fit = read_fit(README / "quickstart")
    tiny = {
        k: dataclasses.replace(band, lo=0.0, hi=1e-12)
        for k, band in (fit.same_problems_band or {}).items()
    }
    document = dataclasses.replace(fit, same_problems_band=tiny)
    draw_figures(document, None, tmp_path)
    assert (tmp_path / "fail_at_k.png").is_file()


def test_a_figure_that_is_redrawn_has_truetype_fonts(tmp_path):
    with mpl.rc_context(PAPER):
        figure, axes = new_figure("k", "pass@k")
        axes.plot([1, 2], [0, 1])
        save(figure, tmp_path / "f")
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    with Image.open(tmp_path / "f.png") as image:
        assert image.size == (6.4 * DPI, 4.4 * DPI)


def test_a_feed_has_a_line_for_each_task(tmp_path):
    feed = pl.DataFrame(
        {
            "task": ["0", "0", "0"],
            "time": [0.0, 1.0, 2.0],
            "in_flight": [8, 8, 4],
            "wanted": [8, 8, 8],
            "tokens": [0, 900, 1500],
            "kv_cache": [0.1, 0.4, 0.2],
        }
    )
    draw_feed(feed, tmp_path / "feed")
    assert imread(tmp_path / "feed.png").shape[0] > 600  # three panels, at 150 dots an inch


def test_no_axis_goes_on_where_there_is_nothing():
    document = read_fit(README / "quickstart")
    all_passed = Taxonomy({"passed": 800}, {}, {}, 0, {}, {})
    counts = pl.DataFrame({"task_id": ["a", "b", "c"], "n": 40, "c": [40, 3, 0]})
    with mpl.rc_context(STYLE):
        drawn = figures_of(dataclasses.replace(document, taxonomy=all_passed), counts)
        for figure in drawn.values():
            figure.draw_without_rendering()
    shares = drawn["outcomes"].axes[0].get_xticks()
    assert max(shares) == pytest.approx(1.0)
    (rates,) = drawn["difficulty"].axes
    labels = [label.get_text() for label in rates.get_yticklabels()]
    zero = rates.get_yticks()[labels.index("0")]
    assert min(rates.get_yticks(minor=True)) > zero
    # The measured interval's lower end is in sight, though the forecast may reach 0.
    low, _ = drawn["fail_at_k"].axes[0].get_ylim()
    assert low < min(band.lo for band in document.band.values())
