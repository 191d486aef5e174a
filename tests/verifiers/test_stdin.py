"""Programs by standard input: how they read and write, what they may see, how they are compared."""

import gzip
import hashlib
import json
from collections.abc import Iterator

import pytest
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.problems.coding_competitions import read_apps
from toolkit.records import Answer, Problem, Verdict, answer_digest
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.checkers import check_checker, difference
from toolkit.verifiers.judges import choice_of, judge_of
from toolkit.verifiers.stdin_judging import StdinJudging
from toolkit.verifiers.stdin_program import StdinTests

TASKS = ROOT.parent / "shared/data/tasks"
CHOICE = choice_of("stdin", settings={"timeout": 3.0})
INPUT = "3 4\nab c\n5\n"
EXPECTED = "7\nab c\n5\n"
SECRET = "31415926535897932384"
SUM = Problem(
    "t/sum", "Add.", "stdin", json.dumps({"tests": [{"input": INPUT, "output": EXPECTED}]})
)


def problem(*tests: tuple[object, object], **more: object) -> Problem:
    cases = [{"input": given, "output": wanted} for given, wanted in tests]
    return Problem("t/0", "Do it.", "stdin", json.dumps({"tests": cases, **more}))


def answer(asked: Problem, program: str) -> tuple[Problem, Answer]:
    return asked, Answer(asked.task_id, answer_digest(program), program)


@pytest.fixture(scope="module")
def judging() -> Iterator[StdinJudging]:
    with_checker = problem(("", ""), checker="def check(i, o, e): return True")
    verifier = open_verifier(CHOICE)
    with verifier.judging(
        [with_checker], judge_of(CHOICE), workers=2, isolation="strongest"
    ) as ready:
        assert isinstance(ready, StdinJudging)
        yield ready


def one(judging: StdinJudging, asked: Problem, program: str) -> Verdict:
    (verdict,) = judging.judge([answer(asked, program)])
    return verdict


READERS = {
    "input": "a, b = map(int, input().split())\nw = input()\nn = input()",
    "readline": "import sys\nr = sys.stdin.readline\na, b = map(int, r().split())\nw = r()[:-1]\nn = r()",
    "read": "import sys\nl = sys.stdin.read().split('\\n')\na, b = map(int, l[0].split())\nw, n = l[1:3]",
    "readlines": "import sys\nl = sys.stdin.readlines()\na, b = map(int, l[0].split())\nw, n = l[1][:-1], l[2]",
    "lines of stdin": "import sys\nl = [x.strip() for x in sys.stdin]\na, b = map(int, l[0].split())\nw, n = l[1:]",
    "buffer.read": "import sys\nl = sys.stdin.buffer.read().decode().split('\\n')\na, b = map(int, l[0].split())\nw, n = l[1:3]",
    "buffer.readline": "import sys\nr = sys.stdin.buffer.readline\na, b = map(int, r().split())\nw = r().decode()[:-1]\nn = int(r())",
    "open(0)": "l = open(0).read().split('\\n')\na, b = map(int, l[0].split())\nw, n = l[1:3]",
    "open /dev/stdin": "l = open('/dev/stdin').read().split('\\n')\na, b = map(int, l[0].split())\nw, n = l[1:3]",
    "os.read": "import os\nl = os.read(0, 1000).decode().split('\\n')\na, b = map(int, l[0].split())\nw, n = l[1:3]",
    "input, then readline": "import sys\na, b = map(int, input().split())\nw = sys.stdin.readline()[:-1]\nn = input()",
    "readline, then read": "import sys\na, b = map(int, sys.stdin.readline().split())\nw, n = sys.stdin.read().split('\\n')[:2]",
    "input, then readlines": "import sys\na, b = map(int, input().split())\nw, n = [x[:-1] for x in sys.stdin.readlines()]",
    "fileinput": "import fileinput\nl = [x.strip() for x in fileinput.input()]\na, b = map(int, l[0].split())\nw, n = l[1:]",
    "a file number": "import os\nf = os.fdopen(0)\na, b = map(int, f.readline().split())\nw = f.readline()[:-1]\nn = f.readline()",
}
WRITERS = {
    "print": "print(a + b)\nprint(w)\nprint(n)",
    "write": "import sys\nsys.stdout.write(f'{a + b}\\n{w}\\n{n}')",
    "buffer": "import sys\nsys.stdout.buffer.write(f'{a + b}\\n{w}\\n{n}'.encode())",
    "os.write": "import os\nos.write(1, f'{a + b}\\n{w}\\n{n}'.encode())",
    "print, then os.write": "import os\nprint(a + b, flush=True)\nos.write(1, f'{w}\\n{n}'.encode())",
    "a file that is not closed": "f = open(1, 'w')\nf.write(f'{a + b}\\n{w}\\n{n}')",
    "atexit": "import atexit, io, os, sys\nsys.stdout = io.StringIO()\natexit.register(lambda: os.write(1, sys.stdout.getvalue().encode()))\nprint(a + b, w, n, sep='\\n')",
    "a thread": "import threading\nthreading.Thread(target=lambda: print(a + b, w, n, sep='\\n')).start()",
    "main": "def main():\n    print(a + b, w, n, sep='\\n')\nif __name__ == '__main__':\n    main()",
    "sys.exit": "import sys\nprint(a + b, w, n, sep='\\n')\nsys.exit(0)",
    "exit": "print(a + b, w, n, sep='\\n')\nexit()",
    "raise SystemExit": "print(a + b, w, n, sep='\\n')\nraise SystemExit",
    "os._exit": "import os\nprint(a + b, w, n, sep='\\n', flush=True)\nos._exit(0)",
    "a child": "import os, sys\nif os.fork() == 0:\n    print(a + b, w, n, sep='\\n', flush=True)\n    os._exit(0)\nos.wait()",
}


