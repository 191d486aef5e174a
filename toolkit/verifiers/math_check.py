"""What decides a mathematical answer, inside the sandbox: math-verify, without its time limits.

math-verify and sympy read the text of a model here, in a child that the sandbox ends by its own
clock and memory. math-verify's limits count wall time, so that a busy machine fails right answers.

A child may judge several answers in turn. No verdict depends on those before it: sympy's cache is
emptied before each, and its random numbers begin anew. The child is ended at the first answer that
takes more than a little time or memory. That one is then to be judged in a child of its own.
"""

import json
import logging
import os
import re
import resource
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

import sympy
import sympy.core.cache
import sympy.core.random
from math_verify import parse, verify

from toolkit.sandbox.protocol import part
from toolkit.verifiers.canonical import shortened
from toolkit.verifiers.math_bounds import why_too_large

_LITTLE_MEMORY: Final = 512 << 20
"""Bytes that a child may have held when it tells the verdict on one of several answers."""
_DELIMITED = re.compile(r"(?<!\\)\$[^$]*(?<!\\)\$|\\\(|\\\[|\\boxed|\\fbox")
_PLAIN_NUMBER = re.compile(r"\s*-?(?:\d{1,3}(?:[ ,]\d{3})+|\d*)(?:\.\d+)?\s*%?\s*")
_PAIR_OR_DECIMAL = re.compile(r"-?\d+,\d+")
_FIRST_ANSWERS: Final = (r"\frac{1}{2}", r"x^2 + \sqrt{3}", "(1, 2]", r"\{1, 2\}", "x = 5", "12")
"""Read before the first fork, so that the parser's tables and caches are there in each child."""
_LONG: Final = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)
"""What may take long to evaluate, or for ever."""

Parsed = list[Any]
"""What math-verify reads in a text: the expression, and its text; empty if it reads nothing."""


def prepare(libraries: Sequence[str]) -> None:
    """Get ready to fork: read a few answers."""
    warnings.simplefilter("ignore")  # of the answers' texts
    logging.disable(logging.CRITICAL)
    sys.set_int_max_str_digits(0)  # the numbers are bounded
    for answer in _FIRST_ANSWERS:
        judged(answer, r"\frac{2}{4}")


def check(payload: bytes) -> bytes:
    """Judge answers in turn; each verdict is written to descriptor 1 as soon as it is reached.

    payload: JSON {answers: [[answer, right answer], ...], seconds}. seconds: of CPU time, after
    which an answer ends the process; null for one that is alone. A verdict is JSON, after its
    length: see `judged`. Returns nothing.
    """
    given = json.loads(payload)
    seconds = given["seconds"]
    for answer, gold in given["answers"]:
        if seconds:
            signal.setitimer(signal.ITIMER_PROF, seconds)
        sympy.core.cache.clear_cache()
        sympy.core.random.seed(0)
        found = judged(str(answer), str(gold))
        if seconds and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 > _LITTLE_MEMORY:
            break
        os.write(1, part(json.dumps(found).encode()))
    return b""


def judged(answer: str, gold: str) -> dict[str, object]:
    """The verdict {passed, canonical, unread} on one answer; gold: the right one.

    canonical: a form that equal answers share, at most 200 characters. unread: why the answer is
    compared as a text, "" if it is not.
    """
    unread = why_too_large(answer)
    if unread:
        passed, form = answer == gold, answer
    else:
        read = read_answer(answer)
        form = _form(read)
        passed = answer == gold or bool(verify(read_answer(gold), read, timeout_seconds=None))
        unread = "" if form else "it is no formula that can be read"
    return {"passed": passed, "canonical": shortened(form or answer), "unread": unread}


def read_answer(text: str) -> Parsed:
    """What math-verify reads: the text as it is if it marks its formulas, else as one formula.

    `1,22` is read in both ways that people write: as two numbers, and as a decimal.
    """
    if _DELIMITED.search(text):
        return list(parse(text, parsing_timeout=None))
    text = text.replace("\\$", "").replace("$", "")  # a currency's
    if _PLAIN_NUMBER.fullmatch(text):
        return list(parse(text, parsing_timeout=None))
    read = list(parse(f"${text}$", parsing_timeout=None))
    if _PAIR_OR_DECIMAL.fullmatch(text):
        read += parse(text, parsing_timeout=None)
    return read


def _form(read: Parsed) -> str:
    """The printed form of an expression, "" if there is none.

    It is evaluated where that cannot take long: so 2/4 is 1/2. `x = 5` is printed as 5.
    """
    if not read or isinstance(read[0], str):
        return ""
    expression = read[0]
    try:
        if isinstance(expression, sympy.Eq) and expression.lhs.is_Symbol:
            expression = expression.rhs
        if isinstance(expression, sympy.Expr) and not expression.has(*_LONG):
            expression = expression.doit()
            if not expression.free_symbols:
                expression = sympy.nsimplify(expression, rational=True)
        return str(expression)
    except Exception:  # whatever sympy meets in a model's formula: the text stands for it
        return ""
