"""Time limits of problems whose tests take long, as data: they are never measured at run time.

A limit is five times the CPU seconds that the reference solution took with the problem's tests, and
at least 3 seconds. A problem that needs no more than that has no limit of its own: the judge's
counts. So has a test that is not listed here, such as one of another release.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

FACTOR: Final = 5.0
LEAST: Final = 3.0
"""Seconds."""

MEASURED: Final[Mapping[str, tuple[str, float]]] = {
    # HumanEvalPlus-OriginFmt.jsonl
    "473d0f035225ca8c": ("HumanEval/15", 7.2),
    "db6ec5a0d44fe4e3": ("HumanEval/36", 2.2),
    "8616fe72342d7ff0": ("HumanEval/59", 1.9),
    "74b8c3944968f1ca": ("HumanEval/83", 2.8),
    "7a047d2b1f2c335e": ("HumanEval/94", 1.3),
    "e7b7b7b2887eff1d": ("HumanEval/130", 3.0),
    "b37ff9f8b450c02f": ("HumanEval/139", 9.1),
    # HumanEvalPlus.jsonl: the reference is called too
    "70c4266b3cfd721f": ("HumanEval/15", 6.8),
    "48ffa2d5344b73ec": ("HumanEval/36", 3.0),
    "5897be5ff5942245": ("HumanEval/59", 3.3),
    "1eb53f7490ce8bdc": ("HumanEval/83", 2.3),
    "304a6f28aa7e76c1": ("HumanEval/94", 3.3),
    "ca79c1177931af31": ("HumanEval/130", 3.2),
    "817e88855b9f9781": ("HumanEval/139", 8.8),
    # HumanEvalPlus-Mini.jsonl
    "bc84ea9ea05820b6": ("HumanEval/15", 1.6),
    # mbpp.jsonl
    "e83c2fd75021745f": ("Mbpp/123", 4.1),
    # MbppPlus-OriginFmt.jsonl
    "fa6cb93c20a3c8ff": ("Mbpp/84", 1.1),
    "713de266c645e12e": ("Mbpp/123", 2.5),
    "030be4c8f60ed0db": ("Mbpp/255", 8.4),
    "739af9362e02fcc4": ("Mbpp/271", 3.5),
    "6da30dd2bbb437c8": ("Mbpp/300", 1.3),
    "e9f182138997cddb": ("Mbpp/389", 1.4),
    "adfc268e81dc9d47": ("Mbpp/392", 4.6),
    "96ae2cdbba7c1485": ("Mbpp/583", 1.0),
    "1afa0d7179974920": ("Mbpp/589", 1.5),
    "ead71dd7f3cbdfe8": ("Mbpp/592", 2.1),
    "a9079abb00d79af6": ("Mbpp/599", 24.5),
    "52bd59fab1cb5e34": ("Mbpp/603", 2.7),
    "e1a8848e2c70cbdb": ("Mbpp/630", 1.0),
    # CodeT's mbpp_sanitized_for_code_generation.jsonl
    "08ac79a6dc1a432b": ("MbppEval/123", 3.7),
}
"""Digest of a problem's test -> (task_id, seconds).

The seconds are those of the judge's own clock for the reference solution, on one core of a busy
server with Python 3.11. `digest_of_test` makes the digest.
"""


def time_limit(task_id: str, test: str) -> float | None:
    """The problem's own time limit with this test, in seconds. None: it needs none."""
    known, seconds = MEASURED.get(digest_of_test(test), ("", 0.0))
    limit = round(FACTOR * seconds, 1)
    return limit if known == task_id and limit > LEAST else None


def digest_of_test(test: str) -> str:
    """The first 16 digits of the SHA-256 of a test's text."""
    return hashlib.sha256(test.encode("utf-8", "surrogatepass")).hexdigest()[:16]
