"""Numbers as answers: forms by hand, and the graded outputs of others."""

import pytest
from graded import agreement, judge_all, needs_tasks, problem_of, read_graded
from hypothesis import given
from hypothesis import strategies as st

from toolkit.records import Judge, JudgeChoice
from toolkit.verifiers.number import Number, number_in

GSM8K = "marker:A: | marker:#### | last_number"
ALL_RULES = ["last_number", "marker:#### | last_number", "boxed", "whole"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", "5"),
        ("5.0", "5"),
        ("05", "5"),
        ("5.", "5"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("-0.0", "0"),
        (".50", "0.5"),
        ("$1,234.50", "1234.5"),
        (r"\$1{,}234", "1234"),
        ("-$3", "-3"),
        ("$-3", "-3"),
        ("10%", "10"),
        ("x = 3 + 4 = 7 apples", "7"),
        ("1,000,000", "1000000"),
        ("1,2", "1"),
        ("10-3", "10"),
        ("1" * 1000, "1" * 1000),
        ("1" * 1001, None),
        ("none", None),
        ("", None),
    ],
)
def test_a_number_is_written_in_one_way(text, number):
    assert number_in(text) == number


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_numbers_are_the_same_text_exactly_where_they_are_equal(value):
    text = number_in(f"{value:f}")
    assert text is not None
    assert type(value)(text) == value
    assert number_in(text) == text
    assert number_in(f"{value:,f}") == text


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("He has 3 + 4 = 7 apples.\n#### 7", "7"),
        ("#### 7\nThat is 7 of 12.", "7"),
        ("It is 7.", "7"),
        ("####", None),
        ("I think <think>7", None),
        ("<think>#### 8</think>#### 7", "7"),
        ("#### seven, so 7", "7"),
        ("#### Step 2: add\n3 + 4 = 7", "7"),
        ("#### **$7**", "7"),
        ("#### : -7 apples of 9", "-7"),
        ("no idea", None),
    ],
)
def test_extraction_by_marker_or_last_number(completion, answer):
    verifier = Number({"answer": "marker:#### | last_number"})
    assert verifier.extract(problem_of("t/0", "number", "7"), completion, "chat") == answer


def test_a_completion_that_runs_on_is_read_up_to_the_next_question():
    verifier = Number({"answer": "last_number"})
    problem = problem_of("t/0", "number", "7")
    assert verifier.extract(problem, " 7.\n\nQuestion: 3 and 9?\nAnswer: 12", "completion") == "7"
    assert verifier.extract(problem, "Question: 3 and 4? It is 7", "chat") == "7"


@pytest.mark.parametrize("rule", ALL_RULES)
@pytest.mark.parametrize("style", ["chat", "completion", "verbatim"])
def test_the_examples_are_told_apart(rule, style):
    verifier = Number({"answer": rule})
    problem = problem_of("t/0", "number", "1,234")
    examples = verifier.examples(problem)
    right = [verifier.extract(problem, text, style) for text in examples.right]
    wrong = [verifier.extract(problem, text, style) for text in examples.wrong]
    assert right == ["1234"]
    assert "1234" not in wrong
    assert len(wrong) == 3


def test_a_reference_without_a_number_passes_nothing():
    gold = "Let's think step by step."
    (verdict,) = judge_all(Number, "number", [(gold, "It is 24.")], "last_number")
    assert verdict.outcome == "failed"


def test_verdicts_name_what_was_compared():
    verdicts = judge_all(Number, "number", [("72", "It is 71."), ("72", "72.0")], "last_number")
    assert [(v.outcome, v.kind, v.detail) for v in verdicts] == [
        ("failed", "wrong_answer", "71 is not 72"),
        ("passed", "", ""),
    ]


def test_nothing_is_executed():
    judge = Judge(JudgeChoice("number"), 1)
    verifier = Number({"answer": "last_number"})
    assert not verifier.judging([], judge, workers=1, isolation="strongest").isolation


@needs_tasks
def test_graded_outputs_of_openai_and_mr_gsm8k():
    """Three of mr_gsm8k's differ: two references are no answers, one response is a program."""
    rows = read_graded("gsm8k-graded/open/openai_examples.jsonl.gz")
    ours = len(rows)
    rows += read_graded("gsm8k-graded/open/mr_gsm8k.jsonl.gz")
    verdicts = judge_all(Number, "number", [(r["gold"], r["response"]) for r in rows], GSM8K)
    share, differ = agreement(verdicts, [r["correct"] for r in rows])
    assert [i for i in differ if i < ours] == []
    assert share >= 0.995
