"""Why one problem fails, for a terminal: counts, the most frequent reasons, and one completion.

What a model has written is hostile. So no character reaches the terminal that could move its
cursor, turn a line round or hide: it is written out, as in `\\x1b`.
"""

import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from toolkit.cli import how_many
from toolkit.report.browse_data import BrowseData
from toolkit.report.browse_page import BROWSE_HTML
from toolkit.runs.run import Run

MOST_REASONS = 8
MOST_LINES = 60
"""Of a completion."""
MOST_CHARACTERS = 200
"""Of a line, a name or a detail."""

_NOT_JUDGED = ("not judged", "")
_UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode's categories of what is no letter, mark, sign or blank."""


def describe_problem(data: BrowseData, run: Run) -> str:
    """The problem that `data` holds alone."""
    (row,), (block,) = data.problems, data.blocks
    answers = list(_with_texts(block))
    lines = [_head(row), *_counts(row, data.head)]
    failed = [each for each in answers if _reason(each) and _reason(each) != ("passed", "")]
    if failed:
        lines += ["", "why its samples fail, the most frequent reason first:", *_reasons(failed)]
    chosen = _most_of_the_first_reason(failed) if failed else next(iter(answers), None)
    if chosen:
        lines += ["", *_completion(chosen)]
    page = run.results_dir / BROWSE_HTML
    if page.is_file():
        lines += ["", f"all answers: {_line(str(page))}#{quote(row['id'])}"]
    return "\n".join(lines)


def shown(text: str) -> str:
    """The text without what a terminal obeys; line ends and tabs stay."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _written(c) for c in text
    )


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _line(text: str) -> str:
    """In one line, cut where it is long."""
    text = " ".join(text[: 2 * MOST_CHARACTERS].split())
    return shown(text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ...")


def _head(row: dict[str, Any]) -> str:
    answers = how_many(row["answers"], "distinct answer")
    if not row["samples"]:
        return f"{_line(row['id'])}: no samples yet"
    if not row["n"]:
        return f"{_line(row['id'])}: {how_many(row['samples'], 'sample')}, {answers}"
    passed = f"{row['c']:,} of {how_many(row['n'], 'sample')} passed"
    return f"{_line(row['id'])}: {passed}, {answers}"


def _counts(row: dict[str, Any], head: dict[str, Any]) -> Iterator[str]:
    kinds = sorted(row["kinds"].items(), key=lambda each: (-each[1], each[0]))
    errors = row["kinds"].get("error", 0)
    found = [f"{kind.replace('_', ' ')} {number:,}" for kind, number in kinds if kind != "error"]
    if found:
        yield f"failures: {', '.join(found)}"
    if errors:
        yield f"errors of the judge, which are no failures: {errors:,}"
    if waiting := row["samples"] - row["n"] - errors:
        yield f"not judged, or beyond where sampling stopped: {waiting:,}"
    if row["suspect"]:
        yield f"suspect passes: {row['suspect']:,}"
    if row["ends"][1]:
        yield f"cut at max_tokens: {row['ends'][1]:,}"
    for judge, (n, c) in zip(head["judges"][1:], row["beside"], strict=True):
        yield f"by {_line(judge['name'])}: {c:,} of {n:,} passed"
    for other in head["other_judges"]:
        yield f"no verdict of this judge, but of: {_line(other)}"


def _with_texts(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Its answers, each with its first text and that sample's seed; the most frequent first."""
    at = 0
    for answer in block["answers"]:
        own = range(at, at := at + answer["samples"])
        text = next((i for i in own if block["text"][i] >= 0), None)
        yield answer | {
            "seed": block["seeds"][own[0] if text is None else text],
            "text": None if text is None else block["texts"][block["text"][text]],
            "part": None if text is None else _judged(block, answer),
        }


def _judged(block: dict[str, Any], answer: dict[str, Any]) -> str | None:
    """What was compared, where it is a short text and not the end of the completion."""
    place = answer.get("judged")
    return block["parts"][place[1]] if isinstance(place, list) and place[2:] == [0, 0] else None


def _reason(answer: dict[str, Any]) -> tuple[str, str] | None:
    """What became of it: `passed`, a kind or an outcome, and the detail. None: not judged."""
    verdict = answer["by"][0] if answer["by"] else None
    if not verdict:
        return None
    outcome, kind, detail, _ = verdict
    return (kind or outcome, "" if outcome == "passed" else detail)


def _reasons(failed: list[dict[str, Any]]) -> Iterator[str]:
    found = _by_reason(failed)
    for (kind, detail), answers in found[:MOST_REASONS]:
        samples = sum(answer["samples"] for answer in answers)
        told = f": {_line(detail)}" if detail else ""
        yield f"{samples:>7,}  {kind.replace('_', ' ')}{told}"
    if more := found[MOST_REASONS:]:
        samples = sum(answer["samples"] for _, answers in more for answer in answers)
        yield f"{samples:>7,}  by {how_many(len(more), 'other reason')}"


def _by_reason(
    failed: list[dict[str, Any]],
) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    """(kind, detail) with its answers; those with the most samples first."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for answer in failed:
        reason = _reason(answer)
        assert reason is not None
        found.setdefault(reason, []).append(answer)
    return sorted(found.items(), key=lambda each: -sum(a["samples"] for a in each[1]))


def _most_of_the_first_reason(failed: list[dict[str, Any]]) -> dict[str, Any]:
    return _by_reason(failed)[0][1][0]


def _completion(answer: dict[str, Any]) -> Iterator[str]:
    reason = _reason(answer) or _NOT_JUDGED
    yield f"one of them, seed {answer['seed']} ({reason[0].replace('_', ' ')}):"
    if answer["text"] is None:
        yield "    (its text is too long)"
        return
    lines = answer["text"].rstrip("\n").split("\n")
    for line in lines[:MOST_LINES]:
        cut = f"{line[:MOST_CHARACTERS]} ..." if len(line) > MOST_CHARACTERS else line
        yield f"  | {shown(cut)}".rstrip()
    if len(lines) > MOST_LINES:
        yield f"  ... and {how_many(len(lines) - MOST_LINES, 'more line')}"
    if answer["part"]:
        yield f"judged of it: {_line(answer['part'])}"
