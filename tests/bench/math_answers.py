"""Mathematical answers judged per second: in the sandbox, and by math-verify in one process.

The two run alternately, on the same cores. math-verify is called as its README says: on the whole
response, with its own time limits, without any isolation.
"""

import gzip
import json
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from toolkit.records import Answer, Judge, JudgeChoice, Problem, answer_digest
from toolkit.verifiers.math_answer import MathAnswer

ROOT = Path(__file__).resolve().parents[2]
GRADED = ROOT.parent / "shared/data/tasks/math-graded/open"
SETS = {
    "8 samples each of 49 MATH problems": "qwen_math_cot_100x8.jsonl.gz",
    "129 MATH problems, a sample each": "realcritic_math.jsonl.gz",
    "135 olympiad problems, a sample each": "realcritic_olympiadbench.jsonl.gz",
}
WORKERS = 2
ROUNDS = 3
RULE = "boxed | last_math"
Row = tuple[str, str]
"""The right answer, and a response."""


def bench() -> Iterator[dict[str, object]]:
    """The rows of the table, each as soon as it is measured."""
    if not GRADED.is_dir():
        yield {"case": "graded MATH answers", "skipped": f"they are not at {GRADED}"}
        return
    for case, name in SETS.items():
        with gzip.open(GRADED / name, "rt") as file:
            rows = [(row["gold"], row["response"]) for row in map(json.loads, file)]
        yield _compare(case, rows)


def _compare(case: str, rows: list[Row]) -> dict[str, object]:
    run_math_verify(rows[:5])  # its imports, and the tables of its parser
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        seconds, distinct = run_ours(rows)
        ours.append(seconds)
        theirs.append(run_math_verify(rows))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "case": case,
        "samples": len(rows),
        "distinct answers": distinct,
        "ours, samples a second": round(len(rows) / statistics.median(ours)),
        "ours, answers a second": round(distinct / statistics.median(ours)),
        "math-verify alone, samples a second": round(len(rows) / statistics.median(theirs)),
        "ratio": round(statistics.median(ratios), 2),
        "spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
    }


def run_ours(rows: list[Row], workers: int = WORKERS) -> tuple[float, int]:
    """Seconds from the responses to all verdicts, and the number of distinct answers.

    Without the start of the workers, as for the peer.
    """
    verifier = MathAnswer({"answer": RULE, "timeout": 10.0})
    judge = Judge(JudgeChoice("math"), 1, (("answer", RULE), ("timeout", 10.0)))
    problems = {
        gold: Problem(gold, "", "math", json.dumps({"answer": gold})) for gold in dict(rows)
    }
    with verifier.judging(
        list(problems.values()), judge, workers=workers, isolation="strongest"
    ) as judging:
        started = time.perf_counter()
        answers = {}
        for gold, response in rows:
            if text := verifier.extract(problems[gold], response, "chat"):
                answers[gold, text] = Answer(gold, answer_digest(text), text)
        pairs = ((problems[answer.task_id], answer) for answer in answers.values())
        verdicts = list(judging.judge(pairs))
        seconds = time.perf_counter() - started
    assert len(verdicts) == len(answers)
    return seconds, len(answers)


def run_math_verify(rows: list[Row]) -> float:
    """Seconds of math-verify over all responses. Each right answer is parsed once."""
    from math_verify import parse, verify

    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sympy's, of the formulas
        golds = {gold: parse(f"${gold}$") for gold in dict(rows)}
        for gold, response in rows:
            verify(golds[gold], parse(response))
    return time.perf_counter() - started