@pytest.mark.parametrize("reader", READERS)
def test_every_way_to_read_gives_the_input(judging: StdinJudging, reader: str) -> None:
    verdict = one(judging, SUM, f"{READERS[reader]}\n{WRITERS['print']}\n")
    assert (verdict.outcome, verdict.detail) == ("passed", "")


@pytest.mark.parametrize("writer", WRITERS)
def test_every_way_to_write_and_end_is_taken(judging: StdinJudging, writer: str) -> None:
    verdict = one(judging, SUM, f"{READERS['input']}\n{WRITERS[writer]}\n")
    assert (verdict.outcome, verdict.detail) == ("passed", "")


@pytest.mark.parametrize("given", ["3\n4", "3\n4\n", "3\r\n4\r\n", "3\r\n4"])
@pytest.mark.parametrize(
    "program",
    [
        "a = int(input()); b = int(input()); print(a + b)",
        "import sys\nprint(sum(map(int, sys.stdin)))",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())), end='')",
        "print(sum(map(int, open(0).read().split())), end='\\r\\n')",
    ],
)
def test_line_ends_of_any_kind(judging: StdinJudging, given: str, program: str) -> None:
    assert one(judging, problem((given, "7")), program).outcome == "passed"
    assert one(judging, problem((given, "7\r\n")), program).outcome == "passed"


