"""Mathematical answers: what equals what, graded outputs of others, and endless formulas."""

import functools
import importlib.metadata
import json
import os
import re
import subprocess
import sys

import pytest
from endless_answers import CRAFTED, ENDLESS, OURS
from graded import agreement, judge_all, needs_tasks, problem_of, read_graded
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.verifiers import math_answer
from toolkit.verifiers.math_answer import MEMORY_BYTES, MathAnswer, check_libraries, tidy
from toolkit.verifiers.math_bounds import why_too_large

try:
    check_libraries()
except UsageError as missing:
    pytest.skip(str(missing), allow_module_level=True)

RULE = "boxed | last_math"
GRADED = {
    "math-graded/open/qwen_math_cot_100x8.jsonl.gz": 0.985,
    "math-graded/open/realcritic_gsm8k.jsonl.gz": 1.0,
    "math-graded/open/realcritic_math.jsonl.gz": 1.0,
    "math-graded/open/realcritic_minerva_math.jsonl.gz": 0.96,
    "math-graded/open/realcritic_olympiadbench.jsonl.gz": 0.93,
    "math-graded/open/realcritic_college_math.jsonl.gz": 0.879,
}
BY_MATH_VERIFY = """
import json, sys
from math_verify import parse, verify
rows = json.load(sys.stdin)
print(json.dumps([bool(verify(parse(gold), parse(response))) for gold, response in rows]))
"""
EQUAL = [
    ("1/2", "0.5"),
    (r"\frac{1}{2}", r"\dfrac{2}{4}"),
    ("1000", "1,000"),
    ("x^2+2x+1", "(x+1)^2"),
    ("5", "x = 5"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    (r"\text{Evelyn}", r"\text{Evelyn}"),
    (r"The answer is $\boxed{7}$.", "7"),
    ("1,2", "2, 1"),
    ("1,22", "1.22"),
    ("10", r"\$10"),
    ("7400", "$7,400"),
    ("1,3", r"1 \text{ and } 3"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
    (r"10\%", "10"),
]
DIFFERENT = [
    ("1/2", "0.51"),
    ("5", "-5"),
    ("x^2", "x^3"),
    ("(1, 2)", "(2, 1)"),
    (r"\text{Evelyn}", r"\text{Carla}"),
    ("7", "((((((("),
    ("7", "q" * 30_000),
    ("7", "\ud800"),
]


def boxed(rows):
    return [(gold, f"\\boxed{{{answer}}}") for gold, answer in rows]


@pytest.mark.slow
def test_equal_answers_pass_and_others_fail():
    verdicts = judge_all(MathAnswer, "math", boxed(EQUAL + DIFFERENT[:5]), RULE)
    outcomes = [v.outcome for v in verdicts]
    assert outcomes == ["passed"] * len(EQUAL) + ["failed"] * 5
    assert all((v.kind, bool(v.detail)) == ("wrong_answer", True) for v in verdicts[len(EQUAL) :])


@pytest.mark.slow
def test_the_lenient_verdicts_are_those_of_the_page():
    page = (ROOT / "docs/limits-of-verdicts.md").read_text()
    table = page.partition("| answer | right answer |")[2].partition("\n\n")[0]
    rows = [
        (gold, answer) for answer, gold in re.findall(r"^\| `(.+?)` \| `(.+?)` \|", table, re.M)
    ]
    assert len(rows) == 6
    verdicts = judge_all(
        MathAnswer, "math", boxed([*rows, (r"(-\infty,5)", "x<5")]), RULE, workers=1
    )
    assert [v.outcome for v in verdicts] == ["passed"] * 6 + ["failed"]


@pytest.mark.slow
def test_what_cannot_be_read_is_compared_as_a_text():
    long = "q" * 30_000
    rows = [*DIFFERENT[5:], (long, long)]
    verdicts = judge_all(MathAnswer, "math", rows, "whole")
    assert [v.outcome for v in verdicts] == ["failed", "failed", "failed", "passed"]
    assert "compared as a text" in verdicts[1].detail
    assert all(len(v.detail) <= 200 and len(v.canonical) <= 200 for v in verdicts)


@pytest.mark.slow
def test_the_canonical_form_depends_on_the_answer_only():
    same = [r"\frac{1}{2}", "0.5", "1/2", r"\frac{2}{4}", "x = 0.5"]
    for gold in ("0.5", "17", "x"):
        verdicts = judge_all(MathAnswer, "math", boxed([(gold, text) for text in same]), RULE)
        assert {v.canonical for v in verdicts} == {"1/2"}
    other, longer = judge_all(
        MathAnswer, "math", boxed([("7", "0.51"), ("7", "2^{3000} + 1")]), RULE
    )
    assert other.canonical == "51/100"
    assert len(longer.canonical) <= 200


@pytest.mark.slow
def test_no_verdict_depends_on_the_answers_that_share_its_process(monkeypatch):
    def said(rows):
        verdicts = judge_all(MathAnswer, "math", rows, "whole", workers=1)
        return [(v.outcome, v.kind, v.detail, v.canonical) for v in verdicts]

    rows = [*EQUAL, *DIFFERENT]
    together = said(rows)
    assert said(rows[::-1])[::-1] == together
    monkeypatch.setattr(math_answer, "_AT_ONCE_SECONDS", 1e-6)  # so that all are doubted
    assert said(rows) == together


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("( 3 , 4 )", "(3 , 4)"),
        ("x ^ 2 + 1", "x^2+1"),
        (r"\dfrac{1}{2}.", r"\frac{1}{2}"),
        ("10\n000", "10 000"),
    ],
)
def test_answers_are_tidied(text, other):
    assert tidy(text) == tidy(other)


