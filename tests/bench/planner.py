"""How often the planner's intervals hold what it plans for, in simulated pilots that go on.

In each repetition problems are drawn from a law, and a pilot's samples of each. The planner is asked
for the k of a target, and for the coverage of a k. Then the pilot goes on with the same problems, to
the samples that either design plans.

- *k held*: the interval of k held the smallest k at which such problems reach the target.
- *coverage held*: the interval of pass@k held that of such problems.
- *drawn - expected*: pass@k of these very problems, as the continued pilot shows it, less what was
  expected: the mean and the standard deviation over repetitions.
- *fresh, adaptive*: samples that the rule drew, over those that were expected: likewise.

All but the first law are no families of the forecast. In the adaptive cases the pilot itself was
sampled by the rule: at least `STOP_MIN` samples of a problem, n at most, until `STOP_R` have passed.
"""

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from forecast_cells import ATOMS, BETA, FLOOR, LAWS, LN3, LOG_GAMMA, TWO
from threadpoolctl import threadpool_limits

from toolkit.planning.advice import Question, advice_document
from toolkit.planning.budget import Pilot, Prices
from toolkit.planning.continuation import Holdings
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts
from toolkit.stats.forecast import CountFits, forecast_of
from toolkit.stats.stopping import StoppingRule

REPETITIONS = int(os.environ.get("PLANNER_REPETITIONS", "20"))
FIRST = int(os.environ.get("PLANNER_FIRST", "0"))
"""Seed of the first repetition."""
REPLICATES = 500
"""As in `toolkit.planning.budget.read_pilot`."""
STOP_R, STOP_MIN = 5, 50


@dataclass(frozen=True, slots=True)
class Case:
    """A law of `forecast_cells`, a pilot of n samples of each problem, and the k asked about.

    The target is what such problems reach at k. adaptive: n is the cap of the pilot's rule.
    """

    law: str
    problems: int
    n: int
    k: int
    adaptive: bool = False

    def pilot(self, p: np.ndarray, random: np.random.Generator) -> Counts:
        """The pilot's counts of problems with pass probability p."""
        if not self.adaptive:
            return Counts.of(np.full(self.problems, self.n), random.binomial(self.n, p))
        rule = StoppingRule.batches(STOP_R, STOP_MIN, self.n, 0)
        return Counts.of(*rule.simulate(p, random), rule)


CASES = (
    Case(BETA, 164, 100, 1000),
    Case(LN3, 164, 50, 250),
    Case(ATOMS, 164, 50, 250),
    Case(FLOOR, 164, 100, 1000),
    Case(LOG_GAMMA, 100, 50, 500),
    Case(TWO, 164, 100, 1000),
    Case(BETA, 164, 200, 1000, adaptive=True),
    Case(LN3, 164, 200, 1000, adaptive=True),
    Case(ATOMS, 164, 200, 1000, adaptive=True),
)


def pilot_of(counts: Counts, seed: int) -> Pilot:
    """As it is read from a run, but for the run."""
    random = np.random.default_rng(seed)
    data = Replicated.of(counts, REPLICATES, random)
    ahead, families = forecast_of(data, random)
    return Pilot(
        title="simulated",
        counts=counts,
        tokens=np.full(len(counts), 100.0),
        holdings=Holdings(Path("pilot"), counts, counts.n, int(counts.n.max()), ingested=False),
        rate=4000.0,
        device="none",
        full_humaneval=False,
        count_fits=CountFits.of(counts),
        data=data,
        forecast=ahead,
        families=families,
    )


def truth(law: str, k: int) -> float:
    """pass@k of the law, by four million problems."""
    random = np.random.default_rng(123)
    draws = (LAWS[law](random, 400_000) for _ in range(10))
    return float(1 - np.mean([np.mean((1 - p) ** k) for p in draws]))


def ends(low: float | None, high: float | None) -> tuple[float, float]:
    """Of an interval of k: None is a k that is not reached."""
    return (np.inf if low is None else low, np.inf if high is None else high)


def repetition(case: Case, coverage: float, seed: int) -> dict[str, float | None]:
    """What was held, and what the continuation drew; None where there is no forecast."""
    name = f"{case.law} {case.problems} {case.n} {case.k} planner" + " adaptive" * case.adaptive
    random = np.random.default_rng([zlib.crc32(name.encode()), seed])
    p = LAWS[case.law](random, case.problems)
    counts = case.pilot(p, random)
    with threadpool_limits(limits=1):
        pilot = pilot_of(counts, seed)
        asked = partial(Question, usd=None, gpu_hours=None, stop_r=STOP_R, stop_min=STOP_MIN)
        prices = Prices(usd_per_gpu_hour=2.0, tokens_per_second=None)
        target = advice_document(pilot, asked(target=coverage, samples=None), prices)
        budget = advice_document(pilot, asked(target=None, samples=case.k), prices)
    plan = budget["designs"]["fixed"]
    if plan["pass_at_k"] is None:
        return dict.fromkeys(("k", "coverage", "drawn", "fresh"))
    low, high = ends(target["k"]["lo"], target["k"]["hi"])
    return {
        # Half a step: a k is a whole number, and the target is reached exactly at case.k.
        "k": float(low - 0.5 <= case.k <= high + 0.5),
        "coverage": float(plan["lo"] <= coverage <= plan["hi"]),
        "drawn": _drawn(case, counts, p, random) - plan["these_problems"],
        "fresh": _fresh(pilot, p, case.k, random) / budget["designs"]["adaptive"]["cost"]["fresh"],
    }


def _drawn(case: Case, counts: Counts, p: np.ndarray, random: np.random.Generator) -> float:
    """pass@k of these problems when each has k samples."""
    more = random.binomial(case.k - counts.n, p)
    return float(np.mean(counts.c + more > 0))


def _fresh(pilot: Pilot, p: np.ndarray, k: int, random: np.random.Generator) -> float:
    """Samples that the adaptive design draws beyond the pilot's."""
    rule = pilot.holdings.rule(STOP_R, STOP_MIN, k)
    had, passes = pilot.counts.n.copy(), pilot.counts.c.copy()
    for look in rule.looks:
        more = np.where(passes < rule.r, np.maximum(0, look - had), 0)
        passes, had = passes + random.binomial(more, p), had + more
    return float((had - pilot.counts.n).sum())


def bench() -> Iterator[dict[str, object]]:
    """A row for each case."""
    seeds = range(FIRST, FIRST + REPETITIONS)
    with ProcessPoolExecutor(int(os.environ.get("PLANNER_PROCESSES", "2"))) as pool:
        for case in CASES:
            coverage = truth(case.law, case.k)
            each = list(pool.map(partial(repetition, case, coverage), seeds))
            yield row(case, coverage, each)


def row(case: Case, coverage: float, each: list[dict[str, Any]]) -> dict[str, object]:
    """Over the repetitions with a forecast."""
    given = [one for one in each if one["k"] is not None]
    values = {name: np.array([one[name] for one in given]) for name in each[0]}
    return {
        "law": case.law,
        "problems": case.problems,
        "pilot's n": f"{STOP_MIN} to {case.n}" if case.adaptive else case.n,
        "k": f"{case.k:,}",
        "pass@k": f"{coverage:.4f}",
        "given": f"{len(given)} of {len(each)}",
        "k held": f"{values['k'].mean():.3f}",
        "coverage held": f"{values['coverage'].mean():.3f}",
        "drawn - expected": f"{values['drawn'].mean():+.4f} +- {values['drawn'].std():.4f}",
        "fresh, adaptive": f"{values['fresh'].mean():.2f} +- {values['fresh'].std():.2f}",
    }
