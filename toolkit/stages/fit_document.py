"""What counts say, as the document of a fit: curve, fits, forecast, verdict."""

import dataclasses
import logging
import math

import numpy as np
import polars as pl

from toolkit.cli import how_many
from toolkit.errors import ToolkitError
from toolkit.problems.humaneval import GPT4O_PASS_AT_1, GPT4O_PASSES, GPT4O_PROBLEMS
from toolkit.report.document import FitContext, FitDocument
from toolkit.report.findings import (
    AgainstReference,
    Band,
    BetaBinomialFit,
    Bracket,
    FamilyStanding,
    FittedModels,
    ForecastPoint,
    OutputTokens,
    Overtakes,
    PartialPoint,
    ScaledFit,
    Slope,
)
from toolkit.stats import laws
from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.consistency import LARGEST_K, measure
from toolkit.stats.curve import Counts, Curve, curve
from toolkit.stats.difference import difference, exact_binomial
from toolkit.stats.ensemble import Standing
from toolkit.stats.forecast import Interval
from toolkit.stats.inference import Inference, infer
from toolkit.stats.laws import BetaBinomial, ScaledBetaBinomial
from toolkit.stats.passk import k_grid
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.suspect import largest_k_without, pass_at_k_without
from toolkit.stats.tokens import tokens_of_samples

log = logging.getLogger(__name__)

MEASURED = "unbiased; interval: Bayesian bootstrap over problems"
METHOD = "measured up to k_max, then an ensemble of families weighted on held-out samples"
ESTIMAND = (
    "such problems: the problems are a sample of a population; se_fixed_set speaks of these "
    "very problems sampled again"
)


def fit_document(
    counts: pl.DataFrame,
    context: FitContext,
    rule: StoppingRule | None = None,
    *,
    replicates: int = 1000,
    forecasts: bool = True,
    inputs: str = "",
) -> FitDocument:
    """What the counts say. Raises `ToolkitError` without any verdict."""
    table = counts.filter(pl.col("n") > 0)
    if table.is_empty():
        raise ToolkitError("no sample has a verdict yet: sample and evaluate first, then fit")
    judged = Counts.of(table["n"].to_numpy(), table["c"].to_numpy(), rule)
    top, n_min, n_max = judged.k_max, int(judged.n.min()), int(judged.n.max())
    log.info("fitting %s, n = %d to %d", how_many(len(judged), "problem"), n_min, n_max)
    found = infer(judged, replicates=replicates, forecasts=forecasts)
    shown = curve(judged, np.union1d(k_grid(top), [3] if top >= 3 else []).astype(np.int64))
    return FitDocument(
        **{field.name: getattr(context, field.name) for field in dataclasses.fields(context)},
        inputs=inputs,
        problems=len(judged),
        n_min=n_min,
        n_max=n_max,
        unsolved=int((judged.c == 0).sum()),
        stopping=rule,
        k_max=top,
        pass_at_k=_by_k(shown.k, shown.pass_at_k),
        without_suspect=_without_suspect(judged, table, shown.k),
        output_tokens=_output_tokens(table, shown.k),
        fail_at_k=_by_k(shown.k, shown.fail_at_k),
        se_fixed_set=_defined_by_k(shown.k, shown.se_fixed_set),
        se_superpopulation=_defined_by_k(shown.k, shown.se_superpopulation),
        support=dict(zip(shown.k.tolist(), shown.problems.tolist(), strict=True)),
        band={k: Band(i.lo, i.hi) for k, i in found.band.items() if k <= top},
        partial=_partial(judged, found),
        short=_short(table, rule),
        fits=_fits(shown, top, found),
        exponent=found.exponent,
        slopes=tuple(Slope(*ends, s.estimate, s.lo, s.hi) for ends, s in found.slopes.items()),
        forecast={
            k: _forecast_point(found, k)
            for k in k_grid(10 * top).tolist()
            if found.forecast.limit(k) is None
        },
        same_problems={k: i.estimate for k, i in found.same_problems.items()},
        same_problems_band={k: Band(i.lo, i.hi) for k, i in found.same_problems.items()},
        model_free={k: Band(*ends) for k, ends in found.model_free.items()},
        families=tuple(_standing(s) for s in found.forecast.standings),
        no_forecast=found.forecast.limit(top + 1),
        bracket={k: Bracket(*bounds) for k, bounds in found.bracket.items()},
        overtakes=_overtakes(found, top) if context.full_humaneval else None,
        goodness_of_fit=found.goodness_of_fit,
        floor_likelihood_ratio=found.floor_ratio,
        replicates=replicates,
        power_law=found.power_law,
        estimand=ESTIMAND,
        consistency=measure(
            judged,
            k_grid(min(n_min, LARGEST_K)),
            (found.count_fits.map.a, found.count_fits.map.b),
            replicates=replicates,
        ),
    )


