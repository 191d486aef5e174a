"""Multiple choice: the letter that a completion names."""

import pytest
from graded import judge_all, problem_of

from toolkit.verifiers.choice import Choice


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        (" B) Paris", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("B\nBecause it is.", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B because A is wrong.", "B"),
        ("The correct answer is: **C**", "C"),
        ("Answer: D", "D"),
        ("**Answer:** D", "D"),
        ("The correct option is C.", "C"),
        ("so the answer is option C", "C"),
        (r"Thus $\boxed{B}$.", "B"),
        (r"\boxed{\text{(B)}}", "B"),
        (r"\boxed{\text{B}}", "B"),
        ("The answer is (A). No: the answer is (C).", "C"),
        ("The answer is A.", "A"),
        ("I think it must be (D) after all", "D"),
        ("the answer is (b)", "B"),
        ("The answer is Bob.", None),
        ("The answer is A good one.", None),
        ("Both A and B could be", None),
        ("<think>(A)</think>(B)", "B"),
        ("", None),
    ],
)
def test_the_letter_that_is_named(completion, letter):
    verifier = Choice({"answer": "choice"})
    assert verifier.extract(problem_of("t/0", "choice", "B"), completion, "chat") == letter


@pytest.mark.parametrize("gold", ["B", "(b)", "B.", " b "])
def test_right_and_wrong(gold):
    rows = [(gold, "The answer is (B)."), (gold, "The answer is (C)."), (gold, "no idea")]
    right, wrong, nothing = judge_all(Choice, "choice", rows, "choice")
    assert right.outcome == "passed"
    assert (wrong.outcome, wrong.kind, wrong.detail) == ("failed", "wrong_answer", "C is not B")
    assert nothing is None


@pytest.mark.parametrize("style", ["chat", "completion", "verbatim"])
@pytest.mark.parametrize("rule", ["choice", "boxed", "marker:Answer:"])
def test_the_examples_are_told_apart(rule, style):
    verifier = Choice({"answer": rule})
    problem = problem_of("t/0", "choice", "B")
    examples = verifier.examples(problem)
    assert [verifier.extract(problem, text, style) for text in examples.right] == ["B"]
    wrong = [verifier.extract(problem, text, style) for text in examples.wrong]
    assert wrong == ["A", "C", None]
