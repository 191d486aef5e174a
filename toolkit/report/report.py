"""The report of a fit: report.md, and report.html that carries its figures within.

Both are rendered from the same blocks, drawn from the document of fit.json.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from toolkit.cli import how_many, samples_each
from toolkit.files import replace_file
from toolkit.report.blocks import (
    Block,
    Heading,
    Paragraph,
    Picture,
    Table,
    number,
    percent,
    plain,
    span,
)
from toolkit.report.browse_page import browser_seen_from
from toolkit.report.consistency import consistency_blocks
from toolkit.report.document import FitDocument
from toolkit.report.forecast import forecast_blocks
from toolkit.report.outcomes import outcome_blocks, outcome_warnings
from toolkit.report.power_law import power_law_blocks
from toolkit.report.problems import problem_blocks
from toolkit.report.references import reference_blocks
from toolkit.report.render import render_html, render_markdown
from toolkit.report.setup import setup_blocks
from toolkit.report.weak_tests import weak_tests_blocks, weak_tests_warnings

MOST_SHORT = 10
"""Problems with few samples that are named one by one, those with the fewest first."""


def write_report(
    document: FitDocument, counts: pl.DataFrame, out: Path, browser: str | None = None
) -> None:
    """Write report.md and report.html into `out`, whose figures/ are drawn already.

    browser: the address of a page of the samples that will be made, as seen from `out`. Without
    it, the one that is there. Raises `WriteFailure`.
    """
    blocks = list(report_blocks(document, counts, browser or browser_seen_from(out)))
    title = f"How fail@k falls: {document.title}"
    for name, text in (
        ("report.md", render_markdown(title, blocks)),
        ("report.html", render_html(title, blocks, out / "figures")),
    ):
        replace_file(out / name, text.encode())


def report_blocks(
    document: FitDocument, counts: pl.DataFrame, browser: str | None = None
) -> Iterator[Block]:
    """All that a report must state, in order. browser: what the table of problems links to."""
    yield from _warnings(document)
    yield from _summary(document)
    yield from setup_blocks(document)
    yield Heading("How far sampling goes")
    if document.samples_differ:
        yield Picture(
            "fail_at_k", "fail@k against k, both axes logarithmic; dashed beyond the samples."
        )
    else:
        yield Paragraph(_no_figures(document))
    yield Picture("pass_at_k", "pass@k, the share of problems that k tries solve.")
    yield from outcome_blocks(document)
    yield Heading("The unbiased curve")
    yield from _curve(document)
    yield from _output_tokens(document)
    yield Heading("Is it a power law?")
    yield from power_law_blocks(document)
    if document.slopes and document.samples_differ:
        yield Picture("slope", "The local slope; a power law has the same one everywhere.")
    yield Heading("Fits")
    yield _fit_table(document)
    yield Paragraph(
        "The straight line is here because the blog drew it. On 11 public sets of counts its 95 % "
        "interval, fitted at n = 100, held fail@1000 in none of 440 cases. Its R^2 says nothing."
    )
    yield Heading("Forecast")
    yield from forecast_blocks(document)
    yield from weak_tests_blocks(document)
    yield from consistency_blocks(document)
    yield from problem_blocks(document, counts, browser)
    yield from reference_blocks(document)


def _no_figures(document: FitDocument) -> str:
    """In place of the figures that would show nothing: all samples pass, or none does."""
    if document.unsolved:
        said = "No sample passes, so fail@k is 1 at every k"
    else:
        said = "Every sample passes, so fail@k is 0 at every k"
    return f"{said}. There is no figure of it, of its slope, nor of what sets problems apart."


def _warnings(document: FitDocument) -> Iterator[Block]:
    if not document.complete:
        yield Paragraph(
            f"INCOMPLETE: {document.evaluated} of {document.planned} planned samples are "
            f"evaluated. This report is made of those. {_to_complete(document)}",
            warning=True,
        )
    if document.chosen:
        yield Paragraph(
            "These problems were chosen to show a slope with a small model. The curve says nothing "
            "about the benchmark they come from.",
            warning=True,
        )
    yield from weak_tests_warnings(document)
    yield from outcome_warnings(document)


def _to_complete(document: FitDocument) -> str:
    """Why samples are missing, where that is known, and what to do."""
    why = document.out_of_budget
    return f"{why[0].upper()}{why[1:]}." if why else "Launch again to complete the run."


def _summary(document: FitDocument) -> Iterator[Block]:
    top, low, high = document.k_max, document.n_min, document.n_max
    n = samples_each(low, high)
    unsolved = how_many(document.unsolved, "problem is", "problems are")
    each = "sample" if high == 1 else "samples"
    each += "" if document.problems == 1 else " each"
    headline = [_with_interval(document, k) for k in sorted({1, top})]
    yield Paragraph(
        f"{how_many(document.problems, 'problem')}, {n} {each}: {'; '.join(headline)}. "
        f"{unsolved} unsolved (c = 0)."
    )
    yield from _short(document)
    if without := document.without_suspect:
        shown = ", ".join(f"pass@{k} = {percent(value)}" for k, value in without.items())
        yield Paragraph(
            f"These figures count suspect passes as passes, and so does all that follows. "
            f"With suspect passes counted as failures: {shown}."
        )
    if rule := document.stopping:
        passes = how_many(rule.r, "pass", "passes")
        yield Paragraph(
            f"Sampling was adaptive: a problem got no more samples once it had {passes}. This was "
            f"checked after {', '.join(map(str, rule.looks))} samples. The estimates allow for "
            f"this rule. They reach k = {rule.cap} also for the problems that stopped early."
        )
    yield Paragraph(
        "*These problems* are the ones that were sampled; their intervals say how far a figure "
        "moves when they are sampled again. *Such problems* are all problems of the kind from "
        "which these were drawn; all 95 % intervals are theirs, unless said."
    )
    yield from _overtaking(document)


def _with_interval(document: FitDocument, k: int) -> str:
    """`pass@100 = 90.5 % (95 %: 85.3 % to 94.2 %)`."""
    band, passed = document.band[k], percent(document.pass_at_k[k])
    return f"pass@{k} = {passed} (95 %: {percent(1 - band.hi)} to {percent(1 - band.lo)})"


def _short(document: FitDocument) -> Iterator[Block]:
    """The problems that end the common curve early; nothing where none does."""
    if not document.short:
        return
    named = [f"{plain(task_id)} (n = {n})" for task_id, n in document.short.items()]
    shown = ", ".join(named[:MOST_SHORT])
    rest = f" and {len(named) - MOST_SHORT} more" if len(named) > MOST_SHORT else ""
    few = how_many(len(named), "problem has", "problems have")
    yield Paragraph(
        f"{few} under half of the median number of samples: {shown}{rest}. All problems together "
        f"have a curve up to k = {document.k_max}. Larger k are shown of fewer problems.",
        warning=True,
    )


def _overtaking(document: FitDocument) -> Iterator[Block]:
    """Against one try of a stronger model; only where the problems are all of HumanEval."""
    found = document.overtakes
    if not found:
        return
    level = f"{found.reference} ({percent(found.pass_at_1)})"
    yield from _against(document)
    if found.k is None:
        text = f"pass@k does not reach {level} at any k that is measured or forecast."
    elif found.k <= document.k_max:
        text = f"pass@k reaches {level} at k = {found.k:,}."
    else:
        text = f"pass@k is expected to reach {level} at k = {found.k:,}, beyond the samples."
    low, high = (f"{v:,}" if v is not None else "never" for v in (found.lo, found.hi))
    yield Paragraph(
        f"{text} 95 % interval, such problems: {low} to {high}. This takes the reference's figure "
        "as exact."
    )


def _against(document: FitDocument) -> Iterator[Block]:
    """The largest k against the reference, each with its own error; nothing in older results."""
    found = document.overtakes
    if not found or not found.against or found.pass_at_1_lo is None or found.pass_at_1_hi is None:
        return
    last = found.against[-1]
    change = f"{100 * last.difference:+.1f} points, 95 %: {100 * last.lo:+.1f} to "
    change += f"{100 * last.hi:+.1f}"
    if last.differs:
        words = "is above" if last.difference > 0 else "is below"
    else:
        words = "does not differ from"
    higher = [a.k for a in found.against if a.lo > 0]
    first = f" It is above it from k = {higher[0]} on." if higher else ""
    yield Paragraph(
        f"pass@{last.k} = {percent(document.pass_at_k[last.k])} {words} {found.reference} "
        f"({percent(found.pass_at_1)}): {change}.{first} The reference tried each of 164 problems "
        f"once, so its own 95 % interval is {percent(found.pass_at_1_lo)} to "
        f"{percent(found.pass_at_1_hi)} (exact binomial). Its outcomes by problem are not known, "
        "so the two are compared as independent."
    )


def _curve(document: FitDocument) -> Iterator[Block]:
    header = "k|pass@k|fail@k|s.e. these problems|s.e. such problems|95 % of fail@k|problems"
    rows = []
    for k, passed in document.pass_at_k.items():
        band = document.band.get(k)
        rows.append(
            [
                str(k),
                percent(passed),
                number(document.fail_at_k[k]),
                number(document.se_fixed_set[k]),
                number(document.se_superpopulation[k]),
                span(band.lo, band.hi) if band else "-",
                str(document.support[k]),
            ]
        )
    for k, point in document.partial.items():
        ends = span(1 - point.hi, 1 - point.lo)
        row = [f"{k} *", percent(point.pass_at_k), number(1 - point.pass_at_k), "-", "-", ends]
        rows.append([*row, str(point.problems)])
    yield Table(header.split("|"), rows)
    if document.partial:
        yield Paragraph(
            f"Rows with * are of the problems that have k samples, as the last column says, not of "
            f"all {document.problems}. They may be easier or harder than the rest. The headline "
            "and the slopes do not use them."
        )
    yield Paragraph(
        "There are two standard errors (s.e.), for two questions: these problems and such "
        "problems. The first one is undefined beyond half of the largest k."
    )


def _output_tokens(document: FitDocument) -> Iterator[Block]:
    """What coverage costs, where it is known."""
    yield Heading("Coverage against output tokens")
    found = document.output_tokens
    if not found:
        yield Paragraph(
            "Nobody knows how many output tokens each sample has, so there is no such curve."
        )
        return
    yield Picture("coverage_by_tokens", "pass@k against the output tokens that k tries take.")
    rows = [
        [str(k), f"{tokens:,.0f}", percent(document.pass_at_k[k])]
        for k, tokens in found.at_k.items()
    ]
    yield Table(["k", "output tokens a problem", "pass@k"], rows)
    error = found.standard_error
    shown = "" if error is None else f" (s.e. {error:,.1f}, such problems)"
    yield Paragraph(
        f"A sample has {found.a_sample:,.1f} output tokens, as a mean over problems{shown}. The "
        "table gives k times that: what is expected if each problem gets k samples. So models with "
        "short and with long answers can be compared."
    )


def _fit_table(document: FitDocument) -> Table:
    fits = document.fits
    rows = [
        _fit_row("log-log line (as in the blog)", fits.log_log_line, ("intercept", "slope")),
        _fit_row("pass@k = exp(a k^b)", fits.exp_power, ("a", "b")),
        _fit_row("beta-binomial, maximum likelihood", fits.beta_binomial, ("a", "b")),
        # Where all samples agree it is no more than its prior.
        _fit_row("beta-binomial, MAP", fits.beta_binomial and fits.beta_binomial_map, ("a", "b")),
        _fit_row(
            "zero-inflated beta-binomial", fits.zero_inflated_beta_binomial, ("a", "b", "pi0")
        ),
        _fit_row("scaled beta-binomial (p = s q)", fits.scaled_beta_binomial, ("a", "b", "s")),
    ]
    return Table(["model", "parameters", "-log likelihood"], rows)


def _fit_row(name: str, model: object | None, parameters: Sequence[str]) -> list[str]:
    if model is None:
        return [name, "not fitted: all samples agree, or too many counts differ", "-"]
    shown = ", ".join(f"{p} = {number(getattr(model, p))}" for p in parameters)
    return [name, shown, number(getattr(model, "neg_log_lik", None))]
