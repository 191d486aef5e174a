"""What the sample browser shows of a run: an index of its problems, and a block for each.

Everything is plain JSON values. `toolkit.report.browse_page` joins them into one HTML file, and
`browse/app.js` reads them. Completions are kept as text; nothing here takes answers from them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from toolkit.records import Judge, Problem
from toolkit.report.browse_question import question
from toolkit.runs.answers import mapped_slices
from toolkit.runs.completions import completion_facts, of_problem, read_texts
from toolkit.runs.outcomes import counts_of, in_order, judged_answers, judged_groups
from toolkit.runs.run import Run
from toolkit.runs.verdicts import other_judges, undecided_verdicts

FEWEST_SHARED = 20
"""Characters at its end by which an answer is written as a part of its completion."""
MOST_SAMPLES = 200_000
"""Of a run with more samples, only the most frequent answers are kept."""
MOST_ANSWERS = 50
"""The answers of a problem that are then kept."""
TEXT_BYTES = 64 << 20
"""The most that all completions of a page may hold, in UTF-8. Compressed that is some 20 MB."""
TEXT_CHARACTERS = 4_000_000
"""Of one completion. Of a longer one, the beginning is kept."""
HINT_CHARACTERS = 400
"""Of a prompt, for the search over all problems."""
JUDGED_CHARACTERS = 1_000_000
"""Of an answer's text. A longer one is not shown beside the completion."""
LETTERS = {"stop": "s", "length": "l", "abort": "a"}
"""How a block writes a finish reason."""

_KEY = ("task_id", "read", "answer", "loose")
"""What tells answers apart. Completions whose answers were not read are apart by their text."""


Judged = Callable[[Problem, str, int], str | None]
"""Problem, completion, digest of an answer -> the answer's text; None if it is not found."""


@dataclass(frozen=True, slots=True)
class BrowseData:
    """head: what is said of the whole run. problems: the index, a row for each problem in order.

    blocks: what a problem's page shows, for each problem in order; to be read once.
    """

    head: dict[str, Any]
    problems: list[dict[str, Any]]
    blocks: Iterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Samples:
    """facts: one row for each sample, with the problem's index and its answer's rank.

    answers: one row for each answer, all of them, the most frequent first. counts: those of each
    problem by the run's own judge; None where nothing is evaluated. verdicts: for each judge its
    verdicts of distinct answers. kept: how many answers of a problem the page holds.
    """

    facts: pl.DataFrame
    answers: pl.DataFrame
    counts: pl.DataFrame | None
    verdicts: list[pl.DataFrame]
    kept: int | None


def browse_data(
    run: Run,
    title: str,
    judges: Mapping[str, Judge],
    *,
    judged: Judged | None = None,
    only: str | None = None,
    text_bytes: int = TEXT_BYTES,
) -> BrowseData:
    """Read a run. judges: name -> judge; the first one is the run's own, whose passes are counted.

    judged: what finds the answer in a completion. Without it, the page shows completions only.
    only: the task_id of the one problem that is wanted.

    A sample without a verdict is shown as not judged, one that could not be decided as an error.
    Raises `CorruptShard` for a damaged file.
    """
    problems = [p for p in run.problems() if only in (None, p.task_id)]
    samples = _read(run, problems, list(judges.values()), only)
    texts, left_out = _texts(run, samples, text_bytes)
    head = {
        "title": title,
        "kind": problems[0].kind if problems else "",
        "style": run.prompt_style(),
        "judges": [{"name": name, "line": judge.line()} for name, judge in judges.items()],
        "adaptive": run.stopping_rule() is not None,
        "samples": samples.facts.height,
        "most_answers": samples.kept,
        "texts_left_out": left_out,
    }
    own = next(iter(judges.values()))
    decided = any(_decided(v).height for v in samples.verdicts[:1])
    head["other_judges"] = [] if decided else other_judges(run, own)
    index = _index(problems, samples)
    find = judged or (lambda problem, completion, digest: None)
    return BrowseData(head, index, _blocks(problems, samples, texts, run.prompt_style(), find))


