"""The report of a fit: report.md, and report.html that carries its figures within.

Both are rendered from the same blocks, drawn from the document of fit.json.
"""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.files import replacing
from toolkit.stats.forecast import COVERAGE, COVERAGE_COMMAND
from toolkit.stats.inference import FLOOR_CRITICAL

MOST_NAMED = 40
"""Unsolved problems that are named one by one."""


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or more; `warning` sets it off."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of results/figures, by its name without suffix."""

    name: str
    caption: str


Block = Heading | Paragraph | Table | Picture


def write_report(document: Mapping[str, Any], counts: pl.DataFrame, out: Path) -> None:
    """Write report.md and report.html into `out`, whose figures/ are drawn already."""
    blocks = list(report_blocks(document, counts))
    title = f"How fail@k falls: {document['title']}"
    for name, text in (
        ("report.md", render_markdown(title, blocks)),
        ("report.html", render_html(title, blocks, out / "figures")),
    ):
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def report_blocks(document: Mapping[str, Any], counts: pl.DataFrame) -> Iterator[Block]:
    """All that a report must state, in order."""
    yield from _warnings(document)
    yield Paragraph(_headline(document))
    yield from _overtaking(document)
    yield Picture(
        "fail_at_k", "fail@k against k, both axes logarithmic; dashed beyond the samples."
    )
    yield Picture("pass_at_k", "pass@k, the share of problems that k tries solve.")
    yield Heading("The unbiased curve")
    yield _curve_table(document)
    yield Paragraph(
        "Two standard errors, of two questions: *these problems* sampled again (undefined beyond "
        "half the largest k), and *such problems*, where the problems are a sample themselves. "
        "The band and all intervals are 95 % and speak of such problems."
    )
    yield Heading("Is it a power law?")
    yield from _power_law(document)
    yield Picture("slope", "The local slope; a power law has the same one everywhere.")
    yield Heading("Fits")
    yield _fit_table(document)
    yield Paragraph(
        "The straight line is kept as in the blog and no more: on real curves its interval holds "
        "the truth a decade further almost never, and its R^2 says nothing."
    )
    yield Heading("Forecast")
    yield _forecast_table(document)
    yield Paragraph(
        "The estimate is that of the beta-binomial (MAP; its prior log a ~ N(log 0.3, 0.75^2) "
        "matches the exponents of public sets, so their agreement is no independent validation). "
        "The interval is the union of its own and of the zero-inflated model's, by a bootstrap "
        f"over problems: {COVERAGE} (`{COVERAGE_COMMAND}`). Beyond ten times the samples nothing "
        "is promised. The bracket needs no model, holds for these problems, and knows no sampling "
        "error."
    )
    yield Heading("The problems")
    yield Picture("difficulty", "Each problem's share of passing samples.")
    yield from _unsolved(counts)
    if document.get("sampling"):
        yield Heading("How it was sampled")
        facts = {**document["sampling"], "output tokens": document["tokens"]}
        yield Table(["", ""], [[k, str(v)] for k, v in facts.items() if v is not None])


def _warnings(document: Mapping[str, Any]) -> Iterator[Block]:
    if not document["complete"]:
        yield Paragraph(
            f"INCOMPLETE: {document['evaluated']} of {document['planned']} planned samples are "
            "evaluated; what follows is made of those. Launch again to complete the run.",
            warning=True,
        )
    if document.get("chosen"):
        yield Paragraph(
            "These problems were chosen to show a slope with a small model: the curve says nothing "
            "about the benchmark they come from.",
            warning=True,
        )


def _headline(document: Mapping[str, Any]) -> str:
    top, low, high = str(document["k_max"]), document["n_min"], document["n_max"]
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    text = (
        f"{document['problems']} problems, {n} samples each: pass@1 = "
        f"{_percent(document['pass_at_k']['1'])}, pass@{top} = "
        f"{_percent(document['pass_at_k'][top])}. {document['unsolved']} problems are unsolved "
        f"(c = 0)."
    )
    if rule := document["stopping"]:
        text += (
            f" Sampling of a problem stopped at its {rule['r']}. pass, looked for after "
            f"{', '.join(map(str, rule['looks']))} samples; the estimates allow for that and reach "
            "the last of these numbers, also for the problems that stopped early."
        )
    return text


def _overtaking(document: Mapping[str, Any]) -> Iterator[Block]:
    """Against one try of a stronger model; only where the problems are all of HumanEval."""
    found = document.get("overtakes")
    if not found:
        return
    level = f"{found['reference']} ({_percent(found['pass_at_1'])})"
    if found["k"] is None:
        text = f"No k up to 10^7 is expected to reach {level}"
    elif found["k"] <= document["k_max"]:
        text = f"pass@k reaches {level} at k = {found['k']:,}"
    else:
        text = f"pass@k is expected to reach {level} at k = {found['k']:,}, beyond the samples"
    low, high = (f"{v:,}" if v is not None else "never" for v in (found["lo"], found["hi"]))
    yield Paragraph(f"{text}; 95 %, such problems: {low} to {high}.")


def _curve_table(document: Mapping[str, Any]) -> Table:
    header = "k|pass@k|fail@k|s.e. these problems|s.e. such problems|95 % of fail@k|problems"
    rows = []
    for k, passed in document["pass_at_k"].items():
        band = document["band"].get(k)
        rows.append(
            [
                k,
                _percent(passed),
                _number(document["fail_at_k"][k]),
                _number(document["se_fixed_set"][k]),
                _number(document["se_superpopulation"][k]),
                _range(band["lo"], band["hi"]) if band else "-",
                str(document["support"][k]),
            ]
        )
    return Table(header.split("|"), rows)