def _without_suspect(judged: Counts, table: pl.DataFrame, shown: Ints) -> dict[int, float] | None:
    """The headline with suspect passes as failures, at k of `shown`; None without such a pass."""
    if "suspect" not in table.columns or not table["suspect"].sum():
        return None
    suspect = table["suspect"].to_numpy().astype(np.int64)
    top = shown[shown <= largest_k_without(judged, suspect)].max()
    return {k: pass_at_k_without(judged, suspect, k) for k in sorted({1, int(top)})}


def _output_tokens(table: pl.DataFrame, k: Ints) -> OutputTokens | None:
    """What k samples of a problem cost; None where the tokens of a sample are not known."""
    known = {"tokens", "samples"} <= set(table.columns) and not table["tokens"].has_nulls()
    if not known or not table["tokens"].sum():  # nor is there an axis for completions of nothing
        return None
    found = tokens_of_samples(table["tokens"].to_numpy(), table["samples"].to_numpy())
    error = found.standard_error
    return OutputTokens(
        found.mean, error if math.isfinite(error) else None, _by_k(k, found.at_k(k))
    )


def _forecast_point(found: Inference, k: int) -> ForecastPoint:
    ahead = found.forecast.at(k)
    method = MEASURED if k <= found.forecast.k_max else METHOD
    return ForecastPoint(ahead.estimate, ahead.lo, ahead.hi, method)


def _standing(found: Standing) -> FamilyStanding:
    error = found.error if math.isfinite(found.error) else None
    return FamilyStanding(found.name, found.weight, error, found.z, found.rejected)


def _partial(judged: Counts, found: Inference) -> dict[int, PartialPoint]:
    """The curve beyond k_max, of the problems that have as many samples."""
    k = np.array([k for k in found.band if k > judged.k_max], dtype=np.int64)
    more = curve(judged, k)
    return {
        k: PartialPoint(problems, passed, 1 - found.band[k].hi, 1 - found.band[k].lo)
        for k, problems, passed in zip(
            k.tolist(), more.problems.tolist(), more.pass_at_k.tolist(), strict=True
        )
    }


def _short(table: pl.DataFrame, rule: StoppingRule | None) -> dict[str, int]:
    """Problems with under half of the median n, which end the common curve early."""
    if rule:
        return {}
    n = table["n"].cast(pl.Int64)
    few = table.filter(n < 0.5 * float(n.median() or 0)).sort("n")  # type: ignore[arg-type]
    return dict(zip(few["task_id"].to_list(), few["n"].to_list(), strict=True))


def _overtakes(found: Inference, top: int) -> Overtakes:
    """Where the curve reaches the one try of the reference; None for a k that is not reached."""
    reached = found.forecast.reaches(GPT4O_PASS_AT_1)
    k, lo, hi = (
        int(value) if math.isfinite(value) else None
        for value in (reached.estimate, reached.lo, reached.hi)
    )
    reference = exact_binomial(GPT4O_PASSES, GPT4O_PROBLEMS)
    against = tuple(
        AgainstReference(k, less.estimate, less.lo, less.hi)
        for k, band in found.band.items()
        if k <= top
        for less in [difference(_of_pass(band), reference)]
    )
    name = "GPT-4o, one try"
    return Overtakes(name, GPT4O_PASS_AT_1, k, lo, hi, reference.lo, reference.hi, against)


def _of_pass(fail: Interval) -> Interval:
    return Interval(1 - fail.estimate, 1 - fail.hi, 1 - fail.lo)


def _fits(shown: Curve, top: int, found: Inference) -> FittedModels:
    """The curve fits on the grid 1, 2, 5 ... k_max (k = 3 is shown, not fitted), and the models."""
    grid = np.isin(shown.k, k_grid(top))
    beyond = k_grid(10 * top)
    return FittedModels(
        log_log_line=laws.log_log_line(shown.k[grid], shown.fail_at_k[grid]),
        exp_power=laws.exp_power(shown.k[grid], shown.pass_at_k[grid]),
        beta_binomial=_beta_fit(found.count_fits.ml, beyond),
        beta_binomial_map=_beta_fit(found.count_fits.map, beyond),
        zero_inflated_beta_binomial=_beta_fit(found.count_fits.floor, beyond),
        scaled_beta_binomial=_scaled_fit(found.scaled_fit, beyond),
    )


def _beta_fit(model: BetaBinomial | None, k: Ints) -> BetaBinomialFit | None:
    if model is None:
        return None
    fail = _by_k(k, model.fail_at_k(k))
    return BetaBinomialFit(model.a, model.b, model.pi0, model.neg_log_lik, fail)


def _scaled_fit(model: ScaledBetaBinomial | None, k: Ints) -> ScaledFit | None:
    if model is None:
        return None
    return ScaledFit(model.a, model.b, model.s, model.neg_log_lik, _by_k(k, model.fail_at_k(k)))


def _by_k(k: Ints, values: Floats) -> dict[int, float]:
    return dict(zip(k.tolist(), values.tolist(), strict=True))


def _defined_by_k(k: Ints, values: Floats) -> dict[int, float | None]:
    """None where a value is undefined (nan)."""
    return {k_j: v if math.isfinite(v) else None for k_j, v in _by_k(k, values).items()}