def _read(
    run: Run, problems: Sequence[Problem], judges: Sequence[Judge], only: str | None
) -> _Samples:
    loose = pl.when("read").then(pl.lit(0, pl.UInt64)).otherwise("text").alias("loose")
    facts = completion_facts(run, only).with_columns(loose)
    order = pl.DataFrame({"task_id": [p.task_id for p in problems]}).with_row_index("problem")
    answers = (
        facts.group_by(_KEY)
        .agg(pl.len().alias("samples"), pl.col("seed").min().alias("first"))
        .join(order, on="task_id")
        .sort("problem", "samples", "first", descending=[False, True, False])
        .with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).over("problem").alias("rank"))
    )
    ranks = answers.select(*_KEY, "problem", "rank")
    counts, verdicts = _judged(run, judges, only)
    return _Samples(
        facts.join(ranks, on=_KEY, nulls_equal=True).sort("problem", "rank", "seed"),
        answers,
        counts,
        verdicts,
        MOST_ANSWERS if facts.height > MOST_SAMPLES else None,
    )


def _judged(
    run: Run, judges: Sequence[Judge], only: str | None
) -> tuple[pl.DataFrame | None, list[pl.DataFrame]]:
    """The counts by the first judge, and the verdicts of each; nothing where nothing is read."""
    mapped = of_problem(mapped_slices(run), only)
    if not mapped:
        return None, []
    own = list(judged_groups(run, judges[0], mapped))
    rule = run.stopping_rule()
    counts = in_order(run, [counts_of(run, group, rule) for group in own])
    verdicts = [pl.concat(group.answers for group in own)]
    verdicts += [judged_answers(run, judge, mapped) for judge in judges[1:]]
    pairs = zip(verdicts, judges, strict=True)
    return counts, [_with_errors(found, undecided_verdicts(run, judge)) for found, judge in pairs]


