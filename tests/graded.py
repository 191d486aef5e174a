"""Answers with the grades of others, and what our judges say of them."""

import gzip
import json

import pytest
from run_jobs import ROOT

from toolkit.records import Answer, Judge, JudgeChoice, Problem, answer_digest

TASKS = ROOT.parent / "shared/data/tasks"
needs_tasks = pytest.mark.skipif(
    not TASKS.is_dir(), reason=f"the graded answers are not at {TASKS}"
)


def read_graded(name):
    """The rows of the open half of a set."""
    with gzip.open(TASKS / name, "rt") as file:
        return [json.loads(line) for line in file]


def problem_of(task_id, kind, gold):
    return Problem(task_id, "What is it?", kind, json.dumps({"answer": gold}))


def judge_all(verifier_class, kind, rows, rule, *, workers=2, timeout=10.0):
    """The verdict on each (gold, response), None without an answer; equal ones are judged once."""
    verifier = verifier_class({"answer": rule, "timeout": timeout})
    problems = {gold: problem_of(gold, kind, gold) for gold, _ in rows}
    answers = {}
    for gold, response in rows:
        text = verifier.extract(problems[gold], response, "chat")
        answers[gold, response] = text and Answer(gold, answer_digest(text), text)
    distinct = {(a.task_id, a.digest): a for a in answers.values() if a}
    judge = Judge(JudgeChoice(kind), 1, (("answer", rule), ("timeout", timeout)))
    with verifier.judging(
        list(problems.values()), judge, workers=workers, isolation="strongest"
    ) as judging:
        verdicts = judging.judge((problems[a.task_id], a) for a in distinct.values())
        found = {(v.task_id, v.answer): v for v in verdicts}
    return [(a := answers[row]) and found[a.task_id, a.digest] for row in rows]


def agreement(verdicts, grades):
    """The share of verdicts that are the grade, and the indices of the others."""
    passed = [verdict is not None and verdict.outcome == "passed" for verdict in verdicts]
    differ = [i for i, (p, g) in enumerate(zip(passed, grades, strict=True)) if p != g]
    return 1 - len(differ) / len(passed), differ
