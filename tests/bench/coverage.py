"""How often the forecast's 95 % interval holds the truth, and how sharp it is beside its rivals.

`COVERAGE_REPETITIONS=200 python tests/bench coverage` judges all cells in about an hour on two
cores; by default a tenth of the repetitions is made. docs/forecasts.md explains the columns.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from forecast_cells import CELLS, Cell
from rivals import rivals
from scipy import stats
from threadpoolctl import threadpool_limits

from toolkit.stats.curve import Counts
from toolkit.stats.forecast import forecast

REPETITIONS = int(os.environ.get("COVERAGE_REPETITIONS", "20"))
FIRST = int(os.environ.get("COVERAGE_FIRST", "0"))
"""Seed of the first repetition."""
REPLICATES = 200
SMALLEST = 1e-6
"""What ln fail@K takes for a zero."""
NOMINAL, PROMISED = 0.95, 0.90


def interval_score(low: float, high: float, truth: float) -> float:
    """Of ln fail@K: width plus 40 times the miss (Gneiting and Raftery 2007, eq. 43)."""
    low, high, truth = np.log(np.maximum([low, high, truth], SMALLEST))
    return float(high - low + 2 / (1 - NOMINAL) * (max(low - truth, 0) + max(truth - high, 0)))


def repetition(cell: Cell, seed: int) -> dict[str, tuple[float, float] | None]:
    """Name -> interval, "ours" among them; None where there is no forecast."""
    with threadpool_limits(limits=1):
        counts = Counts.of(np.full(cell.problems, cell.n), cell.draw(seed))
        found = forecast(counts, replicates=REPLICATES, seed=seed)
        ahead = found.at(cell.k)
        ours = None if found.limit(cell.k) else (ahead.lo, ahead.hi)
        return {"ours": ours, **rivals(counts, cell.k, seed)}


def bench() -> Iterator[dict[str, object]]:
    """One row for each cell, then one of all."""
    seeds = range(FIRST, FIRST + REPETITIONS)
    held_of, ratios, p_values = [], [], []
    with ProcessPoolExecutor(int(os.environ.get("COVERAGE_PROCESSES", "2"))) as pool:
        for cell in CELLS:
            row: dict[str, object] = {
                "set or law": cell.source,
                "problems": cell.problems,
                "n": cell.n,
                "K": cell.k,
            }
            if reason := cell.absent():
                yield row | {"skipped": reason}
                continue
            truth = cell.truth()
            each = list(pool.map(partial(repetition, cell), seeds))
            given = [one["ours"] for one in each if one["ours"]]
            held = [low <= truth <= high for low, high in given]
            scores = {
                name: float(np.mean([interval_score(*one[name], truth) for one in each]))
                for name in each[0]
                if name != "ours"
            }
            ours = float(np.mean([interval_score(*ends, truth) for ends in given]))
            best = min(scores, key=lambda name: scores[name])
            ratios.append([ours / scores[best], *(s / scores[best] for s in scores.values())])
            held_of.append(np.mean(held))
            p_values.append(stats.binom.cdf(sum(held), len(held), PROMISED))
            yield row | {
                "fail@K": f"{truth:.4f}",
                "given": f"{len(given)} of {len(each)}",
                "held": f"{np.mean(held):.3f}",
                "p (.90)": f"{p_values[-1]:.3f}",
                "median width, hi / lo": f"{np.median([h / max(lo, SMALLEST) for lo, h in given]):.1f}",
                "score": f"{ours:.2f}",
                "of the best rival": f"{scores[best]:.2f}, {best}",
                "ratio": f"{ratios[-1][0]:.2f}",
            }
    yield _summary(held_of, np.array(ratios), np.array(p_values), list(scores))


def _summary(held, ratios, p_values, names):
    order = np.sort(p_values)
    holm = bool((order * np.arange(len(order), 0, -1) < 0.05)[0])
    means = np.exp(np.log(ratios).mean(axis=0))
    return {
        "cells": len(held),
        "mean coverage": f"{np.mean(held):.3f}",
        "a cell significantly under .90 (Holm)": "yes" if holm else "no",
        "score / best rival, geometric mean": f"{means[0]:.2f}",
        "largest": f"{ratios[:, 0].max():.2f}",
        "the rivals' own": ", ".join(f"{n} {m:.2f}" for n, m in zip(names, means[1:], strict=True)),
    }
