"""The rules that take an answer from a completion."""

import time

import pytest
from busy import patience
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.verifiers.answers import (
    candidates,
    check_rule,
    fenced_blocks,
    phrase,
    take,
    up_to_stop,
)

PLAIN = ["boxed", "last_number", "last_math", "fenced", "choice", "whole"]
RULES = [*PLAIN, "marker:####", r"regex:is (\d+)", "marker:#### | boxed | last_number"]


@pytest.mark.parametrize(
    ("rule", "text", "answer"),
    [
        ("boxed", r"so $\boxed{5}$.", "5"),
        ("boxed", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("boxed", r"\boxed {5}", "5"),
        ("boxed", r"\fbox{5}", "5"),
        ("boxed", r"$\boxed 5$", "5"),
        ("boxed", r"\boxed \frac{1}{2}", None),
        ("boxed", r"\boxed{4}, no, rather \boxed{5}", "5"),
        ("boxed", r"\boxed{1}, \boxed{2} and $\boxed{3}$", "1, 2, 3"),
        ("boxed", r"$\boxed{5}$. $\boxed{5}$", "5"),
        ("boxed", r"\boxed{\boxed{5}}", "5"),
        ("boxed", r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        ("boxed", r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        ("boxed", r"\{ { \boxed{5}", "5"),
        ("boxed", r"} \boxed{5}", "5"),
        ("boxed", r"\boxed{4} and \boxed{5", "4"),
        ("boxed", r"\boxed{}", None),
        ("boxed", r"\boxedtext{5}", None),
        ("boxed", "5", None),
        ("last_number", "3 and -4.50.", "-4.50"),
        ("last_number", "$1,234.", "$1,234"),
        ("last_number", "none", None),
        ("last_math", "$x$ is $x = -1$.", "x = -1"),
        ("last_math", r"It is \(\frac{1}{2}\).", r"\frac{1}{2}"),
        ("last_math", "\\[\nx\n\\]", "x"),
        ("last_math", "$$x + 1$$", "x + 1"),
        ("last_math", "$x$ is 5.", "5"),
        ("last_math", "He pays $7,400.", "$7,400"),
        ("last_math", "words", None),
        ("marker:####", "12\n#### 5\nwords", "5"),
        ("marker:####", "#### 4\n#### 5", "5"),
        ("marker:####", "#### 5\n####", "5"),
        ("marker:Answer:", "Answer:\n\n  5\n6", "5"),
        ("marker:####", "5", None),
        ("fenced", "a\n```python\nx = 1\n```\nb", "x = 1"),
        ("fenced", "```\n1\n```\n```\n2\n```", "2"),
        ("fenced", "```lean\nby simp", "by simp"),
        ("fenced", "```\n```", None),
        ("fenced", "````md\n```\nx\n```\n````", "```\nx\n```"),
        ("fenced", "no `code`", None),
        (r"regex:is (\d+)", "it is 4, it is 5.", "5"),
        ("whole", "  5 \n", "5"),
        ("whole", " ", None),
        ("marker:#### | last_number", "so 5", "5"),
        ("marker:#### | last_number", "#### 4, so 5", "4, so 5"),
        ("boxed | whole", "words", "words"),
    ],
)
def test_what_a_rule_takes(rule, text, answer):
    assert take(rule, text) == answer


def test_alternatives_come_in_their_order():
    text = "#### 4\n$\\boxed{5}$"
    assert list(candidates("boxed | marker:#### | fenced | last_number", text)) == ["5", "4", "5"]


def test_text_is_cut_at_the_first_stop_string():
    assert up_to_stop("a Q: b A: c", ("A:", "Q:", "Z:")) == "a "
    assert up_to_stop("a", ()) == "a"


def test_blocks_that_are_not_closed_or_not_blocks():
    text = "```x```\n~~~\n1\n~~~\n```py\n2\n```` \n```\n3"
    assert [block.strip() for block in fenced_blocks(text)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "rule", ["box", "", "marker:", "regex:", "boxed|whole", "boxed | ", "Boxed"]
)
def test_an_unknown_rule_is_refused_with_the_valid_ones(rule):
    with pytest.raises(
        UsageError, match=r"answer = .*valid: boxed, .*, marker:TEXT, regex:PATTERN"
    ):
        check_rule(rule)


@pytest.mark.parametrize("rule", [r for r in RULES if not r.startswith("regex")])
def test_a_phrase_holds_the_answer(rule):
    assert take(rule, phrase(rule, "B")) == "B" or rule.endswith("number")
    assert take(rule, phrase(rule, "5")) == "5" or rule == "choice"


@given(
    st.sampled_from(RULES),
    st.text(st.sampled_from("\\boxed{}$`#1. \n<think>/ABanswer is()"), max_size=80),
)
def test_no_text_makes_a_rule_fail(rule, text):
    found = take(rule, text)
    assert found is None or (found == found.strip() != "")
    if found and rule in ("boxed", "last_number", "fenced", "whole"):
        assert set(found) <= {*text, ",", " "}


HUGE = {
    "boxes that are not closed": "\\boxed{" * 140_000,
    "boxes in boxes": "\\boxed{" * 60_000 + "}" * 60_000,
    "listed boxes": "\\boxed{1}," * 100_000,
    "blanks": "\\boxed" + " " * 1_000_000,
    "braces": "{" * 500_000 + "}" * 500_000,
    "backslashes": "\\" * 1_000_000,
    "digits": "1" * 1_000_000,
    "groups of digits": "111," * 250_000,
    "dots": ".1" * 500_000,
    "dollars": "$" * 1_000_000,
    "formulas that are not closed": "\\(" * 500_000,
    "brackets that are not closed": "\\[a " * 250_000,
    "markers": "####" * 250_000,
    "marker lines": "####\n" * 200_000,
    "fences": "```\n" * 250_000,
    "open fences": "```a\n" * 200_000,
    "answers": "answer is " * 100_000,
    "answer and blanks": ("answer is" + " " * 999) * 1000,
    "letters": "(A" * 500_000,
    "thoughts": "<think></think>" * 66_000,
    "surrogates": "\ud800" * 1_000_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_takes_bounded_time(name):
    """Quadratic time would take an hour."""
    for rule in RULES:
        started = time.process_time()
        take(rule, HUGE[name])
        assert time.process_time() - started < patience(3), rule