FAILURES = {
    "pass": ("failed", "wrong_answer", "expected '7' as word 1, and the output ended"),
    "print(8)": ("failed", "wrong_answer", "expected '7' as word 1, got '8'"),
    "print(7, 8)": ("failed", "wrong_answer", "expected no word 2, got '8'"),
    "print(7); raise ValueError('v')": ("failed", "exception", "ValueError: v"),
    "print(7); import sys; sys.exit(3)": ("failed", "exit", "SystemExit: 3"),
    "print(7, flush=True); import os; os._exit(1)": (
        "failed",
        "exit",
        "its process ended with status 1",
    ),
    "print(7, flush=True); import os; os.abort()": (
        "failed",
        "exit",
        "its process was ended by SIGABRT",
    ),
    "print(7": ("failed", "syntax", "SyntaxError: '(' was never closed (program.py, line 1)"),
    "return 7": ("failed", "syntax", "SyntaxError: 'return' outside function (program.py, line 1)"),
    "print(7)\nwhile True: pass": ("timed_out", "time", "timed out"),
    "print(7)\nimport time\ntime.sleep(99)": ("timed_out", "time", "timed out"),
    "x = bytearray(1 << 40)": ("failed", "memory", "MemoryError"),
    "while True: print('7' * 100000)": ("failed", "memory", "it wrote more than 16 MiB"),
    "import pytest": ("failed", "exception", "ModuleNotFoundError: No module named 'pytest'"),
    "import toolkit": ("failed", "exception", "ModuleNotFoundError: No module named 'toolkit'"),
    "print(7)\x00": (
        "failed",
        "syntax",
        "SyntaxError: source code string cannot contain null bytes",
    ),
    "print('\udc80')": ("failed", "syntax", "UnicodeEncodeError"),
}


@pytest.mark.parametrize("program", FAILURES)
def test_a_failure_says_which_test_and_why(judging: StdinJudging, program: str) -> None:
    verdict = one(judging, problem(("", "7"), ("", "7")), program)
    outcome, kind, detail = FAILURES[program]
    assert (verdict.outcome, verdict.kind) == (outcome, kind)
    assert verdict.detail.startswith(f"test 1 of 2: {detail}")


def test_tests_stop_at_the_first_that_fails(judging: StdinJudging) -> None:
    asked = problem(*((str(i), str(i if i != 3 else 0)) for i in range(6)))
    verdict = one(judging, asked, "print(input())")
    assert verdict.detail == "test 4 of 6: expected '0' as word 1, got '3'"


KEPT = {
    "a closed input": "import sys\nprint(input())\nsys.stdin.close()",
    "a closed output": "import os\nprint(input(), flush=True)\nos.close(1)",
    "its end": "import os\nprint(input(), flush=True)\nos._exit(0)",
    "a patched module": "import builtins\nif hasattr(builtins, 'x'): print('again')\nbuiltins.x = 1\nprint(input())",
    "another directory": "import os\nos.makedirs('a/b', exist_ok=True)\nos.chdir('a')\nprint(input())",
    "threads": "import threading\nx = input()\nthreading.Thread(target=lambda: print(x)).start()",
    "a low limit": "import sys\nprint(input())\nsys.setrecursionlimit(60)",
    "its time": "import time\ntime.sleep(0.8)\nprint(input())",
    "random numbers": "import random\nx = input()\nprint(x if random.random() == random.Random(0).random() else '')",
    "a process that ends the next": "import os, time\np = os.getpid()\nif os.path.exists('a'): open('b', 'w').close(); time.sleep(0.3)\nopen('a', 'w').close()\nif os.fork() == 0:\n    while not os.path.exists('b'): time.sleep(0.001)\n    os.kill(p, 9)\nprint(input())",
    "all its processes": "import os, time\nx = input()\ntry:\n    while os.fork(): pass\n    time.sleep(60)\nexcept OSError: print(x)",
    "noise": "import os\nfor n in range(3, 20):\n    try: os.write(n, b'noise')\n    except OSError: pass\nprint(input())",
}


@pytest.mark.parametrize("kept", KEPT)
def test_what_a_program_leaves_behind_fails_none_of_its_tests(
    judging: StdinJudging, kept: str
) -> None:
    asked = problem(*((str(i), str(i)) for i in range(6)))
    assert one(judging, asked, KEPT[kept]).outcome == "passed"


@pytest.mark.parametrize("wrong", range(20))
def test_a_test_is_named_that_fails_among_many(judging: StdinJudging, wrong: int) -> None:
    asked = problem(*((str(i), str(i)) for i in range(20)))
    verdict = one(judging, asked, f"x = int(input())\nprint(x + (x == {wrong}))")
    assert verdict.detail == (
        f"test {wrong + 1} of 20: expected '{wrong}' as word 1, got '{wrong + 1}'"
    )