@pytest.mark.parametrize(
    "text", ["1 000", r"\text{5 - 3}", "$a + b$", "1, 234", "2 1/2", r"5\ (7)"]
)
def test_blanks_that_may_mean_something_stay(text):
    assert tidy(text) == text


@pytest.mark.parametrize("rule", ["boxed", "marker:ANSWER:", "last_math", "whole", RULE])
@pytest.mark.parametrize("style", ["chat", "completion", "verbatim"])
def test_the_examples_are_told_apart(rule, style):
    verifier = MathAnswer({"answer": rule, "timeout": 10.0})
    problem = problem_of("t/0", "math", r"\frac{3}{4}")
    examples = verifier.examples(problem)
    assert [verifier.extract(problem, text, style) for text in examples.right] == [r"\frac{3}{4}"]
    wrong = [verifier.extract(problem, text, style) for text in examples.wrong]
    assert len(wrong) == 4
    assert r"\frac{3}{4}" not in wrong


@pytest.mark.parametrize("version", ["0.8.0", None])
def test_another_version_of_a_library_is_refused(version, monkeypatch):
    """The metadata are what pip has written; another version cannot be installed beside."""
    found = importlib.metadata.version

    def version_of(name):
        if name != "math-verify":
            return found(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", version_of)
    with pytest.raises(UsageError, match=r"judge math: math-verify .* pip install math-verify==0"):
        judge_all(MathAnswer, "math", [("1", "1")], "whole")


@pytest.mark.parametrize(
    "text",
    [
        "2^{2005}",
        "7^{2010} - 1",
        "10^{-9}",
        r"\binom{100}{50}",
        "100!",
        "2^{2^{10}}",
        "1,234,567",
        r"\sum_{k=1}^{100} k",
        "x^{y^{z^2}}",
        "{" * 50 + "}" * 50,
        "0^0",
        "1^{10^9}",
    ],
)
def test_ordinary_formulas_are_evaluated(text):
    assert why_too_large(text) == ""


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "2^{100001}", "2001!", "(10^4)!", r"\binom{10001}{2}", "1" * 1001]
)
def test_large_ones_are_not(text):
    assert why_too_large(text)


@functools.cache
def judged(name):
    """The rows of a set, and our verdicts by two workers; two tests need them."""
    rows = read_graded(name)
    return rows, judge_all(MathAnswer, "math", [(r["gold"], r["response"]) for r in rows], RULE)


@needs_tasks
@pytest.mark.slow
@pytest.mark.parametrize("name", GRADED)
def test_graded_outputs(name):
    """Agreement with the graders, and with math-verify as a user calls it: no lower than it."""
    rows, verdicts = judged(name)
    grades = [r["correct"] for r in rows]
    share, _ = agreement(verdicts, grades)
    assert share >= GRADED[name]
    alone = sum(p == g for p, g in zip(by_math_verify(rows), grades, strict=True)) / len(rows)
    assert share >= alone


def by_math_verify(rows):
    """What math-verify says of each whole response, with its own extraction and time limits.

    In a process of its own: its alarm may ring in a callback of pytest's or of Hypothesis'.
    """
    asked = json.dumps([(f"${row['gold']}$", row["response"]) for row in rows])
    command = [sys.executable, "-W", "ignore", "-c", BY_MATH_VERIFY]
    said = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


@needs_tasks
@pytest.mark.slow
def test_the_triples_of_other_libraries():
    rows = [r for r in read_graded("math-triples/open/triples.jsonl.gz") if not r["extra"]]
    verdicts = judge_all(MathAnswer, "math", [(r["gold"], r["pred"]) for r in rows], "whole")
    _, differ = agreement(verdicts, [r["expected"] for r in rows])
    wrong = [(rows[i]["suite"], rows[i]["gold"], rows[i]["pred"]) for i in differ]
    assert wrong == []


@needs_tasks
@pytest.mark.slow
def test_no_verdict_changes_with_eight_workers():
    rows, few = [], []
    for name in GRADED:
        graded, verdicts = judged(name)
        rows += [(r["gold"], r["response"]) for r in graded[::4]]
        few += verdicts[::4]
    many = judge_all(MathAnswer, "math", rows, RULE, workers=8)
    assert [(v.outcome, v.canonical) for v in few] == [(v.outcome, v.canonical) for v in many]


@pytest.mark.slow
def test_endless_answers_end_and_harm_nobody():
    """Each ends by its limit, none takes over 2 GiB, and ordinary verdicts stay the same."""
    assert (len(CRAFTED), len(OURS)) == (16, 16)
    ordinary = [*EQUAL[:11], *DIFFERENT[:5]]
    endless = [("x^2 = 4", text) for text in ENDLESS.values()]
    mixed = [row for pair in zip(endless, ordinary * 2, strict=True) for row in pair]
    alone = in_fresh_process(ordinary, workers=1)
    among = in_fresh_process(mixed, workers=8)
    assert len(among["verdicts"]) == 64
    assert among["verdicts"][1::2] == (alone["verdicts"] * 2)
    outcomes = {outcome for outcome, _ in among["verdicts"][::2]}
    assert outcomes == {"failed", "timed_out"}
    assert among["peak_bytes"] <= MEMORY_BYTES


def in_fresh_process(rows, *, workers):
    job = json.dumps({"rows": rows, "workers": workers, "timeout": 1.0})
    done = subprocess.run(
        [sys.executable, ROOT / "tests/peak_memory.py"],
        input=job,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)
