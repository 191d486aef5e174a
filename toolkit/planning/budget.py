"""What a coverage costs, from a pilot: samples, tokens, GPU-hours and dollars, for both designs.

- *Fixed*: every problem gets k samples.
- *Adaptive*: every problem is sampled by a stopping rule whose cap is k. It estimates the same
  pass@k.

The pilot's samples are part of either.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from toolkit.errors import UsageError
from toolkit.report.document import read_fit
from toolkit.runs.run import Run, result_file
from toolkit.runs.usage import read_spent
from toolkit.stats.arrays import Floats
from toolkit.stats.curve import Counts
from toolkit.stats.forecast import FARTHEST, CountFits, Forecast, Interval, forecast, resample
from toolkit.stats.stopping import StoppingRule


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a fitted run says about further sampling.

    - tokens: mean output tokens of a sample, each problem's, shape (P,); nan where they are not
      known, as of ingested samples.
    - rate: output tokens a second of one GPU while it samples; None where the shards do not say, or
      where the pilot had no GPU.
    - device: the name of that GPU; None without a rate.
    """

    title: str
    counts: Counts
    tokens: Floats
    rate: float | None
    device: str | None
    full_humaneval: bool
    count_fits: CountFits
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one design; hours and dollars are None where no rate is known, tokens nan likewise."""

    samples: float
    tokens: float
    gpu_hours: float | None
    usd: float | None


@dataclass(frozen=True, slots=True)
class Prices:
    """tokens_per_second: of one GPU; None for the pilot's own rate."""

    usd_per_gpu_hour: float
    tokens_per_second: float | None


def read_pilot(run: Run, *, replicates: int = 500, seed: int = 0) -> Pilot:
    """From a run's results. Raises `UsageError` where it was not fitted, or has no tokens."""
    document = read_fit(run.results_dir)
    table = pl.read_parquet(result_file(run, "counts.parquet")).filter(pl.col("n") > 0)
    counts = Counts.of(table["n"].to_numpy(), table["c"].to_numpy(), document.stopping)
    tokens = (table["tokens"] / (table["n"] + table["unjudged"])).fill_null(math.nan).to_numpy()
    with threadpool_limits(limits=1):
        count_fits = CountFits.of(counts)
        draws = resample(len(counts), replicates, np.random.default_rng(seed))
        ahead = forecast(counts, count_fits, draws)
    spent = read_spent(run)
    rate = spent.tokens_per_second
    return Pilot(
        title=document.title,
        counts=counts,
        tokens=tokens,
        rate=rate,
        device=", ".join(sorted(spent.devices)) if rate else None,
        full_humaneval=document.full_humaneval,
        count_fits=count_fits,
        forecast=ahead,
    )


def fixed_cost(pilot: Pilot, k: float, prices: Prices) -> Cost:
    """k samples of every problem."""
    each = np.full(len(pilot.counts), k)
    return _cost(pilot, each, prices)


def adaptive_cost(pilot: Pilot, k: float, r: int, minimum: int, prices: Prices) -> Cost:
    """The expected cost of the rule "at least `minimum`, r passes, at most k", in rounds.

    A problem's p is taken from its posterior, Beta(a + c, b + n - c).
    """
    cap = int(min(k, FARTHEST))
    rule = StoppingRule.batches(r, min(minimum, cap), cap, 0)
    fit, counts = pilot.count_fits.map, pilot.counts
    each = rule.expected_samples(fit.a + counts.c, fit.b + counts.n - counts.c)
    return _cost(pilot, each, prices)


def _cost(pilot: Pilot, samples: Floats, prices: Prices) -> Cost:
    tokens = float(samples @ pilot.tokens)
    rate = prices.tokens_per_second or pilot.rate
    hours = tokens / rate / 3600 if rate and math.isfinite(tokens) else None
    usd = hours * prices.usd_per_gpu_hour if hours is not None else None
    return Cost(float(samples.sum()), tokens, hours, usd)


def affordable(cost: Callable[[float], Cost], budget: Callable[[Cost], bool]) -> int:
    """The largest k whose cost is within the budget. Raises `UsageError` where not even 1 is."""
    if not budget(cost(1)):
        raise UsageError("the budget does not pay for one sample of every problem")
    low, high = 1, FARTHEST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if budget(cost(middle)) else (low, middle - 1)
    return low


def as_json(value: Interval | Cost) -> dict[str, Any]:
    """Finite numbers; null for a k that is not reached."""
    names = value.__slots__
    pairs = ((name, getattr(value, name)) for name in names)
    return {k: v if v is not None and math.isfinite(v) else None for k, v in pairs}
