"""The fit stage: counts to curve, fits, forecast, figures and report.

Everything it finds stands in one document, `results/fit.json` (`toolkit.report.document`). Figures
and report are drawn from it.
"""

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.files import make_directory
from toolkit.problems.humaneval import GPT4O_PASS_AT_1, GPT4O_PASSES, GPT4O_PROBLEMS
from toolkit.records import Judge
from toolkit.report.blocks import counted
from toolkit.report.document import (
    FIT_JSON,
    AgainstReference,
    Band,
    BetaBinomialFit,
    Bracket,
    FamilyStanding,
    FitContext,
    FitDocument,
    FittedModels,
    ForecastPoint,
    JudgeFacts,
    OutputTokens,
    Overtakes,
    PartialPoint,
    SamplingFacts,
    ScaledFit,
    Slope,
    damaged_results,
    digests_of_results,
    read_fit,
    write_fit,
)
from toolkit.report.figures import draw_figures
from toolkit.report.report import write_report
from toolkit.runs.outcomes import count_outcomes, progress
from toolkit.runs.run import Run, write_table
from toolkit.runs.second_judge import second_judges
from toolkit.runs.taxonomy import Taxonomy, read_taxonomy
from toolkit.runs.two_verdicts import two_verdicts
from toolkit.runs.usage import Cost
from toolkit.runs.verdicts import decided_verdicts, other_judges
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
from toolkit.stats.weak_tests import WeakTests, weak_tests
from toolkit.verifiers.judges import harness_of, harness_steps, judge_of_run

log = logging.getLogger(__name__)

FIT_VERSION = 8
"""Raised when the same counts would give other results: results of an older one are redone."""
MEASURED = "unbiased; interval: Bayesian bootstrap over problems"
METHOD = "measured up to k_max, then an ensemble of families weighted on held-out samples"
ESTIMAND = (
    "such problems: the problems are a sample of a population; se_fixed_set speaks of these "
    "very problems sampled again"
)


def fit_run(
    run: Run,
    *,
    judge: Judge,
    name: str = "",
    replicates: int = 1000,
    forecasts: bool = True,
    cost: Cost | None = None,
) -> FitDocument:
    """Fit what is evaluated and write `results/`; unchanged counts keep the results as they are.

    name: of a judge that the run has besides its own. Its results are `results/NAME/`. cost: what
    the run is paid for, so that the report can say it without asking Slurm again.

    A truncated shard counts as missing. Raises `ToolkitError` when nothing is evaluated, and
    `UsageError` for a second judge of an adaptive run.
    """
    if name and run.stopping_rule():
        raise UsageError(
            f"--judge {name}: sampling of this run stopped at passes by its own judge, so that "
            "counts by another one are biased; sample without --adaptive, or take each sample's "
            "outcome by `python analysis/outcomes.py`"
        )
    counts = count_outcomes(run, judge)
    if harness := harness_of(judge):
        counts = with_all_verdicts(run, judge, counts, harness)
    if not counts["n"].sum() and (others := other_judges(run, judge)):
        raise ToolkitError(
            f"{run.path}: no sample has a verdict of the judge {judge.line()}, but of: "
            f"{'; '.join(others)}: evaluate again, or take those of the same version by --timeout "
            "and --libraries"
        )
    context = _context(run, counts, judge, read_taxonomy(run, judge), cost)
    if name:  # published figures are those of HumanEval's own tests
        title = f"{context.title}, judged by {name}"
        context = dataclasses.replace(context, title=title, full_humaneval=False)
    else:
        found = _weak_tests(run, judge, replicates)
        context = dataclasses.replace(context, weak_tests=found)
    document, _ = fit_counts(
        counts,
        results_of(run, name),
        context,
        rule=run.stopping_rule(),
        replicates=replicates,
        forecasts=forecasts,
    )
    return document


def _weak_tests(run: Run, judge: Judge, replicates: int) -> dict[str, WeakTests] | None:
    """The run's tests measured by each judge beside it. None for an adaptive run: it is biased."""
    if run.stopping_rule():
        return None
    found = {}
    for name in second_judges(run):
        if seen := two_verdicts(run, judge, judge_of_run(run, name=name)):
            grid = k_grid(int(seen.n.min()))
            found[name] = weak_tests(seen, grid, replicates=replicates)
    return found or None


