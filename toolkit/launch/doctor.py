"""What a node offers to a run, found out by trying: the findings of `jobs/doctor.py`."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import ToolkitError
from toolkit.files import publish_once, replacing
from toolkit.records import Answer, Problem, answer_digest
from toolkit.sandbox.confine import MECHANISMS, IsolationLevel
from toolkit.sandbox.executor import Executor, Limits
from toolkit.verifiers.python_tests import endings

Grade = Literal["ok", "warn", "fail"]
ROOM_WANTED = 10 << 30
"""Bytes free below which a long run is at risk: 1.6 M completions take some gigabytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` says what to do where it is not ok."""

    grade: Grade
    subject: str
    found: str
    remedy: str = ""

    def line(self) -> str:
        """For the terminal."""
        tail = f"; {self.remedy}" if self.remedy else ""
        return f"{self.grade:4}  {self.subject:12}  {self.found}{tail}"


def examine_execution(
    problems: Sequence[Problem], level: IsolationLevel, timeout: float, workers: int
) -> Iterator[Finding]:
    """The isolation of untrusted programs on this node, each mechanism, and then whether known
    right programs pass under it and known wrong ones fail.
    """
    limits = Limits(timeout=timeout)
    try:
        executor = Executor(endings(problems), workers=workers, limits=limits, isolation=level)
    except ToolkitError as error:
        yield Finding("fail", "isolation", str(error))
        return
    with executor:
        for name, purpose in MECHANISMS.items():
            state = executor.isolation_report[name]
            grade: Grade = "ok" if state.startswith("on") or name == "landlock" else "warn"
            yield Finding(grade, name, f"{state} ({purpose})")
        yield _canonical(executor, problems)
        yield _wrong(executor, problems)


def _canonical(executor: Executor, problems: Sequence[Problem]) -> Finding:
    solved = [p for p in problems if p.canonical_solution]
    if not solved:
        return Finding("warn", "solutions", "the problems carry no canonical_solution to try")
    verdicts = executor.run(_program(p, p.prompt + p.canonical_solution) for p in solved)
    wrong = sorted(f"{v.task_id} ({v.outcome})" for v in verdicts if v.outcome != "passed")
    if not wrong:
        return Finding("ok", "solutions", f"all {len(solved)} canonical solutions pass")
    named = ", ".join(wrong[:3]) + (" ..." if len(wrong) > 3 else "")
    found = f"{len(wrong)} of {len(solved)} canonical solutions do not pass: {named}"
    return Finding("fail", "solutions", found, "mend the tests, or leave these problems out")


def _wrong(executor: Executor, problems: Sequence[Problem]) -> Finding:
    body = "    raise ValueError('wrong on purpose')\n"
    verdicts = executor.run(_program(p, p.prompt + body) for p in problems)
    passed = sorted(v.task_id for v in verdicts if v.outcome == "passed")
    if not passed:
        return Finding("ok", "wrong ones", f"{len(problems)} programs that only raise all fail")
    named = ", ".join(passed[:3]) + (" ..." if len(passed) > 3 else "")
    found = f"{len(passed)} problems let a program pass that only raises: {named}"
    return Finding("fail", "wrong ones", found, "their tests check nothing: leave them out")


def _program(problem: Problem, text: str) -> Answer:
    return Answer(problem.task_id, answer_digest(text), text)


def examine_directory(runs: Path) -> Iterator[Finding]:
    """Whether runs can live in `runs`: room, and the renaming and linking that make files appear
    whole. Makes and removes two small files; a missing directory is looked at where it would be.
    """
    folder = runs.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    room = f"{free / 2**30:.0f} GiB free in {folder}"
    if free < ROOM_WANTED:
        yield Finding("warn", "room", room, "enough for a small run only: name another --runs")
    else:
        yield Finding("ok", "room", room)
    name = folder / f".doctor-{secrets.token_hex(4)}"
    other = name.with_suffix(".once")
    try:
        with replacing(name) as temporary:
            temporary.write_bytes(b"new")
        once = publish_once(other, b"one") and not publish_once(other, b"two")
    except OSError as error:
        found, once = f"{folder}: {error.strerror}", False
    else:
        found = "a renamed file replaces, a linked one never does"
    finally:
        name.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    if once:
        yield Finding("ok", "files", found)
    else:
        remedy = "name a --runs that this user may write, on a file system with links"
        yield Finding("fail", "files", found, remedy)
