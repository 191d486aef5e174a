"""The fit stage: counts to curve, fits, forecast, figures and report.

Everything it finds stands in one document, `results/fit.json`; figures and report are drawn from
it. Its keys (k's are strings, as JSON wants):

    title, complete, planned, sampled, evaluated, tokens   what was fitted; null without a run
    problems, n_min, n_max, unsolved      problems with at least one verdict; unsolved: c = 0
    stopping      {r, looks}              the rule by which sampling stopped; null for a fixed n
    k_max         largest k that all problems support: n_min, or the cap of the rule
    pass_at_k, fail_at_k, se_fixed_set, se_superpopulation, support    {k: value}, up to k_max
    band          {k: {lo, hi}}           95 % of fail@k, bootstrap over problems
    fits          log_log_line {intercept, slope}, exp_power {a, b}, beta_binomial,
                  beta_binomial_map, zero_inflated_beta_binomial
                  {a, b, pi0, neg_log_lik, fail_at_k}, scaled_beta_binomial
                  {a, b, s, neg_log_lik, fail_at_k}; null where the counts have no maximum
    exponent      {estimate, lo, hi}      a of the MAP fit: the slope that fail@k tends to is -a
    slopes        [{from, to, estimate, lo, hi}]    a decade each
    forecast      {k: {estimate, lo, hi, method}}   up to 10 k_max
    same_problems {k: fail@k}             empirical Bayes, for these very problems
    bracket       {k: {lower, upper}}     model-free, k > k_max
    overtakes     {reference, pass_at_1, k, lo, hi}    the k whose pass@k reaches a reference's one
                  try; null for "not up to 10^7", and without the whole of HumanEval
    goodness_of_fit, floor_likelihood_ratio, replicates
    power_law     {supported, reasons}
    estimand      what the intervals speak of
"""

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import replacing
from toolkit.records import Judge
from toolkit.report.figures import GPT4O_PASS_AT_1, draw_figures
from toolkit.report.report import write_report
from toolkit.runs.outcomes import count_outcomes, progress
from toolkit.runs.run import Run, write_table
from toolkit.runs.verdicts import other_judges
from toolkit.stats import laws
from toolkit.stats.curve import Counts, Curve, curve
from toolkit.stats.inference import Inference, infer
from toolkit.stats.passk import k_grid
from toolkit.stats.stopping import StoppingRule

log = logging.getLogger(__name__)

FIT_VERSION = 2
"""Raised when the same counts would give other results: results of an older one are redone."""
METHOD = "beta-binomial, MAP; interval: union with the zero-inflated one's, bootstrap over problems"
ESTIMAND = (
    "such problems: the problems are a sample of a population; se_fixed_set speaks of these "
    "very problems sampled again"
)


@dataclass(frozen=True, slots=True)
class FitSummary:
    """What a fit found: the document of fit.json, and whether nothing planned was missing."""

    document: Mapping[str, Any]
    complete: bool


def fit_run(run: Run, *, judge: Judge, replicates: int = 1000) -> FitSummary:
    """Fit what is evaluated and write `results/`; unchanged counts keep the results as they are.

    A truncated shard counts as missing. Raises `ToolkitError` when nothing is evaluated.
    """
    counts = count_outcomes(run, judge)
    if not counts["n"].sum() and (others := other_judges(run, judge)):
        raise ToolkitError(
            f"{run.path}: no sample has a verdict of the judge {judge.line()}, but of: "
            f"{'; '.join(others)}: take theirs by --timeout, or evaluate again"
        )
    done = progress(run, counts)
    manifest = run.manifest()
    identity = manifest["identity"]
    context = {
        "title": f"{str(identity['model']).rstrip('/').rsplit('/', 1)[-1]} on "
        f"{_problems_name(manifest, counts.height)}",
        "complete": done.complete,
        "planned": done.planned,
        "sampled": done.sampled,
        "evaluated": done.evaluated,
        "tokens": int(counts["tokens"].sum()),
        "full_humaneval": bool(manifest.get("full_humaneval")),
        "chosen": bool(manifest.get("config", {}).get("problem_set", {}).get("chosen")),
        "sampling": {
            key: identity.get(key)
            for key in ("model", "backend", "prompt_style", "temperature", "top_p", "max_tokens")
        },
    }
    document, _ = fit_counts(
        counts, run.results_dir, context, rule=run.stopping_rule(), replicates=replicates
    )
    return FitSummary(document, done.complete)


def _problems_name(manifest: Mapping[str, Any], problems: int) -> str:
    source = str(manifest.get("problems_source", "humaneval"))
    name = "HumanEval" if source == "humaneval" else Path(source).name
    return name if manifest.get("full_humaneval") else f"{problems} problems of {name}"


def fit_counts(
    counts: pl.DataFrame,
    out: Path,
    context: Mapping[str, Any],
    *,
    rule: StoppingRule | None = None,
    replicates: int = 1000,
) -> tuple[dict[str, Any], bool]:
    """Fit counts (task_id, n, c, ...) and write counts, curve, fit.json, figures and report.

    `rule`: by which each problem's sampling stopped, if its n depends on its passes.

    Returns the document, and whether it was computed now: when `out` holds the results of the
    same counts, context and version, they stay as they are. fit.json is written last.
    """
    inputs = _digest(counts, context, rule, replicates)
    path = out / "fit.json"
    if path.is_file():
        old: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if old.get("inputs") == inputs:
            return old, False
    found = fit_document(
        counts, rule, full_humaneval=bool(context.get("full_humaneval")), replicates=replicates
    )
    document = {"inputs": inputs, **context, **found}
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_table(out / "counts.parquet", counts, {})
        write_table(out / "curve.parquet", _curve_table(document), {})
        draw_figures(document, counts, out / "figures")
        write_report(document, counts, out)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ToolkitError(f"{out}: cannot be written: {error.strerror}") from None
    return document, True