def with_all_verdicts(run: Run, judge: Judge, counts: pl.DataFrame, harness: str) -> pl.DataFrame:
    """The counts without the problems of which patches wait for a harness's verdicts.

    Samples without a patch have failed at once. So where patches wait, their share of passes would
    be too low. Counts by a stopping rule are of complete looks already. Raises `ToolkitError` where
    patches wait and no verdict has come at all.
    """
    waiting = int(counts["unjudged"].sum())
    if waiting and decided_verdicts(run, judge).is_empty():
        raise ToolkitError(
            f"{run.path}: {waiting} samples wait for the verdicts of {harness}: "
            f"{harness_steps(run.path)}"
        )
    if not run.stopping_rule():
        counts = counts.with_columns(
            pl.when(pl.col("unjudged") > 0).then(0).otherwise(name).cast(pl.UInt32).alias(name)
            for name in ("n", "c", "suspect", "distinct")
        )
    return counts


def results_of(run: Run, name: str) -> Path:
    """Where the results of a judge are: "" for the run's own, else a name."""
    return run.results_dir / name if name else run.results_dir


def _context(
    run: Run, counts: pl.DataFrame, judge: Judge, taxonomy: Taxonomy, cost: Cost | None
) -> FitContext:
    done = progress(run, counts)
    manifest = run.manifest()
    identity = manifest["identity"]
    names = (field.name for field in dataclasses.fields(SamplingFacts))
    model = str(identity["model"]).rstrip("/").rsplit("/", 1)[-1]
    return FitContext(
        title=f"{model} on {_problems_name(manifest, counts.height)}",
        complete=done.complete,
        planned=done.planned,
        sampled=done.sampled,
        evaluated=done.evaluated,
        tokens=None if counts["tokens"].has_nulls() else int(counts["tokens"].sum()),
        full_humaneval=bool(manifest.get("full_humaneval")),
        chosen=bool(manifest.get("config", {}).get("problem_set", {}).get("chosen")),
        sampling=SamplingFacts(**{name: identity.get(name) for name in names}),
        judge=JudgeFacts.of(judge),
        taxonomy=taxonomy,
        cost=cost,
    )


def _problems_name(manifest: Mapping[str, Any], problems: int) -> str:
    source = str(manifest.get("problems_source", "humaneval"))
    name = "HumanEval" if source == "humaneval" else Path(source).name
    return name if manifest.get("full_humaneval") else f"{counted(problems, 'problem')} of {name}"


def fit_counts(
    counts: pl.DataFrame,
    out: Path,
    context: FitContext,
    *,
    rule: StoppingRule | None = None,
    replicates: int = 1000,
    forecasts: bool = True,
) -> tuple[FitDocument, bool]:
    """Fit counts (task_id, n, c, ...) and write counts, curve, fit.json, figures and report.

    A column `suspect` tells how many of the c are suspect passes; none without it. They count as
    passes in everything but `FitDocument.without_suspect`.

    `rule`: by which each problem's sampling stopped, if its n depends on its passes.

    Returns the document, and whether anything was written: when `out` holds the results of the
    same counts, context and version, they stay as they are, but for the cost. If one of its files
    is missing or damaged, all are written again. fit.json is written last. Raises `WriteFailure`.
    """
    inputs = _digest(counts, context, rule, replicates, forecasts)
    kept = _kept(out)
    context = dataclasses.replace(context, cost=_known_cost(kept, context))
    if kept is None or kept.inputs != inputs:
        document = fit_document(
            counts, context, rule, replicates=replicates, forecasts=forecasts, inputs=inputs
        )
    else:
        damaged = damaged_results(out, kept)
        for path in damaged:
            log.warning("%s: missing or damaged, so it is made anew", path)
        if not damaged and kept.cost == context.cost:
            return kept, False
        document = dataclasses.replace(kept, cost=context.cost)
    make_directory(out)
    write_table(out / "counts.parquet", counts, {})
    write_table(out / "curve.parquet", _curve_table(document), {})
    draw_figures(document, counts, out / "figures")
    write_report(document, counts, out)
    document = dataclasses.replace(document, files=digests_of_results(out))
    write_fit(document, out)
    return document, True