def test_libraries_are_those_of_the_judge(judging: StdinJudging) -> None:
    assert (
        one(
            judging, problem(("", "3")), "import numpy\nprint(numpy.ones(3).sum().astype(int))"
        ).outcome
        == "passed"
    )


def test_deep_recursion_has_a_stack(judging: StdinJudging) -> None:
    program = (
        "import sys, functools\nsys.setrecursionlimit(10**6)\n"
        "@functools.lru_cache(None)\ndef f(n): return n and f(n - 1) + 1\nprint(f(40000))"
    )
    assert one(judging, problem(("", "40000")), program).outcome == "passed"


def test_a_large_input_and_output(judging: StdinJudging) -> None:
    numbers = "\n".join(map(str, range(300_000)))
    assert (
        one(judging, problem((numbers, numbers)), "import sys\nprint(sys.stdin.read())").outcome
        == "passed"
    )


SPY = (
    "import hashlib, re\n"
    "def found(data):\n"
    "    for m in re.findall(rb'(?<![0-9])[0-9]{20}(?![0-9])', data):\n"
    f"        if hashlib.md5(m).hexdigest() == {hashlib.md5(SECRET.encode()).hexdigest()!r}:\n"
    "            print(m.decode(), flush=True)\n"
    "            os._exit(0)\n"
    "def look(path):\n"
    "    try:\n        with open(path, 'rb') as f: found(f.read(1 << 22))\n"
    "    except OSError: pass\n"
    "import os\n"
)
"""Looks for twenty digits by their hash, so that it does not find itself."""
SPIES = {
    "its parents": "import glob\nfor p in glob.glob('/proc/[0-9]*/*') + glob.glob('/proc/[0-9]*/task/*/*'):\n    look(p)",
    "memory of its parents": "import os\nfor p in os.listdir('/proc'):\n    if p.isdigit():\n        look(f'/proc/{p}/mem')\n        look(f'/proc/{p}/environ')",
    "its own memory": (
        "import ctypes\n"
        "for line in open('/proc/self/maps').read().splitlines():\n"
        "    fields = line.split()\n"
        "    a, b = (int(x, 16) for x in fields[0].split('-'))\n"
        "    if fields[1].startswith('rw') and b - a < 1 << 26: found(ctypes.string_at(a, b - a))\n"
    ),
    "files": "import os\nfor top in ('/tmp', '/home', '/dev/shm', '/var', '/etc'):\n    for d, _, fs in os.walk(top):\n        for f in fs: look(os.path.join(d, f))",
    "descriptors": "import os\nfor n in range(64):\n    try:\n        os.lseek(n, 0, 0)\n        found(os.read(n, 1 << 20))\n    except OSError: pass",
    "frames": "import sys, gc\nf = sys._getframe()\nwhile f:\n    found(repr(f.f_locals).encode())\n    f = f.f_back\nfor o in gc.get_objects():\n    try: found(repr(o)[:9999].encode())\n    except Exception: pass",
}


@pytest.mark.parametrize("place", SPIES)
def test_a_program_finds_the_expected_output_nowhere(judging: StdinJudging, place: str) -> None:
    """Neither does it find the output of right programs that ran before it."""
    asked = problem(("1", SECRET))
    right = [answer(asked, f"print({int(SECRET) - i} + {i})") for i in range(1, 5)]
    spies = [answer(asked, f"{SPY}{SPIES[place]}\n# {i}") for i in range(4)]
    got = {v.answer: v for v in judging.judge([*right, *spies])}
    assert [got[a.digest].outcome for _, a in right] == ["passed"] * 4
    # One that reads every file that it can may do so until its time is out.
    assert {got[a.digest].outcome for _, a in spies} <= {"failed", "timed_out"}
    assert {got[a.digest].kind for _, a in spies} <= {"wrong_answer", "time"}


