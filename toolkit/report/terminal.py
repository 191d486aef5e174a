"""What a terminal shows of a fit: the table of its curve, its verdict, and where its report is."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.cli import how_many, job_command, samples_each
from toolkit.errors import CorruptShard
from toolkit.report.browse_data import BrowseData
from toolkit.report.browse_page import BROWSE_HTML, browser_seen_from
from toolkit.report.document import FIT_JSON, FitDocument, read_fit
from toolkit.runs.run import Run


def describe_results(run: Run) -> str:
    """The table of a finished run and where its report is. Raises `CorruptShard` without one."""
    path = run.results_dir / FIT_JSON
    if not path.is_file():
        raise CorruptShard(f"{path}: missing: run `{job_command('fit')} {run.path}`")
    return describe_fit(read_fit(run.results_dir), run.results_dir)


def results_complete(run: Run) -> bool:
    """Whether the results are there and miss nothing that was planned."""
    return (run.results_dir / FIT_JSON).is_file() and read_fit(run.results_dir).complete


def describe_fit(document: FitDocument, folder: Path) -> str:
    """The table of a document, and where `folder` has its report."""
    rows = [f"{'k':>6}  {'pass@k':>8}  {'fail@k':>8}  {'95 % of pass@k, such problems':>30}"]
    for k, passed in document.pass_at_k.items():
        band = document.band.get(k)
        shown = f"{1 - band.hi:.4f} to {1 - band.lo:.4f}" if band else "-"
        rows.append(f"{k:>6}  {passed:8.4f}  {1 - passed:8.4f}  {shown:>30}")
    rows += [
        f"{k:>6}  {point.pass_at_k:8.4f}  {1 - point.pass_at_k:8.4f}  "
        f"{f'{point.lo:.4f} to {point.hi:.4f}':>30}  * of {how_many(point.problems, 'problem')}"
        for k, point in document.partial.items()
    ]
    rows += [
        "",
        f"{how_many(document.problems, 'problem')}, {_samples(document)}, "
        f"{document.unsolved} unsolved",
    ]
    if not document.complete:
        rows.append(f"INCOMPLETE: {document.evaluated} of {document.planned} samples are evaluated")
        if document.out_of_budget:
            rows.append(document.out_of_budget)
    if document.roof:
        rows.append(f"speed: {document.roof.speed_line()}")
    rows += _suspect_lines(document)
    if document.short:
        named = ", ".join(f"{task_id} (n = {n})" for task_id, n in [*document.short.items()][:5])
        more = f" and {len(document.short) - 5} more" if len(document.short) > 5 else ""
        rows.append(f"FEW SAMPLES, so that the curve ends at k = {document.k_max}: {named}{more}")
    rows.append(f"power law: {document.power_law.verdict}")
    rows += [f"  - {reason}" for reason in document.power_law.reasons]
    rows.append(f"report: {_shortest(folder / 'report.html')}")
    if page := browser_seen_from(folder):
        place = folder / page if page == BROWSE_HTML else folder.parent / BROWSE_HTML
        rows.append(f"samples: {_shortest(place)}")
    return "\n".join(rows)


def describe_browser(path: Path, data: BrowseData) -> str:
    """Where the page of a run's samples is, what it holds, and what it left out."""
    head = data.head
    problems = how_many(len(data.problems), "problem")
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    rows = [
        f"samples: {_shortest(path)} ({problems}, {how_many(head['samples'], 'sample')}, {size})"
    ]
    if most := head["most_answers"]:
        rows.append(f"LEFT OUT: all but the {most} most frequent answers of each problem")
    if gone := head["texts_left_out"]:
        rows.append(f"LEFT OUT: the texts of {how_many(gone, 'completion')}, for want of room")
    if others := head["other_judges"]:
        rows.append(f"NOT JUDGED by {head['judges'][0]['line']}, but by: {'; '.join(others)}")
    return "\n".join(rows)


def _suspect_lines(document: FitDocument) -> Iterator[str]:
    """How many passes are suspect, and the headline without them; nothing where none is."""
    if document.taxonomy and document.taxonomy.suspect_passes:
        yield f"SUSPECT: {document.taxonomy.suspect_line()}"
    if found := document.without_suspect:
        shown = (f"pass@{k} {v:.4f}, not {document.pass_at_k[k]:.4f}" for k, v in found.items())
        yield f"without them: {'; '.join(shown)}"


def _samples(document: FitDocument) -> str:
    n, rule = samples_each(document.n_min, document.n_max), document.stopping
    return f"{n} (stopped at {how_many(rule.r, 'pass', 'passes')})" if rule else n


def _shortest(path: Path) -> Path:
    try:
        here = Path.cwd()
    except OSError:  # it is there no more
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path