def _known_cost(kept: FitDocument | None, context: FitContext) -> Cost | None:
    """What was paid does not become less: accounting forgets old jobs, the document does not."""
    before, now = kept.cost if kept else None, context.cost
    if before and now and before.on_gpus == now.on_gpus:
        return max(now, before, key=lambda cost: cost.seconds)
    return now or before


def _kept(out: Path) -> FitDocument | None:
    """The document in `out`; None without one, and for a damaged one: it is made anew."""
    if not (out / FIT_JSON).is_file():
        return None
    try:
        return read_fit(out)
    except CorruptShard as error:
        log.warning("fitted anew: %s", error)
        return None


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
    log.info("fitting %d problems, n = %d to %d", len(judged), n_min, n_max)
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


def read_counts_csv(path: Path, rule: StoppingRule | None = None) -> pl.DataFrame:
    """Counts from a CSV file with columns problem_id or task_id, n, c; others are ignored.

    Raises `UsageError` naming file, line and column, also for counts that `rule` cannot have left.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"--counts {path}: cannot be read: {str(error).splitlines()[0]}") from None
    key = next((name for name in ("task_id", "problem_id") if name in frame.columns), None)
    if key is None or not {"n", "c"} <= set(frame.columns):
        raise UsageError(f"--counts {path}: needs the columns problem_id (or task_id), n and c")
    numbers = frame.select(pl.col("n", "c").str.strip_chars().cast(pl.Int64, strict=False))
    valid = numbers.select(
        (pl.col("n") >= 0) & (pl.col("c") >= 0) & (pl.col("c") <= pl.col("n"))
    ).to_series()
    for line, holds in enumerate(valid, start=2):
        if not holds:
            row = frame.row(line - 2, named=True)
            raise UsageError(
                f"--counts {path}:{line}: n = {row['n']}, c = {row['c']}: need 0 <= c <= n"
            )
    for line, (n, c) in enumerate(numbers.iter_rows(), start=2):
        if rule and n and (n not in rule.looks or rule.before(n, c) >= rule.r):
            raise UsageError(
                f"--counts {path}:{line}: n = {n}, c = {c}: the stopping rule leaves no such "
                f"counts (it looks after {_listed(rule.looks)} samples, stops at {rule.r} passes)"
            )
    if frame[key].is_duplicated().any():
        twice = frame[key].filter(frame[key].is_duplicated())[0]
        raise UsageError(f"--counts {path}: problem {twice} has more than one row")
    return pl.DataFrame({"task_id": frame[key], "n": numbers["n"], "c": numbers["c"]})


def _listed(looks: tuple[int, ...]) -> str:
    return ", ".join(map(str, looks if len(looks) < 9 else (*looks[:3], "...", *looks[-2:])))


def _digest(
    counts: pl.DataFrame,
    context: FitContext,
    rule: StoppingRule | None,
    replicates: int,
    forecasts: bool,
) -> str:
    stopping = rule.document() if rule else None
    facts = {k: v for k, v in dataclasses.asdict(context).items() if k != "cost"}
    parts = [FIT_VERSION, replicates, facts, stopping, counts.rows()]
    if not forecasts:
        parts.append("no forecast")
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _curve_table(document: FitDocument) -> pl.DataFrame:
    ks = list(document.pass_at_k)
    band = [document.band.get(k) for k in ks]
    return pl.DataFrame(
        {
            "k": ks,
            "pass_at_k": list(document.pass_at_k.values()),
            "fail_at_k": list(document.fail_at_k.values()),
            "se_fixed_set": list(document.se_fixed_set.values()),
            "se_superpopulation": list(document.se_superpopulation.values()),
            "lo": [b.lo if b else None for b in band],
            "hi": [b.hi if b else None for b in band],
            "problems": list(document.support.values()),
        },
        schema_overrides={"k": pl.UInt32, "se_fixed_set": pl.Float64, "problems": pl.UInt32},
    )


def _by_k(k: Ints, values: Floats) -> dict[int, float]:
    return dict(zip(k.tolist(), values.tolist(), strict=True))


def _defined_by_k(k: Ints, values: Floats) -> dict[int, float | None]:
    """None where a value is undefined (nan)."""
    return {k_j: v if math.isfinite(v) else None for k_j, v in _by_k(k, values).items()}
