"""Programs by standard input judged per second: this toolkit, and lighteval's LiveCodeBench judge.

The two run alternately, on the same cores, with the same programs and tests. The start of ours (two
workers) is not measured, neither is the peer's import.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from toolkit.records import Answer, Problem, answer_digest
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judges import choice_of, judge_of

ROOT = Path(__file__).resolve().parents[2]
LIGHTEVAL = Path(os.environ.get("LIGHTEVAL_PYTHON", ROOT / ".venv-lighteval/bin/python"))
CHECKER = Path(__file__).with_name("lighteval_checker.py")
WORKERS = 2
ROUNDS = 3
PROGRAMS = {1: 100, 2: 100, 4: 100, 16: 40, 64: 20}
"""Tests of a problem -> programs."""
PROGRAM = """\
# {number}
n = int(input())
values = list(map(int, input().split()))
best = total = 0
for value in values:
    total = max(0, total + value)
    best = max(best, total)
print(best)
"""


def bench() -> Iterator[dict[str, object]]:
    """The rows of the table, each as soon as it is measured."""
    for tests, count in PROGRAMS.items():
        cases = [_case(seed) for seed in range(tests)]
        programs = [PROGRAM.format(number=number) for number in range(count)]
        yield _compare(cases, programs)


def _case(seed: int) -> dict[str, str]:
    """A test: the largest sum of neighbours among 200 numbers."""
    values = [(seed * 7919 + i * 104729) % 2003 - 1001 for i in range(200)]
    best = total = 0
    for value in values:
        total = max(0, total + value)
        best = max(best, total)
    return {"input": f"200\n{' '.join(map(str, values))}\n", "output": f"{best}\n"}


def run_ours(cases: list[dict[str, str]], programs: list[str]) -> float:
    """Seconds from the programs to all verdicts."""
    problem = Problem("bench/0", "", "stdin", json.dumps({"tests": cases}))
    answers = [Answer("bench/0", answer_digest(text), text) for text in programs]
    choice = choice_of("stdin")
    verifier = open_verifier(choice)
    with verifier.judging(
        [problem], judge_of(choice), workers=WORKERS, isolation="strongest"
    ) as judging:
        started = time.perf_counter()
        verdicts = list(judging.judge((problem, answer) for answer in answers))
        seconds = time.perf_counter() - started
    assert [v.outcome for v in verdicts] == ["passed"] * len(programs)
    return seconds


def run_lighteval(cases: list[dict[str, str]], programs: list[str]) -> float:
    """Seconds of lighteval's `codegen_metrics` over the same programs, each as one problem."""
    pairs = {
        "inputs": [case["input"] for case in cases],
        "outputs": [case["output"] for case in cases],
    }
    sample = {"input_output": json.dumps(pairs)}
    job = {"samples": [sample] * len(programs), "programs": programs, "workers": WORKERS}
    done = subprocess.run(
        [str(LIGHTEVAL), str(CHECKER)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["passed"] == len(programs), said
    return float(said["seconds"])


def _compare(cases: list[dict[str, str]], programs: list[str]) -> dict[str, object]:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(run_ours(cases, programs))
        if LIGHTEVAL.exists():
            theirs.append(run_lighteval(cases, programs))
    ratios = [b / a for a, b in zip(ours, theirs, strict=False)]
    row: dict[str, object] = {
        "tests a program": len(cases),
        "ours, programs a second": round(len(programs) / statistics.median(ours), 1),
    }
    if not theirs:
        return row | {"skipped": f"lighteval is not at {LIGHTEVAL}"}
    return row | {
        "lighteval, programs a second": round(len(programs) / statistics.median(theirs), 1),
        "ratio": round(statistics.median(ratios), 2),
        "spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
    }
