"""The fit stage: counts to curve, fits, forecast, figures and report.

Everything it finds stands in one document, `results/fit.json` (`toolkit.report.document`). Figures
and report are drawn from it.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.cli import how_many
from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.files import make_directory
from toolkit.records import Judge
from toolkit.report.browse_page import BROWSE_HTML
from toolkit.report.document import FIT_JSON, FitContext, FitDocument, read_fit, write_fit
from toolkit.report.facts import JudgeFacts, SamplingFacts
from toolkit.report.figures import draw_figures
from toolkit.report.report import write_report
from toolkit.report.result_files import damaged_results, digests_of_results
from toolkit.runs.budget import amounts_of_run, budget_of_run, reached, stopped_by
from toolkit.runs.outcomes import count_outcomes, progress
from toolkit.runs.provenance import read_provenance
from toolkit.runs.roof import read_roof
from toolkit.runs.run import Run
from toolkit.runs.second_judge import second_judges
from toolkit.runs.tables import write_table
from toolkit.runs.taxonomy import Taxonomy, read_taxonomy
from toolkit.runs.two_verdicts import two_verdicts
from toolkit.runs.usage import Cost
from toolkit.runs.verdicts import decided_verdicts, other_judges
from toolkit.stages.browse import browse_at_fit, made_at_fit
from toolkit.stages.fit_document import fit_document
from toolkit.stats.passk import k_grid
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.weak_tests import WeakTests, weak_tests
from toolkit.verifiers.judges import harness_of, harness_steps, judge_of_run

log = logging.getLogger(__name__)

FIT_VERSION = 11
"""Raised when the same counts would give other results: results of an older one are redone."""


def fit_run(
    run: Run,
    *,
    judge: Judge,
    name: str = "",
    replicates: int = 1000,
    forecasts: bool = True,
    cost: Cost | None = None,
    browse: bool = True,
) -> FitDocument:
    """Fit what is evaluated and write `results/`; unchanged counts keep the results as they are.

    name: of a judge that the run has besides its own. Its results are `results/NAME/`. cost: what
    the run is paid for, so that the report can say it without asking Slurm again. browse: whether
    the page of the samples is written too, `results/browse.html` (`toolkit.stages.browse`). There
    is one for all judges.

    A truncated shard counts as missing. Raises `ToolkitError` when nothing is evaluated, and
    `UsageError` for a second judge of an adaptive run.
    """
    counts = _counts(run, judge, name)
    context = _context(run, counts, judge, read_taxonomy(run, judge), cost)
    if name:  # published figures are those of HumanEval's own tests
        title = f"{context.title}, judged by {name}"
        context = dataclasses.replace(context, title=title, full_humaneval=False)
    else:
        found = _weak_tests(run, judge, replicates)
        context = dataclasses.replace(context, weak_tests=found)
    page = f"../{BROWSE_HTML}" if name else BROWSE_HTML
    document, _ = fit_counts(
        counts,
        results_of(run, name),
        context,
        rule=run.stopping_rule(),
        replicates=replicates,
        forecasts=forecasts,
        browser=page if browse and made_at_fit(run) else None,
    )
    if browse:
        browse_at_fit(run, judge, name)
    return document


def _counts(run: Run, judge: Judge, name: str) -> pl.DataFrame:
    """What is to be fitted. Raises as `fit_run` does."""
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
    return counts


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
            f"{run.path}: {how_many(waiting, 'sample waits', 'samples wait')} for the verdicts of "
            f"{harness}: "
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
        roof=read_roof(run),
        provenance=read_provenance(run),
        out_of_budget=_out_of_budget(run) if done.sampled < done.planned else None,
    )


def _out_of_budget(run: Run) -> str | None:
    """The bound of the budget that has ended sampling, in words; None if none has."""
    spent = reached(amounts_of_run(run, budget_of_run(run)))
    return stopped_by(spent) if spent else None


def _problems_name(manifest: Mapping[str, Any], problems: int) -> str:
    source = str(manifest.get("problems_source", "humaneval"))
    name = "HumanEval" if source == "humaneval" else Path(source).name
    return name if manifest.get("full_humaneval") else f"{how_many(problems, 'problem')} of {name}"


def fit_counts(
    counts: pl.DataFrame,
    out: Path,
    context: FitContext,
    *,
    rule: StoppingRule | None = None,
    replicates: int = 1000,
    forecasts: bool = True,
    browser: str | None = None,
) -> tuple[FitDocument, bool]:
    """Fit counts (task_id, n, c, ...) and write counts, curve, fit.json, figures and report.

    A column `suspect` tells how many of the c are suspect passes; none without it. They count as
    passes in everything but `FitDocument.without_suspect`.

    `rule`: by which each problem's sampling stopped, if its n depends on its passes. `browser`: the
    address, as seen from `out`, where a page of the samples will stand; the report links to it.

    Returns the document, and whether anything was written: when `out` holds the results of the
    same counts, context and version, they stay as they are, but for cost and provenance.
    If one of its files is missing or damaged, all are written again. fit.json is written last.
    Raises `WriteFailure`.
    """
    inputs = _digest(counts, context, rule, replicates, forecasts)
    kept = _kept(out)
    context = dataclasses.replace(context, cost=_known_cost(kept, context))
    if kept is None or kept.inputs != inputs:
        document = fit_document(
            counts, context, rule, replicates=replicates, forecasts=forecasts, inputs=inputs
        )
        document = dataclasses.replace(document, date=datetime.now(UTC).date().isoformat())
    else:
        damaged = damaged_results(out, kept)
        for path in damaged:
            log.warning("%s: missing or damaged, so it is made anew", path)
        told = {"cost": context.cost, "provenance": context.provenance}
        document = dataclasses.replace(kept, **told)  # type: ignore[arg-type]
        if not damaged and document == kept:
            return kept, False
    make_directory(out)
    write_table(out / "counts.parquet", counts, {})
    write_table(out / "curve.parquet", _curve_table(document), {})
    draw_figures(document, counts, out / "figures")
    write_report(document, counts, out, browser)
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


def _digest(
    counts: pl.DataFrame,
    context: FitContext,
    rule: StoppingRule | None,
    replicates: int,
    forecasts: bool,
) -> str:
    stopping = rule.document() if rule else None
    beside = ("cost", "provenance")  # said in the report, and no part of what is fitted
    facts = {k: v for k, v in dataclasses.asdict(context).items() if k not in beside}
    for later in ("out_of_budget", "roof"):  # without them: as before there were any
        if facts[later] is None:
            del facts[later]
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
