"""What a coverage costs, from a pilot: samples, tokens, GPU-hours and dollars, for both designs.

- *Fixed*: every problem gets k samples.
- *Adaptive*: every problem is sampled by a stopping rule whose cap is k. It estimates the same
  pass@k.

The pilot's samples are part of either where a launch can go on with them
(`toolkit.planning.continuation`). What costs is what is sampled afresh.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from toolkit.errors import UsageError
from toolkit.planning.continuation import Holdings
from toolkit.report.document import read_fit
from toolkit.runs.run import Run, result_file
from toolkit.runs.slices import planned_samples
from toolkit.runs.usage import read_spent
from toolkit.stats.arrays import Floats
from toolkit.stats.bootstrap import Replicated
from toolkit.stats.curve import Counts
from toolkit.stats.ensemble import Ensemble
from toolkit.stats.forecast import FARTHEST, CountFits, Forecast, Interval, forecast_of
from toolkit.stats.same_problems import same_problems

REPLICATES = 500
"""Half of a fit's: a plan asks for coarser numbers, and sooner."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What a fitted run says about further sampling.

    - tokens: mean output tokens of a sample, each problem's, shape (P,): hard problems have longer
      ones. nan where they are not known of any, as of ingested samples.
    - holdings: what its run holds, that a larger run goes on with.
    - rate: output tokens a second of one GPU while it samples; None where the shards do not say, or
      where the pilot had no GPU.
    - device: the name of that GPU; None without a rate.
    - data, families: what the forecast rests on.
    """

    title: str
    counts: Counts
    tokens: Floats
    holdings: Holdings
    rate: float | None
    device: str | None
    full_humaneval: bool
    count_fits: CountFits
    data: Replicated
    forecast: Forecast
    families: Ensemble | None

    def these_problems(self, k: int) -> float:
        """Expected fail@k of these very problems, as a report has it; nan without a forecast."""
        if self.forecast.limit(k):
            return math.nan
        ks = np.union1d(self.counts.k_max, k)
        return same_problems(self.data, self.forecast, self.families, ks)[k].estimate


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one design; hours and dollars are None where no rate is known, tokens nan likewise.

    samples: of the larger run, the pilot's included. fresh: of these, still to be sampled. The rest
    is of the fresh ones.
    """

    samples: float
    fresh: float
    tokens: float
    gpu_hours: float | None
    usd: float | None


@dataclass(frozen=True, slots=True)
class Prices:
    """tokens_per_second: of one GPU; tokens_per_sample: output tokens. None: the pilot's own."""

    usd_per_gpu_hour: float
    tokens_per_second: float | None
    tokens_per_sample: float | None = None


def read_pilot(run: Run) -> Pilot:
    """From a run's results. Raises `UsageError` where it was not fitted, or has no tokens."""
    document = read_fit(run.results_dir)
    table = pl.read_parquet(result_file(run, "counts.parquet")).filter(pl.col("n") > 0)
    counts = Counts.of(table["n"].to_numpy(), table["c"].to_numpy(), document.stopping)
    planned = planned_samples(run.slices())
    holdings = Holdings(
        path=run.path,
        counts=counts,
        planned=np.array([planned.get(t, 0) for t in table["task_id"]], dtype=np.int64),
        most=max(planned.values(), default=0),
        ingested=run.manifest()["identity"].get("backend") == "ingest",
    )
    with threadpool_limits(limits=1):
        count_fits = CountFits.of(counts)
        random = np.random.default_rng(0)
        data = Replicated.of(counts, REPLICATES, random)
        ahead, families = forecast_of(data, random)
    spent = read_spent(run)
    rate = spent.tokens_per_second
    return Pilot(
        title=document.title,
        counts=counts,
        tokens=_tokens_of(table),
        holdings=holdings,
        rate=rate,
        device=", ".join(sorted(spent.devices)) if rate else None,
        full_humaneval=document.full_humaneval,
        count_fits=count_fits,
        data=data,
        forecast=ahead,
        families=families,
    )


def _tokens_of(table: pl.DataFrame) -> Floats:
    """Mean output tokens of each problem's samples; of unknown ones, those of the others."""
    sampled = (table["n"] + table["unjudged"]).to_numpy().astype(float)
    tokens = table["tokens"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    known = np.isfinite(tokens)
    if not tokens[known].sum():  # no sample has none: of ingested ones nobody knows
        return np.full(len(tokens), math.nan)
    return np.where(known, tokens / sampled, tokens[known].sum() / sampled[known].sum())


def fixed_cost(pilot: Pilot, k: float, prices: Prices) -> Cost:
    """k samples of every problem."""
    fresh = pilot.holdings.fresh_fixed(k)
    total = np.maximum(k, pilot.holdings.planned) if _kept(pilot, adaptive=False) else fresh
    return _cost(pilot, total, fresh, prices)


def adaptive_cost(pilot: Pilot, k: float, r: int, minimum: int, prices: Prices) -> Cost:
    """The expected cost of the rule "at least `minimum`, r passes, at most k", in rounds."""
    rule = pilot.holdings.rule(r, minimum, int(min(k, FARTHEST)))
    fresh = pilot.holdings.fresh_adaptive(rule, pilot.count_fits.map)
    total = fresh + pilot.holdings.planned if _kept(pilot, adaptive=True) else fresh
    return _cost(pilot, total, fresh, prices)


def _kept(pilot: Pilot, *, adaptive: bool) -> bool:
    return pilot.holdings.goes_on(adaptive=adaptive)


def _cost(pilot: Pilot, total: Floats, fresh: Floats, prices: Prices) -> Cost:
    each = prices.tokens_per_sample
    tokens = float(fresh.sum() * each) if each else float(fresh @ pilot.tokens)
    rate = prices.tokens_per_second or pilot.rate
    hours = tokens / rate / 3600 if rate and math.isfinite(tokens) else None
    usd = hours * prices.usd_per_gpu_hour if hours is not None else None
    return Cost(float(total.sum()), float(fresh.sum()), tokens, hours, usd)


def affordable(cost: Callable[[float], Cost], budget: Callable[[Cost], bool], had: int) -> int:
    """The largest k whose cost is within the budget.

    had: samples that every problem has. Raises `UsageError` where not even one more is paid for.
    """
    if not budget(cost(had + 1)):
        raise UsageError("the budget does not pay for one more sample of every problem")
    low, high = had + 1, FARTHEST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if budget(cost(middle)) else (low, middle - 1)
    return low


def as_json(value: Interval | Cost) -> dict[str, Any]:
    """Finite numbers; null for a k that is not reached."""
    names = value.__slots__
    pairs = ((name, getattr(value, name)) for name in names)
    return {k: v if v is not None and math.isfinite(v) else None for k, v in pairs}