@pytest.mark.parametrize("place", ["its own memory", "descriptors"])
def test_the_spy_finds_what_is_there(judging: StdinJudging, place: str) -> None:
    program = f"data = open(0, 'rb', closefd=False).read()\n{SPY}{SPIES[place]}"
    assert one(judging, problem((SECRET, SECRET)), program).outcome == "passed"


def test_a_checker_of_the_problem_decides(judging: StdinJudging) -> None:
    source = "def check(input, output, expected):\n    return int(output) % int(input) == 0 and expected == 'any'"
    asked = problem(("7", "any"), checker=source)
    assert one(judging, asked, "print(21)").outcome == "passed"
    assert one(judging, asked, "print(22)").detail == "test 1 of 1: the checker says no"
    assert one(judging, asked, "print('x')").detail.startswith(
        "test 1 of 1: ValueError: invalid literal"
    )
    broken = problem(("7", "any"), checker="def check(: pass")
    assert one(judging, broken, "print(21)").outcome == "error"


def test_the_value_of_a_function_is_compared_as_json(judging: StdinJudging) -> None:
    asked = problem(([[3, 1, 2], 2], [2, 3]), ([[], 0], []), function="most")
    right = "class Solution:\n    def most(self, xs: List[int], k: int) -> List[int]:\n        print('noise')\n        return tuple(sorted(xs)[-k:]) if k else ()\n"
    assert one(judging, asked, right).outcome == "passed"
    assert (
        one(judging, asked, "def most(xs, k):\n    return sorted(xs)[-k:] if k else []").outcome
        == "passed"
    )
    wrong = one(judging, asked, "def most(xs, k): return xs")
    assert wrong.detail == "test 1 of 2: expected '[2, 3]', got '[3, 1, 2]'"
    assert one(judging, asked, "def least(xs, k): return xs").kind == "no_function"


def test_a_problem_has_its_own_time_limit_and_comparison(judging: StdinJudging) -> None:
    slow = "import time\ntime.sleep(0.6)\nprint(0.30000001)"
    asked = problem(("", "0.3"), timeout=0.3)
    assert one(judging, asked, slow).outcome == "timed_out"
    assert one(judging, problem(("", "0.3"), compare="float:1e-6"), slow).outcome == "passed"


def test_without_tests_nothing_is_decided(judging: StdinJudging) -> None:
    verdict = one(judging, problem(), "print(1)")
    assert (verdict.outcome, verdict.detail) == ("error", "test 1 of 0: the problem has no tests")


@pytest.mark.slow
def test_verdicts_are_the_same_with_more_workers_than_cores() -> None:
    asked = problem(("1", "1"), ("2", "2"))
    texts = [
        "print(input())",
        "print(1)",
        "while True: pass",
        "print(input(",
        "import time; time.sleep(9)",
    ]
    pairs = [
        answer(asked, f"{text}\n# {i}")
        for text in texts
        for i in range(6 if "print" in text else 1)
    ]
    choice = choice_of("stdin", settings={"timeout": 1.0})
    found = []
    for workers in (1, 8):
        verifier = open_verifier(choice)
        with verifier.judging(
            [asked], judge_of(choice), workers=workers, isolation="strongest"
        ) as j:
            found.append({v.answer: (v.outcome, v.kind, v.detail) for v in j.judge(iter(pairs))})
    assert found[0] == found[1]
    assert len(found[0]) == len(pairs)


@pytest.mark.parametrize(
    ("checker", "output", "expected", "right"),
    [
        ("tokens", "1  2\r\n3", "1 2 3\n", True),
        ("tokens", "0.30", "0.3", False),
        ("tokens", "YES", "Yes", False),
        ("tokens", "1 2", "1 2 3", False),
        ("tokens", "", "", True),
        ("tokens", " \n", "", True),
        ("lines", "1 2  \r\n3\n\n", "1 2\n3", True),
        ("lines", "1  2", "1 2", False),
        ("lines", "1\n2", "1 2", False),
        ("float:1e-6", "0.30000000000000004 x", "0.3 x", True),
        ("float:1e-6", "1000000.5", "1000000", True),
        ("float:1e-6", "1.1", "1", False),
        ("float:1e-6", "nan", "1", False),
        ("float:1e-6", "nan", "nan", True),
        ("float:1e-6", "1e9999", "1", False),
        ("float:1e-6", "1_0", "10", False),
        ("float:1e-6", "5.0", "5", True),
        ("float:0", "5.0", "5", True),
    ],
)
def test_checkers(checker: str, output: str, expected: str, right: bool) -> None:
    assert (difference(checker, output.encode(), expected.encode()) is None) == right


