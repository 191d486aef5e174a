"""Users' patterns: the match of `re`, in bounded time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.verifiers.linear_regex import LinearRegex

ATOMS = st.sampled_from(
    ["a", "b", "c", ".", r"\d", "[ab]", "[^a]", r"\b", "^", "$", r"\n", r"\x61"]
)
COUNTS = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{1,}", "{,2}?"])


def counted(inner):
    return st.builds("(?:{}){}".format, inner, st.sampled_from(["", "{2}", "?", "{1,2}?"]))


PATTERNS = st.recursive(
    st.builds("(?:{}){}".format, ATOMS, COUNTS),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({})".format, inner),
        counted(inner),
    ),
    max_leaves=6,
)


def last_of_re(pattern, text):
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    return found[-1][1] if found[-1].re.groups else found[-1][0]


@given(PATTERNS, st.text("aabbc1 \n", max_size=12))
def test_the_match_is_that_of_re(pattern, text):
    assert LinearRegex(pattern).last(text) == last_of_re(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?i)final answer:\s*(.+?)\s*$", "x\nFinal Answer:  42 apples  "),
        (r"(?m)^Answer: (\w+)", "Answer: one\nAnswer: two\n"),
        (r"(?s)<a>(.*?)</a>", "<a>1\n2</a> <a>3\n4</a>"),
        (r"(\d+)(?:\.(\d+))?", "1.5 and 27.25"),
        (r"[^\W\d]+|[\]x-]{2,3}", "ab] 1 ]x-"),
        (r"\$(\d{1,3}(?:,\d{3})*)", "$1,234,567"),
        (r"é+", "éé e"),
        (r"(?:\b)|(?:.)", "1 "),  # an empty match, and then one from the same place on
    ],
)
def test_patterns_as_people_write_them(pattern, text):
    assert LinearRegex(pattern).last(text) == last_of_re(pattern, text) is not None


@pytest.mark.parametrize(
    "pattern", [r"(a+)+b", r"(a|aa)*c", r"(.*.*.*.*)=", r"(a.*b|a)", r"(a?){40}b"]
)
def test_no_text_takes_unbounded_steps(pattern):
    searches = LinearRegex(pattern).searches("a" * 5_000)
    searches.last()
    assert searches.steps_left > -2_000  # one character's steps at most beyond the bound


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)", "(?<!a)b", "(?>a)", "a*+", "(", "a{1000}", "(a{30}){30}", "(?P<n>a)"],
)
def test_what_cannot_be_used_is_refused(pattern):
    with pytest.raises(UsageError, match="answer = regex:"):
        LinearRegex(pattern)