def _power_law(document: Mapping[str, Any]) -> Iterator[Block]:
    verdict = document["power_law"]
    if verdict["supported"]:
        yield Paragraph(
            "A power law is supported over the k seen here: nothing below speaks against it."
        )
    else:
        reasons = "; ".join(verdict["reasons"])
        yield Paragraph(f"A power law is not supported: {reasons}.", warning=True)
    rows = [
        [f"{s['from']} to {s['to']}", _number(s["estimate"]),
         _range(s["lo"], s["hi"])]
        for s in document["slopes"]
    ]  # fmt: skip
    if rows:
        yield Table(["k", "slope", "95 %"], rows)
    else:
        yield Paragraph("No whole decade of k has a slope that can be estimated.")
    exponent = document["exponent"]
    yield Paragraph(
        f"The beta-binomial (MAP) tends to a slope of -{_number(exponent['estimate'])} (95 %: "
        f"-{_number(exponent['hi'])} to -{_number(exponent['lo'])}); a measured slope that is not "
        "there yet is no contradiction."
    )
    yield Paragraph(
        f"Goodness of fit of the beta-binomial, by parametric bootstrap: "
        f"p = {document['goodness_of_fit']:.3f}."
    )
    ratio = document["floor_likelihood_ratio"]
    if ratio is not None:
        found = "a floor is found" if ratio > FLOOR_CRITICAL else "no floor is found"
        yield Paragraph(
            f"Likelihood-ratio test for problems that can never be solved: {ratio:.2f}; {found} "
            f"(critical at 5 %: {FLOOR_CRITICAL}). The test is weak: a floor of 3 % is found with "
            "power .20, .47 and .76 at n = 100, 1,000 and 10,000."
        )


def _fit_table(document: Mapping[str, Any]) -> Table:
    names = {
        "log_log_line": "log-log line (as in the blog)",
        "exp_power": "pass@k = exp(a k^b)",
        "beta_binomial": "beta-binomial, maximum likelihood",
        "beta_binomial_map": "beta-binomial, MAP",
        "zero_inflated_beta_binomial": "zero-inflated beta-binomial",
        "scaled_beta_binomial": "scaled beta-binomial (p = s q)",
    }
    rows = []
    for key, name in names.items():
        found = document["fits"].get(key)
        parameters = {
            k: v
            for k, v in (found or {}).items()
            if k in ("intercept", "slope", "a", "b", "s") or (k == "pi0" and "zero" in key)
        }
        shown = ", ".join(f"{k} = {_number(v)}" for k, v in parameters.items())
        likelihood = _number(found.get("neg_log_lik")) if found else "-"
        rows.append([name, shown or "no maximum: all samples agree", likelihood])
    return Table(["model", "parameters", "-log likelihood"], rows)


def _forecast_table(document: Mapping[str, Any]) -> Table:
    rows = []
    for k, forecast in document["forecast"].items():
        if int(k) < document["k_max"]:
            continue
        bracket = document["bracket"].get(k)
        rows.append(
            [
                k,
                _number(forecast["estimate"]),
                _range(forecast["lo"], forecast["hi"]),
                _number(document["same_problems"][k]),
                _range(bracket["lower"], bracket["upper"]) if bracket else "-",
            ]
        )
    return Table(["k", "fail@k", "95 %, such problems", "these problems", "bracket"], rows)


def _unsolved(counts: pl.DataFrame) -> Iterator[Block]:
    names = counts.filter((pl.col("n") > 0) & (pl.col("c") == 0))["task_id"].to_list()
    shown = ", ".join(names[:MOST_NAMED])
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    if names:
        yield Paragraph(f"Unsolved: {shown}{rest}.")
    else:
        yield Paragraph("Every problem with samples is solved at least once.")
    if empty := counts.filter(pl.col("n") == 0)["task_id"].to_list():
        yield Paragraph(f"Without any sample, and left out: {', '.join(empty)}.", warning=True)


def render_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; figures by their path."""
    parts = [f"# {title}"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"## {text}")
            case Paragraph(text, warning):
                parts.append(f"> **{text}**" if warning else text)
            case Table(header, rows):
                lines = [header, ["---"] * len(header), *rows]
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
            case Picture(name, caption):
                parts.append(f"![{caption}](figures/{name}.png)\n\n*{caption}*")
    return "\n\n".join(parts) + "\n"


CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0;
        font-size: .875rem }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
figure { margin: 1.2rem 0 } img { max-width: 100% } figcaption { color: #555; font-size: .875rem }
.warning { border-left: 4px solid #d55e00; padding: .5rem .9rem; background: #fdf3ec }
"""


def render_html(title: str, blocks: Sequence[Block], figures: Path) -> str:
    """One file that needs no other: the figures are within, as SVG."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h2>{html.escape(text)}</h2>")
            case Paragraph(text, warning):
                kind = ' class="warning"' if warning else ""
                parts.append(f"<p{kind}>{html.escape(text).replace('*', '')}</p>")
            case Table(header, rows):
                body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
                parts.append(f"<table><tr>{cells('th', header)}</tr>{body}</table>")
            case Picture(name, caption):
                data = base64.b64encode((figures / f"{name}.svg").read_bytes()).decode()
                parts.append(
                    f'<figure><img alt="{html.escape(caption)}" '
                    f'src="data:image/svg+xml;base64,{data}">'
                    f"<figcaption>{html.escape(caption)}</figcaption></figure>"
                )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{CSS}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _range(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}"
