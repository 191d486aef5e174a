"""The comparison of more runs than letters, and their figure."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from toolkit.report.comparisons import MOST_NAMED, draw_study
from toolkit.report.run_pairs import MOST_PAIRED, compare, letter_of
from toolkit.stats.curve import Counts


def test_letters_go_on():
    assert [letter_of(i) for i in (0, 25, 26, 27, 51, 52)] == ["A", "Z", "AA", "AB", "AZ", "BA"]


def test_of_many_runs_each_is_compared_with_the_first_one():
    counts = [Counts.of(np.full(6, 4), np.arange(6) % (2 + i % 3), None) for i in range(28)]
    runs = [SimpleNamespace(counts=each) for each in counts]
    few, many = compare(runs[:3], 100), compare(runs[: MOST_PAIRED + 2], 100)
    assert [(p.first, p.second) for p in few.pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [(p.first, p.second) for p in many.pairs] == [(0, i) for i in range(1, 28)]
    # The same differences, by wider intervals: they hold for more pairs at once.
    for pair in few.pairs[:2]:
        again = many.pairs[pair.second - 1]
        assert (few.found.mean[pair.columns] == many.found.mean[again.columns]).all()
    assert many.found.critical >= few.found.critical


def test_a_panel_of_many_curves_has_no_names(tmp_path):
    k = np.array([1, 2, 4])
    curve = (k, k / 8, k / 10, k / 6)
    sizes = {}
    for count in (2, MOST_NAMED, MOST_NAMED + 1):
        path = Path(tmp_path / f"curves-{count}")
        draw_study({"a task": {f"run {i}": curve for i in range(count)}}, path)
        sizes[count] = path.with_suffix(".svg").read_text()
    assert [text.count("<!-- run ") for text in sizes.values()] == [2, MOST_NAMED, 0]
    assert "<!-- a task, 31 runs -->" in sizes[MOST_NAMED + 1]