@pytest.mark.parametrize(
    "checker", ["token", "float", "float:", "float:x", "float:-1", "float:2", ""]
)
def test_an_unknown_checker_is_refused(checker: str) -> None:
    with pytest.raises(UsageError, match="unknown; valid: tokens, lines, float:TOL"):
        check_checker(checker)


def verifier() -> StdinTests:
    found = open_verifier(choice_of("stdin"))
    assert isinstance(found, StdinTests)
    return found


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("Here:\n```python\nprint(1)\n```\nDone.", "print(1)\n"),
        ("```python\nprint(1)\n```\nFor example\n```\n3 4\nx y\n```\n", "print(1)\n"),
        ("```python\nprint(1)\n```\nBetter:\n```python\nprint(2)\n```", "print(2)\n"),
        ("```\nprint(1", "print(1"),
        ("print(1)\n", "print(1)\n"),
        ("<think>```python\nprint(1)\n```</think>```python\nprint(2)\n```", "print(2)\n"),
        ("<think>```python\nprint(1)\n```", None),
        ("  \n", None),
        ("", None),
    ],
)
def test_the_program_in_a_completion(text: str, program: str | None) -> None:
    asked = problem(("", ""))
    assert verifier().extract(asked, text, "chat") == program
    assert verifier().extract(asked, text, "verbatim") == text


@pytest.mark.skipif(not TASKS.is_dir(), reason=f"LiveCodeBench's outputs are not at {TASKS}")
def test_programs_are_taken_from_answers_as_livecodebench_takes_them() -> None:
    with gzip.open(TASKS / "livecodebench-outputs/open/o1_mini.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 421
    for row in rows:
        (output,), (code,) = row["output_list"], row["code_list"]
        program = verifier().extract(SUM, output, "chat") or ""
        assert program.strip() == code.strip(), row["question_id"]


@pytest.mark.parametrize("text", ["", "```python\n\n```", "``` \n```\n\n```py\n \n"])
def test_where_nothing_stands_there_is_no_program(text: str) -> None:
    assert verifier().extract(SUM, text, "chat") is None


def test_examples_are_told_apart(judging: StdinJudging) -> None:
    asked = Problem("t/0", "Echo.", "stdin", problem(("5", "5")).reference, "print(input())\n")
    examples = verifier().examples(asked)
    for text in examples.right + examples.wrong:
        assert verifier().extract(asked, text, "chat") == text
    assert [one(judging, asked, text).outcome for text in examples.right] == ["passed"]
    assert {one(judging, asked, text).outcome for text in examples.wrong} == {"failed"}


@pytest.mark.slow
@pytest.mark.skipif(not TASKS.is_dir(), reason=f"the graded programs are not at {TASKS}")
def test_graded_programs_of_apps_agree(judging: StdinJudging) -> None:
    """In APPS' files the value of a function may stand in a list of its own."""

    asked = {p.task_id: p for p in read_apps(TASKS / "stdin-apps/apps5.jsonl.gz")}
    with gzip.open(TASKS / "stdin-apps/open/apps5_model_outputs.jsonl.gz", "rt") as lines:
        graded = [json.loads(line) for line in lines]
    differ = [
        row
        for row in graded
        if (one(judging, asked[row["task_id"]], row["program"]).outcome == "passed")
        != (row["result"] is True)
    ]
    assert len(graded) == 50
    assert not differ