def fit_document(
    counts: pl.DataFrame,
    rule: StoppingRule | None = None,
    *,
    full_humaneval: bool = False,
    replicates: int = 1000,
) -> dict[str, Any]:
    """What the counts say, by the keys above. Raises `ToolkitError` without any verdict."""
    table = counts.filter(pl.col("n") > 0)
    if table.is_empty():
        raise ToolkitError("no sample has a verdict yet: sample and evaluate first, then fit")
    judged = Counts.of(table["n"].to_numpy(), table["c"].to_numpy(), rule)
    top, n_min, n_max = judged.k_max, int(judged.n.min()), int(judged.n.max())
    log.info("fitting %d problems, n = %d to %d", len(judged), n_min, n_max)
    inference = infer(judged, replicates=replicates)
    shown = curve(judged, np.union1d(k_grid(top), [3] if top >= 3 else []).astype(np.int64))
    columns = {
        name: _by_k(shown.k, getattr(shown, name))
        for name in ("pass_at_k", "fail_at_k", "se_fixed_set", "se_superpopulation")
    }
    beyond = k_grid(10 * top).tolist()
    return {
        "problems": len(judged),
        "n_min": n_min,
        "n_max": n_max,
        "unsolved": int((judged.c == 0).sum()),
        "stopping": rule.document() if rule else None,
        "k_max": top,
        **columns,
        "support": dict(zip(map(str, shown.k), shown.problems.tolist(), strict=True)),
        "band": {str(k): {"lo": i.lo, "hi": i.hi} for k, i in inference.band.items()},
        "fits": _fits(shown, top, inference),
        "exponent": dataclasses.asdict(inference.exponent),
        "slopes": [
            {"from": low, "to": high, **dataclasses.asdict(slope)}
            for (low, high), slope in inference.slopes.items()
        ],
        "forecast": {
            str(k): {**dataclasses.asdict(inference.forecast.at(k)), "method": METHOD}
            for k in beyond
        },
        "same_problems": {str(k): v for k, v in inference.same_problems.items()},
        "bracket": {
            str(k): {"lower": low, "upper": high} for k, (low, high) in inference.bracket.items()
        },
        "overtakes": _overtakes(inference) if full_humaneval else None,
        "goodness_of_fit": inference.goodness_of_fit,
        "floor_likelihood_ratio": inference.floor_ratio,
        "replicates": replicates,
        "power_law": {
            "supported": inference.power_law.supported,
            "reasons": list(inference.power_law.reasons),
        },
        "estimand": ESTIMAND,
    }


def _overtakes(inference: Inference) -> dict[str, Any]:
    """Where the curve reaches the one try of the reference; k's that are not reached are null."""
    found = dataclasses.asdict(inference.forecast.reaches(GPT4O_PASS_AT_1))
    k = {
        name: int(value) if math.isfinite(value) else None
        for name, value in zip(("k", "lo", "hi"), found.values(), strict=True)
    }
    return {"reference": "GPT-4o, one try", "pass_at_1": GPT4O_PASS_AT_1, **k}


def _fits(shown: Curve, top: int, inference: Inference) -> dict[str, dict[str, Any] | None]:
    """The curve fits on the grid 1, 2, 5 ... k_max (k = 3 is shown, not fitted), and the models."""
    grid = np.isin(shown.k, k_grid(top))
    line = laws.log_log_line(shown.k[grid], shown.fail_at_k[grid])
    power = laws.exp_power(shown.k[grid], shown.pass_at_k[grid])
    models = {
        "beta_binomial": inference.count_fits.ml,
        "beta_binomial_map": inference.count_fits.map,
        "zero_inflated_beta_binomial": inference.count_fits.floor,
        "scaled_beta_binomial": inference.scaled_fit,
    }
    beyond = k_grid(10 * top)
    return {
        "log_log_line": dataclasses.asdict(line) if line else None,
        "exp_power": dataclasses.asdict(power) if power else None,
    } | {
        name: {**dataclasses.asdict(model), "fail_at_k": _by_k(beyond, model.fail_at_k(beyond))}
        if model
        else None
        for name, model in models.items()
    }


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
        raise UsageError(f"--counts {path}: problem {twice} stands there twice")
    return pl.DataFrame({"task_id": frame[key], "n": numbers["n"], "c": numbers["c"]})


def _listed(looks: tuple[int, ...]) -> str:
    return ", ".join(map(str, looks if len(looks) < 9 else (*looks[:3], "...", *looks[-2:])))


def _digest(
    counts: pl.DataFrame, context: Mapping[str, Any], rule: StoppingRule | None, replicates: int
) -> str:
    stopping = rule.document() if rule else None
    parts = [FIT_VERSION, replicates, context, stopping, counts.rows()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _curve_table(document: Mapping[str, Any]) -> pl.DataFrame:
    ks = list(document["pass_at_k"])
    band = document["band"]
    columns = {
        name: [document[name][k] for k in ks]
        for name in ("pass_at_k", "fail_at_k", "se_fixed_set", "se_superpopulation")
    }
    return pl.DataFrame(
        {
            "k": [int(k) for k in ks],
            **columns,
            "lo": [band.get(k, {}).get("lo") for k in ks],
            "hi": [band.get(k, {}).get("hi") for k in ks],
            "problems": [document["support"][k] for k in ks],
        },
        schema_overrides={"k": pl.UInt32, "se_fixed_set": pl.Float64, "problems": pl.UInt32},
    )


def _by_k(k: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, float | None]:
    """JSON has no nan: what is undefined is left out by value, null."""
    return {
        str(k_j): float(v) if math.isfinite(v) else None for k_j, v in zip(k, values, strict=True)
    }
