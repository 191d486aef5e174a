"""Proofs, judged: shared by the tests of the provers."""

import json
from pathlib import Path

from toolkit.records import Answer, Problem, answer_digest
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judge_files import settings_of_files
from toolkit.verifiers.judges import choice_of, judge_of


def problem_of(statement, name="t/two", **more):
    reference = json.dumps({"statement": statement, **more})
    return Problem(name, statement, "proof", reference)


def judge(problems, proofs, prover="metamath", style="chat"):
    """The verdict on each proof of its problem, None where there is no answer."""
    settings = {"prover": prover}
    settings |= settings_of_files("proof", settings, Path("task.toml"))
    choice = choice_of("proof", settings=settings)
    verifier = open_verifier(choice)
    texts = [verifier.extract(p, c, style) for p, c in zip(problems, proofs, strict=True)]
    answers = [
        text and Answer(f"{p.task_id}/{n}", answer_digest(text), text)
        for n, (p, text) in enumerate(zip(problems, texts, strict=True))
    ]
    pairs = [(p, a) for p, a in zip(problems, answers, strict=True) if a]
    with verifier.judging(problems, judge_of(choice), workers=2, isolation="strongest") as judging:
        found = {v.task_id: v for v in judging.judge(pairs)}
    assert len(found) == len(pairs)
    return [a and found[a.task_id] for a in answers]
