"""The report's section on what became of the samples: kinds of failure, what was cut."""

from collections.abc import Iterator

from toolkit.cli import how_many
from toolkit.report.blocks import Block, Heading, Paragraph, Picture, Table, percent, plain
from toolkit.report.document import FitDocument
from toolkit.runs.taxonomy import Taxonomy, in_words

MOST_SUSPECT = 10
"""Problems with suspect passes that are named one by one."""
MUCH_CUT = 0.02
"""From this share of samples on that ended at max_tokens, the report begins with it."""


def outcome_warnings(document: FitDocument) -> Iterator[Block]:
    """How many passes are suspect, and how many samples were cut, if many; nothing without."""
    if found := document.taxonomy:
        yield from _suspect_warning(found)
        yield from _cut_warning(document, found)


def _cut_warning(document: FitDocument, found: Taxonomy) -> Iterator[Block]:
    cut = sum(found.cut.values())
    if cut < MUCH_CUT * found.samples:
        return
    limit = document.sampling.max_tokens if document.sampling else None
    at = f"max_tokens = {limit:,}" if limit else "max_tokens"
    yield Paragraph(
        f"{percent(cut / found.samples)} of the samples ({cut:,} of {found.samples:,}) ended at "
        f"{at} before they were finished. They count as what they are, mostly failures. With a "
        "larger --max-tokens the curve may lie higher.",
        warning=True,
    )


def _suspect_warning(found: Taxonomy) -> Iterator[Block]:
    """How many passes are suspect, of which problems, and how to list them; nothing without one."""
    if not found.suspect_passes:
        return
    named = list(found.suspect_problems.items())
    shown = ", ".join(f"{plain(task_id)} ({passes})" for task_id, passes in named[:MOST_SUSPECT])
    rest = f" and {len(named) - MOST_SUSPECT} more" if len(named) > MOST_SUSPECT else ""
    one = found.suspect_passes == 1
    they = "This program passed, but it reaches" if one else "These programs passed, but they reach"
    its, of = ("its own values", "It is") if one else ("their own values", "They are")
    problems = "this problem" if len(named) == 1 else "these problems"
    games = "as a model does that games its tests"
    yield Paragraph(
        f"{found.suspect_line()}. {they} beyond {its}, {games}. {of} of {problems}: {shown}{rest}. "
        "docs/judging.md says what the reasons mean.",
        warning=True,
    )
    yield Paragraph(
        "To list them: `python analysis/outcomes.py RUN --out outcomes.parquet`, then in Python "
        '`pl.read_parquet("outcomes.parquet").filter(pl.col("suspect").list.len() > 0)`.'
    )


def outcome_blocks(document: FitDocument) -> Iterator[Block]:
    """The kinds of failure and their shares; nothing without a run."""
    found = document.taxonomy
    if not found:
        return
    yield Heading("What became of the samples")
    yield Picture(
        "outcomes", "Shares of the samples: passed, or the kind of failure; hatched: cut."
    )
    rows = [
        [in_words(kind), f"{samples:,}", found.share(kind), f"{found.cut.get(kind, 0):,}"]
        for kind, samples in found.kinds.items()
    ]
    yield Table(["outcome", "samples", "share", "of them cut"], rows)
    yield Paragraph(_cut(document, found))
    if found.exceptions:
        others = found.kinds.get("exception", 0) - sum(found.exceptions.values())
        rows = [[plain(name), f"{samples:,}"] for name, samples in found.exceptions.items()]
        yield Table(["exception", "samples"], rows + [["others", f"{others:,}"]] * (others > 0))
    if not found.suspect_passes:
        yield Paragraph("No pass is suspect.")


def _cut(document: FitDocument, found: Taxonomy) -> str:
    """How many samples ended at max_tokens, as far as that is known."""
    cut = sum(found.cut.values())
    if not cut and document.sampling and document.sampling.backend == "ingest":
        return "Whether samples were cut at max_tokens is not known: they were made elsewhere."
    are = "is" if cut == 1 else "are"
    return (
        f"{how_many(cut, 'sample')} of {found.samples:,} ({percent(cut / found.samples)}) {are} "
        "*cut*: ended at max_tokens (finish reason: length). Where many samples of a kind are cut, "
        "a larger --max-tokens may mend them."
    )
