"""Programs that their authors have graded, by the problems' own tests."""

import gzip
import json

import pytest
from shared_data import shared

from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, JudgeChoice, answer_digest
from toolkit.verifiers.judges import judge_of
from toolkit.verifiers.python_tests import PythonTests

BODY_ONLY = "reflexion"
"""The model whose programs are bodies, to be put behind the prompt."""
LIMIT = 10.0
"""Seconds. One program, HumanEval/129 of gpt-4-1106-preview, needs about the usual three."""
NO_IMPORT = "it uses re without importing it; the authors' process had it imported"
DIFFERENCES = {
    "MBPP/210 gpt-3.5-turbo-0613": NO_IMPORT,
    "MBPP/482 gpt-3.5-turbo-0613": NO_IMPORT,
    "MBPP/338 gpt-3.5-turbo-0613": "its tests call a function that nobody asked for, graded right",
    "MBPP/448 gpt-3.5-turbo-0613": "it fulfils all assertions, graded wrong",
}
"""Where the verdict is not the grade, and why."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ldb_humaneval", "ldb_mbpp"])
def test_verdicts_are_those_of_the_authors(name):
    path = shared(f"programs-graded/open/{name}.jsonl.gz")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    problems, pairs, graded = {}, [], {}
    for row in rows:
        body = row["model"] == BODY_ONLY
        task_id = f"{row['task_id']} {row['model']}"
        problems[task_id] = python_problem(
            task_id, row["prompt"] if body else "", row["test"], row["entry_point"], whole=not body
        )
        text = PythonTests().extract(problems[task_id], row["solution"], "verbatim")
        pairs.append((problems[task_id], Answer(task_id, answer_digest(text), text)))
        graded[task_id] = row["correct"]
    judge = judge_of(JudgeChoice("python_tests", (("timeout", LIMIT),)))
    with PythonTests().judging(
        list(problems.values()), judge, workers=2, isolation="strongest"
    ) as judging:
        verdicts = list(judging.judge(pairs))
    assert len(verdicts) == len({(p.task_id, a.digest) for p, a in pairs}) == len(rows)
    differing = {v.task_id for v in verdicts if (v.outcome == "passed") != graded[v.task_id]}
    assert differing == {each for each in DIFFERENCES if each in problems}
