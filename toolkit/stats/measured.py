"""What was measured of the forecast's 95 % interval, for the report to say of the case at hand.

In all cells n was fixed: no stopping rule ended the sampling.

`COVERAGE_REPETITIONS=... python tests/bench coverage` measures it; docs/forecasts.md has the whole
table and the seeds.
"""

from dataclasses import dataclass

import numpy as np

REPETITIONS = 200


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """How often the interval held fail@k, from n samples of so many problems of a set or law."""

    source: str
    problems: int
    n: int
    k: int
    held: float


CELLS: tuple[MeasuredCell, ...] = (
    MeasuredCell("Pythia-12B MATH", 128, 50, 500, 1.000),
    MeasuredCell("Pythia-12B MATH", 128, 50, 5000, 1.000),
    MeasuredCell("Pythia-12B MATH", 128, 100, 1000, 0.975),
    MeasuredCell("Pythia-12B MATH", 128, 100, 10000, 1.000),
    MeasuredCell("Pythia-12B MATH", 128, 200, 10000, 0.995),
    MeasuredCell("Pythia-12B MATH", 30, 100, 1000, 0.965),
    MeasuredCell("gpt-3.5 HumanEval", 164, 5, 10, 0.985),
    MeasuredCell("CodeGen-16B HumanEval", 164, 20, 50, 1.000),
    MeasuredCell("CodeGen-16B HumanEval", 164, 10, 50, 1.000),
    MeasuredCell("simulated Llama", 164, 100, 1000, 0.985),
    MeasuredCell("simulated Llama", 60, 50, 500, 0.985),
    MeasuredCell("Beta(.2873, .1709)", 164, 100, 1000, 0.990),
    MeasuredCell("Beta(.2873, .1709)", 164, 20, 200, 1.000),
    MeasuredCell("Beta(.2873, .1709)", 164, 100, 10000, 0.985),
    MeasuredCell("Beta(.2873, .1709)", 30, 100, 1000, 1.000),
    MeasuredCell("Beta(.2873, .1709)", 20, 100, 500, 0.990),
    MeasuredCell("Beta(.2873, .1709)", 10, 100, 1000, 0.995),
    MeasuredCell("Beta(.2955, 12.365)", 164, 50, 500, 0.995),
    MeasuredCell("logit-normal(0, 3)", 164, 100, 1000, 0.965),
    MeasuredCell("logit-normal(0, 3)", 164, 50, 5000, 0.895),
    MeasuredCell("logit-normal(0, 3)", 60, 50, 500, 0.985),
    MeasuredCell("logit-normal(-1, 4)", 164, 100, 1000, 1.000),
    MeasuredCell("logit-normal(-1, 4)", 100, 50, 100, 0.975),
    MeasuredCell("atoms .08 at 0, .27 at 1", 164, 100, 1000, 0.898),
    MeasuredCell("atoms .08 at 0, .27 at 1", 164, 50, 250, 0.944),
    MeasuredCell("Beta + 10 % impossible", 164, 100, 1000, 0.935),
    MeasuredCell("Beta + 10 % impossible", 60, 50, 500, 0.975),
    MeasuredCell("log-gamma(2, 1.5)", 164, 100, 1000, 0.990),
    MeasuredCell("log-gamma(2, 1.5)", 100, 50, 500, 0.985),
    MeasuredCell(".7 Beta(2, 1) + .3 Beta(.5, 20)", 164, 100, 1000, 0.985),
    MeasuredCell(".7 Beta(2, 1) + .3 Beta(.5, 20)", 100, 50, 500, 0.955),
    MeasuredCell(".6 LN(2, 1.5) + .4 LN(-5, 2)", 164, 100, 1000, 0.940),
    MeasuredCell(".6 LN(2, 1.5) + .4 LN(-5, 2)", 60, 200, 2000, 0.915),
    MeasuredCell("1 - exp(-Gamma(.35, 8))", 164, 100, 1000, 0.975),
    MeasuredCell(".3 Beta(.4, 1)", 164, 100, 200, 1.000),
    MeasuredCell(".3 Beta(.4, 1)", 164, 50, 500, 1.000),
)


def mean_coverage() -> float:
    """Over all cells."""
    return float(np.mean([cell.held for cell in CELLS]))


def nearest_cells(problems: int, n: int) -> list[MeasuredCell]:
    """The six cells most like a forecast to ten times n: log distance in problems, n and K / n."""

    def distance(cell: MeasuredCell) -> float:
        parts = [cell.problems / problems, cell.n / n, cell.k / cell.n / 10]
        return float(np.sum(np.abs(np.log(parts))))

    return sorted(CELLS, key=distance)[:6]
