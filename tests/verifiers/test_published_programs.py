"""Problems for programs in the forms of their archives, read and really judged: right and wrong."""

import base64
import json
import pickle
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.problems.code_contests import read_code_contests
from toolkit.problems.coding_competitions import read_apps, read_google
from toolkit.problems.livecodebench import read_livecodebench
from toolkit.records import Answer, Problem, answer_digest
from toolkit.verifiers.base import Judging, open_verifier
from toolkit.verifiers.judges import choice_of, judge_of

CHOICE = choice_of("stdin")


def packed(cases: object) -> str:
    """As LiveCodeBench hides its tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


LCB_STDIN = {
    "question_title": "A. Short Sort",
    "question_content": "There are three cards with letters ...",
    "platform": "codeforces",
    "question_id": "1873_A",
    "contest_id": "1873",
    "contest_date": "2023-08-21T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps(
        [{"input": "2\nabc\nbca\n", "output": "YES\nNO\n", "testtype": "stdin"}]
    ),
    "private_test_cases": packed([{"input": "1\ncba", "output": "YES", "testtype": "stdin"}]),
    "metadata": "{}",
}
LCB_METHOD = LCB_STDIN | {
    "question_title": "minimum-operations",
    "question_content": "Return how many of the words begin with the letter.",
    "platform": "leetcode",
    "question_id": "3000",
    "starter_code": "class Solution:\n    def counted(self, words: List[str], first: str) -> int:\n        ",
    "public_test_cases": json.dumps(
        [{"input": '["a b", "ba", "ab"]\n"a"', "output": "2", "testtype": "functional"}]
    ),
    "private_test_cases": packed(
        [{"input": '["\\u2028a"]\n"a"', "output": "0", "testtype": "functional"}]
    ),
    "metadata": '{"func_name": "counted"}',
}
APPS_METHOD = {
    "problem_id": 2404,
    "question": "Double each number.",
    "solutions": json.dumps(["class Solution:\n    def twice(self, x):\n        return [2*x[0]]"]),
    "input_output": json.dumps(
        {"fn_name": "twice", "inputs": [[[4]], [[5]]], "outputs": [[8], [10]]}
    ),
    "starter_code": "class Solution:\n    def twice(self, x: List[int]) -> List[int]:\n        ",
}
APPS_FUNCTION = {
    "problem_id": 4184,
    "question": "Is it odd, and what is it?",
    "solutions": json.dumps(["def odd(n):\n    return n % 2 == 1, str(n)"]),
    "input_output": json.dumps(
        {"fn_name": "odd", "inputs": [[3], [4]], "outputs": [[[True, "3"]], [[False, "4"]]]}
    ),
    "starter_code": "def odd(n):\n\t",
}
APPS_STDIN = {
    "problem_id": 1,
    "question": "Echo a number.",
    "solutions": '["print(input())"]',
    "input_output": json.dumps({"inputs": ["7\n"], "outputs": ["7\n"]}),
    "starter_code": "",
}
GOOGLE = {
    "task_id": "kickstart/half",
    "statement": "Half of it.",
    "checker": "float_tolerance 1e-6",
    "tests": [
        {"name": "sample", "input": "1", "output": "0.5"},
        {"name": "secret", "input": "2", "output": "1.0"},
    ],
}
CONTEST = {
    "name": "1_A. Sum",
    "description": "Add two numbers.",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
    "private_tests": {"input": [], "output": []},
    "generated_tests": {"input": ["5 5\n"], "output": ["10\n"]},
    "solutions": {"language": [3], "solution": ["print(sum(map(int, input().split())))"]},
    "time_limit": {"seconds": 2, "nanos": 0},
}
METHOD = "class Solution:\n    def counted(self, words: List[str], first: str) -> int:\n        return {}\n"
COUNT = "sum(w.startswith(first) for w in words)"
SWAPS = "for _ in range(int(input())):\n    s = input()\n    print('YES' if {} else 'NO')"
ODD = "def odd(n):\n    return {}\n"

Read = Callable[[Path], list[Problem]]
CASES: dict[str, tuple[Read, dict[str, object], list[str], list[str]]] = {
    "LiveCodeBench, reads and writes": (
        read_livecodebench,
        LCB_STDIN,
        [SWAPS.format("any(a == b for a, b in zip(s, 'abc'))")],
        [SWAPS.format("s == 'abc'")],  # right in the public tests
    ),
    "LiveCodeBench, a method": (
        read_livecodebench,
        LCB_METHOD,
        [METHOD.format(COUNT), f"def counted(words, first): return {COUNT}"],
        [
            METHOD.format("sum(first in w for w in words)"),
            METHOD.format("str(" + COUNT + ")"),
            METHOD.format(COUNT).replace("counted", "count"),
            f"print({COUNT!r})",
        ],
    ),
    "APPS, a method": (
        read_apps,
        APPS_METHOD,
        ["class Solution:\n    def twice(self, x):\n        return [2 * v for v in x]"],
        ["class Solution:\n    def twice(self, x):\n        return x", "print([8])"],
    ),
    "APPS, a function whose value is in a list": (
        read_apps,
        APPS_FUNCTION,
        [ODD.format("n % 2 == 1, str(n)"), ODD.format("[[n % 2 == 1, str(n)]]")],
        [ODD.format("n % 2 == 1"), ODD.format("True, str(n)"), ODD.format("[[[n % 2, str(n)]]]")],
    ),
    "APPS, reads and writes": (read_apps, APPS_STDIN, ["print(7)"], ["print(8)", "7"]),
    "Google": (
        read_google,
        GOOGLE,
        ["print(int(input()) / 2)", "print(int(input()) / 2 + 5e-7)"],
        ["print(int(input()) // 2)", "print(int(input()) / 2 + 5e-6)"],
    ),
    "CodeContests": (
        read_code_contests,
        CONTEST,
        ["a, b = map(int, input().split())\nprint(a + b)"],
        ["print(3)"],  # right in the public tests
    ),
}


@pytest.fixture(scope="module")
def judging() -> Iterator[Judging]:
    verifier = open_verifier(CHOICE)
    with verifier.judging([], judge_of(CHOICE), workers=2, isolation="strongest") as ready:
        yield ready


def problem_in(folder: Path, read: Read, row: dict[str, object]) -> Problem:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (problem,) = read(path)
    return problem


@pytest.mark.parametrize("name", CASES)
def test_published_rows_tell_right_from_wrong(tmp_path: Path, judging: Judging, name: str) -> None:
    read, row, right, wrong = CASES[name]
    problem = problem_in(tmp_path, read, row)
    examples = open_verifier(CHOICE).examples(problem)
    right, wrong = [*right, *examples.right], [*wrong, *examples.wrong]
    answers = {
        answer_digest(t): Answer(problem.task_id, answer_digest(t), t) for t in right + wrong
    }
    found = {v.answer: v for v in judging.judge((problem, a) for a in answers.values())}
    said = {text: found[answer_digest(text)].outcome for text in right + wrong}
    assert said == dict.fromkeys(right, "passed") | dict.fromkeys(wrong, "failed")


@pytest.mark.parametrize(
    ("read", "row", "asks"),
    [
        (read_livecodebench, LCB_METHOD, "def counted(self, words"),
        (read_livecodebench, LCB_STDIN, "reads standard input and writes standard output."),
        (read_apps, APPS_METHOD, "def twice(self, x"),
        (read_apps, APPS_METHOD | {"starter_code": ""}, "Write a function `twice`"),
        (read_apps, APPS_STDIN, "reads standard input and writes standard output."),
    ],
)
def test_a_question_says_which_form_the_program_has(
    tmp_path: Path, read: Read, row: dict[str, object], asks: str
) -> None:
    problem = problem_in(tmp_path, read, row)
    assert asks in problem.prompt.replace("```", "").rstrip().splitlines()[-1]
    asked = open_verifier(CHOICE).prompt(problem).text
    assert ("standard input" in asked) is ("standard input" in problem.prompt)


def test_a_function_s_name_must_be_a_text(tmp_path: Path) -> None:
    cases = json.dumps({"fn_name": 3, "inputs": [[1]], "outputs": [1]})
    with pytest.raises(Exception, match="field 'fn_name' is int, not a string"):
        problem_in(tmp_path, read_apps, APPS_METHOD | {"input_output": cases})
