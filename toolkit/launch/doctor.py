"""What a node offers to a run, found out by trying: the findings of `jobs/doctor.py`."""

import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import ToolkitError, UsageError, WriteFailure
from toolkit.files import publish_once, replace_file
from toolkit.records import NO_ANSWER, Answer, Judge, Problem, Verdict, answer_digest
from toolkit.sandbox.confine import MECHANISMS, IsolationLevel, below_minimum
from toolkit.verifiers.base import Judging, Verifier, check_node, open_verifier

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


def examine_judge(
    problems: Sequence[Problem], judge: Judge, isolation: IsolationLevel, workers: int
) -> Iterator[Finding]:
    """The isolation of untrusted programs on this node, each mechanism, and then whether the judge
    tells right examples of the problems' verifier from wrong ones.
    """
    verifier = open_verifier(judge.choice)
    try:
        check_node(judge)
    except UsageError as error:
        yield Finding("fail", "judge", str(error))
        return
    try:
        judging = verifier.judging(problems, judge, workers=workers, isolation=isolation)
    except ToolkitError as error:
        yield Finding("fail", "isolation", str(error))
        return
    with judging:
        for name, state in judging.isolation.items():
            purpose = MECHANISMS[name]
            grade: Grade = "ok" if state.startswith("on") or name == "landlock" else "warn"
            yield Finding(grade, name, f"{state} ({purpose})")
        # Without a report nothing is executed.
        if judging.isolation and (why := below_minimum(judging.isolation)):
            yield Finding("warn", "isolation", f"weak, {why}")
        yield from _examine_verdicts(verifier, judging, problems, judge)


def _examine_verdicts(
    verifier: Verifier, judging: Judging, problems: Sequence[Problem], judge: Judge
) -> Iterator[Finding]:
    """Judges right, wrong and empty answers to all problems."""
    examples = {p.task_id: verifier.examples(p) for p in problems}
    right = [(p, c) for p in problems for c in examples[p.task_id].right]
    wrong = [(p, c) for p in problems for c in examples[p.task_id].wrong]
    verdicts = list(judging.judge(_answers(verifier, right)))
    yield _solutions(verdicts, [p.task_id for p, _ in right], problems)
    yield from _slow_ones(verdicts, judge)
    yield _wrong_ones(judging.judge(_answers(verifier, wrong)), problems)
    yield _empty_ones(judging.judge(_answers(verifier, [(p, "") for p in problems])), problems)


def _answers(
    verifier: Verifier, examples: Sequence[tuple[Problem, str]]
) -> Iterator[tuple[Problem, Answer]]:
    for problem, completion in examples:
        text = verifier.extract(problem, completion, "verbatim")
        if text is not None:
            yield problem, Answer(problem.task_id, answer_digest(text), text)


def _solutions(
    verdicts: Sequence[Verdict], tried: Sequence[str], problems: Sequence[Problem]
) -> Finding:
    """tried: the task_id of each known solution, those without an answer in them included."""
    lacking = len({p.task_id for p in problems} - set(tried))
    if not tried:
        return Finding(
            "warn",
            "solutions",
            f"no reference: none of the {lacking} problems has a known solution",
        )
    unread = Counter(tried) - Counter(v.task_id for v in verdicts)
    wrong = [f"{v.task_id} ({v.outcome})" for v in verdicts if v.outcome != "passed"]
    wrong = sorted([*wrong, *(f"{task_id} ({NO_ANSWER})" for task_id in unread.elements())])
    if wrong:
        found = f"{len(wrong)} of {len(tried)} known solutions do not pass: {_named(wrong)}"
        return Finding("fail", "solutions", found, "mend the tests, or leave these problems out")
    found = f"all {len(tried)} known solutions pass"
    if lacking:
        return Finding("warn", "solutions", f"{found}; no reference for {lacking} problems")
    return Finding("ok", "solutions", found)


def _slow_ones(verdicts: Iterable[Verdict], judge: Judge) -> Iterator[Finding]:
    """Warns of known solutions that come near the judge's time limit."""
    limit = float(judge.settings.get("timeout", 0))
    slow = sorted(
        f"{v.task_id} ({v.seconds:.1f} s)" for v in verdicts if limit and v.seconds > limit / 2
    )
    if slow:
        found = f"{len(slow)} known solutions take over half of {limit:g} s: {_named(slow)}"
        yield Finding("warn", "slow ones", found, "give --timeout more, or tests that take less")


def _wrong_ones(verdicts: Iterator[Verdict], problems: Sequence[Problem]) -> Finding:
    """A problem is suspect when most of its wrong examples pass: one may be right by luck."""
    balance = Counter[str]()
    for verdict in verdicts:
        balance[verdict.task_id] += 1 if verdict.outcome == "passed" else -1
    fooled = sorted(task_id for task_id, more in balance.items() if more > 0)
    if not fooled:
        return Finding("ok", "wrong ones", f"all {len(problems)} problems refuse wrong examples")
    found = f"{len(fooled)} problems let most wrong examples pass: {_named(fooled)}"
    return Finding("fail", "wrong ones", found, "their tests check nothing: leave them out")


def _empty_ones(verdicts: Iterator[Verdict], problems: Sequence[Problem]) -> Finding:
    """An empty completion is no answer, or one that fails."""
    fooled = sorted(verdict.task_id for verdict in verdicts if verdict.outcome == "passed")
    if not fooled:
        return Finding("ok", "empty ones", f"all {len(problems)} problems refuse an empty answer")
    found = f"{len(fooled)} problems let an empty answer pass: {_named(fooled)}"
    return Finding("fail", "empty ones", found, "their tests check nothing: leave them out")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


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
        replace_file(name, b"new")
        once = publish_once(other, b"one") and not publish_once(other, b"two")
    except WriteFailure as error:
        found, once = str(error).partition(";")[0], False
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