def _with_errors(verdicts: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """With the outcome `error` where a judge could not decide."""
    if errors.is_empty():
        return verdicts
    told, key = ("outcome", "kind", "detail", "suspect", "canonical"), ["task_id", "answer"]
    found = verdicts.join(
        errors.select(*key, *told), on=key, how="left", suffix="_error", maintain_order="left"
    )
    return found.with_columns(pl.coalesce(name, f"{name}_error") for name in told).select(
        verdicts.columns
    )


def _decided(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The answers that have passed or failed."""
    return verdicts.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "error"))


def _texts(run: Run, samples: _Samples, most: int) -> tuple[pl.DataFrame, int]:
    """problem, text, completion, index of the kept texts; and how many there is no room for.

    First come the most frequent texts of all answers, then their second ones, and so on.
    """
    kept = samples.facts if samples.kept is None else _below(samples.facts, samples.kept)
    length = pl.min_horizontal("bytes", 4 * TEXT_CHARACTERS).cast(pl.UInt64)
    distinct = (
        kept.group_by("problem", "rank", "text")
        .agg(
            pl.len().alias("times"),
            pl.col("bytes").first(),
            pl.col("seed", "task_id", "slice").sort_by("seed").first(),
        )
        .sort("problem", "rank", "times", "seed", descending=[False, False, True, False])
        .with_columns(pl.int_range(pl.len()).over("problem", "rank").alias("turn"))
        .sort("turn", "rank", "problem")
    )
    chosen = distinct.filter(length.cum_sum() <= most)
    texts = (
        read_texts(run, chosen, TEXT_CHARACTERS)
        .sort("problem", "completion", "seed")  # texts that are alike compress well side by side
        .with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).over("problem").alias("index"))
    )
    return texts.select("problem", "text", "completion", "index"), distinct.height - chosen.height


def _below(frame: pl.DataFrame, rank: int) -> pl.DataFrame:
    return frame.filter(pl.col("rank") < rank)


def _index(problems: Sequence[Problem], samples: _Samples) -> list[dict[str, Any]]:
    """The row of each problem."""
    facts = samples.facts.group_by("problem").agg(
        pl.len().alias("samples"),
        pl.col("n_tokens").mean().alias("tokens"),
        pl.col("n_tokens").null_count().alias("unknown"),
        *((pl.col("finish_reason") == name).sum().alias(name) for name in LETTERS),
    )
    sampled = {row["problem"]: row for row in facts.iter_rows(named=True)}
    distinct = dict(samples.answers.group_by("problem").len().iter_rows())
    none = {"n": 0, "c": 0, "suspect": 0}
    found = samples.counts
    counts = {} if found is None else {r["task_id"]: r for r in found.iter_rows(named=True)}
    kinds = _kinds(samples.verdicts[0]) if samples.verdicts else {}
    beside = [_passes(verdicts) for verdicts in samples.verdicts[1:]]
    rows = []
    for i, problem in enumerate(problems):
        here, count = sampled.get(i), counts.get(problem.task_id, none)
        told = here is not None and not here["unknown"]
        rows.append(
            {
                "id": problem.task_id,
                "hint": _hint(problem.prompt),
                **{name: count[name] for name in none},
                "samples": here["samples"] if here else 0,
                "answers": distinct.get(i, 0),
                "tokens": round(here["tokens"], 1) if here and told else None,
                "ends": [here[name] if here else 0 for name in LETTERS],
                "kinds": kinds.get(problem.task_id, {}),
                "beside": [passes.get(problem.task_id, [0, 0]) for passes in beside],
            }
        )
    return rows


def _hint(prompt: str) -> str:
    """The beginning of a prompt in one line, without imports."""
    lines = prompt[: 10 * HINT_CHARACTERS].splitlines()
    told = (line for line in lines if not line.startswith(("from ", "import ")))
    return " ".join(" ".join(told).split())[:HINT_CHARACTERS]


def _kinds(verdicts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """task_id -> kind of failure (or the outcome, where it has none) -> samples."""
    kind = pl.col("kind").cast(pl.String)
    ended = pl.when(kind != "").then(kind).otherwise(pl.col("outcome").cast(pl.String))
    rows = (
        verdicts.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "passed"))
        .group_by("task_id", ended.alias("end"))
        .agg(pl.col("samples").sum())
        .sort("task_id", "end")
    )
    found: dict[str, dict[str, int]] = {}
    for task_id, end, number in rows.iter_rows():
        found.setdefault(task_id, {})[end] = number
    return found


def _passes(verdicts: pl.DataFrame) -> dict[str, list[int]]:
    """task_id -> [samples with a verdict, passes of them]."""
    number = pl.col("samples")
    rows = verdicts.group_by("task_id").agg(
        number.filter(pl.col("outcome") != "error").sum().alias("n"),
        number.filter(pl.col("outcome") == "passed").sum().alias("c"),
    )
    return {task_id: [n, c] for task_id, n, c in rows.iter_rows()}


def _blocks(
    problems: Sequence[Problem],
    samples: _Samples,
    texts: pl.DataFrame,
    style: str,
    find: Judged,
) -> Iterator[dict[str, Any]]:
    answers = samples.answers
    for verdict_of, verdicts in enumerate(samples.verdicts):
        answers = answers.join(
            verdicts.select(
                pl.lit(True).alias("read"),
                "task_id",
                "answer",
                "canonical",
                pl.struct("outcome", "kind", "detail", "suspect").alias(f"by{verdict_of}"),
            ),
            on=["read", "task_id", "answer"],
            how="left",
            nulls_equal=True,
            suffix=f"{verdict_of}",
            maintain_order="left",
        )
    facts = samples.facts
    total = dict(answers.group_by("problem").len().iter_rows())
    if samples.kept is not None:
        answers, facts = _below(answers, samples.kept), _below(facts, samples.kept)
    facts = facts.join(
        texts.select("problem", "text", "index"), on=["problem", "text"], how="left"
    ).sort("problem", "rank", "seed")
    by_problem = [
        {key[0]: rows for key, rows in frame.partition_by("problem", as_dict=True).items()}
        for frame in (answers, facts, texts)
    ]
    for i, problem in enumerate(problems):
        own = (part.get(i) for part in by_problem)
        found = _block(own, total.get(i, 0), len(samples.verdicts))
        _add_judged(found, problem, find)
        yield question(problem, style) | found


def _block(own: Iterable[pl.DataFrame | None], total: int, judges: int) -> dict[str, Any]:
    """The answers, texts and samples of one problem, samples in the order of their answers.

    own: its answers, its samples and its texts; None where there are none. total: how many answers
    it has. judges: how many have verdicts.
    """
    answers, facts, texts = own
    if answers is None or facts is None:
        return {"answers": [], "texts": [], "seeds": [], "text": [], "ends": "", "left_out": 0}
    tokens = facts["n_tokens"]
    block: dict[str, Any] = {
        "answers": [_answer(row, judges) for row in answers.iter_rows(named=True)],
        "texts": texts["completion"].to_list() if texts is not None else [],
        "seeds": facts["seed"].to_list(),
        "text": facts["index"].cast(pl.Int64).fill_null(-1).to_list(),
        "ends": "".join(LETTERS[end] for end in facts["finish_reason"]),
        "left_out": total - answers.height,
    }
    return block if tokens.null_count() == len(tokens) else block | {"tokens": tokens.to_list()}


def _add_judged(block: dict[str, Any], problem: Problem, find: Judged) -> None:
    """Add to each answer what of its first kept text was judged, where that is something else.

    `prompt`: the prompt and the completion. Or [text, part, from, to]: the part of this number in
    the block's `parts`, and after it the text from one UTF-16 unit to another.
    """
    parts: dict[str, int] = {}
    at = 0
    for answer in block["answers"]:
        first = next((t for t in block["text"][at : at + answer["samples"]] if t >= 0), -1)
        at += answer["samples"]
        if first < 0 or not re.fullmatch(r"[0-9a-f]{16}", answer["key"]):
            continue
        completion = block["texts"][first]
        text = find(problem, completion, int(answer["key"], 16))
        if text is None or text == completion or len(text) > JUDGED_CHARACTERS:
            continue
        if text in (problem.prompt + completion, problem.prompt.rstrip("\n") + completion):
            answer["judged"] = "prompt"
            continue
        before, start, end = _split(text, completion)
        answer["judged"] = [first, parts.setdefault(before, len(parts)), start, end]
    block["parts"] = list(parts)


def _split(text: str, completion: str) -> tuple[str, int, int]:
    """What stands before the part of a completion with which a text ends, and that part."""
    low, high = 0, len(text)
    while low < high:  # if a tail is in the completion, so is each shorter one
        middle = (low + high) // 2
        low, high = (low, middle) if text[middle:] in completion else (middle + 1, high)
    at = completion.find(text[low:])
    if len(text) - low < FEWEST_SHARED:
        return text, 0, 0
    start = _units(completion[:at])
    return text[:low], start, start + _units(text[low:])


def _units(text: str) -> int:
    """The length of a text in UTF-16, as JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _answer(row: dict[str, Any], judges: int) -> dict[str, Any]:
    """An answer: its key in links, its samples, its form, and [outcome, kind, detail, suspect]."""
    key = f"seed-{row['first']}"
    if row["read"]:
        key = "none" if row["answer"] is None else f"{row['answer']:016x}"
    found = [row[f"by{i}"] for i in range(judges)]
    told = [
        v and v["outcome"] and [v["outcome"], v["kind"], v["detail"], v["suspect"]] for v in found
    ]
    return {
        "key": key,
        "samples": row["samples"],
        "form": row.get("canonical") or "",
        "by": [verdict or None for verdict in told],
    }
