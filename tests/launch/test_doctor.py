"""jobs/doctor.py: what it finds, and what it says to do."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_jobs import ROOT, files, job
from without_namespaces import AS_ROOT, needs_no_namespaces

from toolkit.launch.doctor import examine_directory
from toolkit.launch.doctor_judge import examine_judge
from toolkit.problems.humaneval import python_problem
from toolkit.records import Examples, Problem
from toolkit.verifiers.choice import Choice
from toolkit.verifiers.judges import choice_of, judge_of

GOOD = python_problem(
    "t/0", "def f():\n", "def check(f):\n    assert f() == 1\n", "f", "    return 1\n"
)
IDLE = python_problem("t/1", "def f():\n", "def check(f):\n    pass\n", "f", "    return 1\n")
BROKEN = python_problem(
    "t/2", "def f():\n", "def check(f):\n    assert f() == 2\n", "f", "    return 1\n"
)


def fields(problem: Problem) -> dict[str, str]:
    known = {"task_id": problem.task_id, "prompt": problem.prompt}
    return known | json.loads(problem.reference) | {"canonical_solution": problem.solution}


def grades(problems: list[Problem]) -> dict[str, str]:
    judge = judge_of(choice_of("python_tests", None))
    findings = examine_judge(problems, judge, "strongest", 1)
    return {f.subject: f.grade for f in findings}


def test_good_problems_are_ok_and_every_mechanism_is_named() -> None:
    found = grades([GOOD])
    assert found["solutions"] == found["wrong ones"] == "ok"
    assert {"user", "mount", "pid", "net", "seccomp", "landlock", "limits"} <= found.keys()


def test_tests_that_check_nothing_and_wrong_solutions_are_found() -> None:
    assert grades([GOOD, IDLE])["wrong ones"] == "fail"
    assert grades([GOOD, BROKEN])["solutions"] == "fail"


def test_the_directory_is_left_as_it_was(tmp_path: Path) -> None:
    found = {f.subject: f.grade for f in examine_directory(tmp_path / "not/yet")}
    assert found["files"] == "ok"
    assert not list(tmp_path.iterdir())


def test_a_directory_without_files_fails_with_a_remedy() -> None:
    findings = {f.subject: f for f in examine_directory(Path("/proc/self"))}
    assert findings["files"].grade == "fail"
    assert "--runs" in findings["files"].remedy


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_exit_code_says_whether_anything_failed(tmp_path: Path, broken: bool) -> None:
    rows = [BROKEN if broken else GOOD]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(fields(p)) + "\n" for p in rows))
    before = files(tmp_path)
    done = job("doctor.py", "--problems", file, "--runs", tmp_path, cwd=tmp_path)
    assert done.returncode == (1 if broken else 0), done.stderr
    assert ("fail  solutions" in done.stdout) is broken
    assert files(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strongest", "weak"])
def test_a_node_without_user_namespaces_is_told_what_it_needs(tmp_path: Path, level: str) -> None:
    needs_no_namespaces()
    file = tmp_path / "problems.jsonl"
    file.write_text(json.dumps(fields(GOOD)) + "\n")
    command = [*AS_ROOT, sys.executable, ROOT / "jobs/doctor.py", "--isolation", level]
    done = subprocess.run(
        [*command, "--problems", file, "--runs", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert found["isolation"].startswith("fail" if level == "strongest" else "warn")
    assert "as root: `sysctl -w user.max_user_namespaces=10000`" in found["isolation"]
    assert done.returncode == (1 if level == "strongest" else 0)
    if level == "weak":
        assert found["landlock"].startswith("ok")
        assert "on, version" in found["landlock"]


TESTS = json.dumps({"tests": [{"input": "1", "output": "1"}]})
RIGHT = Problem("t/0", "Echo.", "stdin", TESTS, "print(input())")
NO_CHECKER = json.dumps({"tests": [{"input": "1", "output": "1"}], "checker": "def check(: pass"})


def lines(problems: list[Problem], verifier: str = "python_tests") -> dict[str, list[str]]:
    """Subject -> the findings of the examples, as they are printed."""
    found: dict[str, list[str]] = {}
    for finding in examine_judge(problems, judge_of(choice_of(verifier)), "strongest", 2):
        found.setdefault(finding.subject, []).append(f"{finding.grade}  {finding.found}")
    return found


def test_every_exception_is_named_with_its_reason() -> None:
    others = [replace(BROKEN, task_id=f"t/{n}") for n in range(2, 7)]
    found = lines([GOOD, *others, replace(IDLE, task_id="t/idle")])
    assert found["solutions"] == ["fail  5 of 7 known solutions do not pass"]
    assert found["wrong ones"] == ["fail  1 problem lets most wrong examples pass"]
    why = "failed: test line 3: assert f() == 2"
    assert found["problem"][:-1] == [f"fail  t/{n}: {why}" for n in range(2, 7)]
    assert found["problem"][-1].startswith("fail  t/idle: most wrong examples pass")


def test_what_could_not_be_judged_is_no_refusal() -> None:
    broken = Problem("t/1", "Echo.", "stdin", NO_CHECKER)
    found = lines([RIGHT, broken], "stdin")
    assert found["solutions"] == [
        "warn  the only known solution passes; no reference for 1 problem"
    ]
    assert found["judge"][0] == "fail  answers to 1 problem could not be judged"
    assert found["problem"][0].startswith("fail  t/1: error: test 1 of 1: the problem's checker: ")


def test_nothing_is_ok_that_was_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines([replace(RIGHT, solution="")], "stdin")
    assert found["solutions"] == ["warn  no reference: no problem has a known solution"]
    assert found["wrong ones"] == ["ok  the only problem refuses wrong examples; 4 judged"]
    assert found["empty ones"] == ["ok  the only problem refuses an empty answer; 1 judged"]
    which = Problem("t/0", "Which?", "choice", json.dumps({"answer": "B"}))
    assert lines([which], "choice")["empty ones"][0].endswith("it holds no answer to judge")
    monkeypatch.setattr(Choice, "examples", lambda *_: Examples((), ("no letter",)))
    assert lines([which], "choice")["wrong ones"][0].startswith("warn  no wrong example holds")
