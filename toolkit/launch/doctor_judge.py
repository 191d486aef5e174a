"""Whether a task's judge tells right answers from wrong ones on this node: findings of the doctor.

Each problem's known solution, wrong examples and an empty answer are judged, as a run's answers
would be. Every exception is named with its reason. Where nothing was judged, nothing is ok.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from toolkit.cli import how_many, job_command
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.doctor import Finding, Grade
from toolkit.progress_bar import progress_bar
from toolkit.records import NO_ANSWER, Answer, Judge, Problem, Verdict, answer_digest
from toolkit.sandbox.confine import MECHANISMS, IsolationLevel, below_minimum
from toolkit.verifiers.base import Judging, Verifier, check_node, open_verifier
from toolkit.verifiers.judges import harness_of

log = logging.getLogger(__name__)

LOG_SECONDS: Final = 20.0
"""Between two lines of progress, where there is no terminal for a bar."""
MOST_NAMED: Final = 200
"""Exceptions that get a line of their own."""

Pair = tuple[Problem, str]
"""A problem, and a completion of it."""


def examine_judge(
    problems: Sequence[Problem], judge: Judge, isolation: IsolationLevel, workers: int
) -> Iterator[Finding]:
    """The isolation of untrusted programs on this node, each mechanism, and then whether the judge
    tells right examples of the problems' verifier from wrong ones.
    """
    verifier = open_verifier(judge.choice)
    if harness := harness_of(judge):
        yield from _examine_answers(verifier, problems, harness)
        return
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
        yield from _examine_verdicts(verifier, judging, problems)


def _examine_answers(
    verifier: Verifier, problems: Sequence[Problem], harness: str
) -> Iterator[Finding]:
    """Where a harness elsewhere judges: only whether answers are found in the known solutions."""
    found = f"no reference can be judged here: {harness} judges"
    remedy = f"{job_command('evaluate')} RUN --export-predictions DIR, then --import-report"
    yield Finding("warn", "judge", found, remedy)
    known = [p for p in problems if p.solution]
    lost = {p.task_id: NO_ANSWER for p in known if not verifier.extract(p, p.solution, "chat")}
    if lost:
        yield Finding(
            "fail",
            "answers",
            f"{how_many(len(lost), 'known solution holds', 'known solutions hold')} no answer",
        )
        yield from _named("fail", lost, problems)
    elif known:
        every = _all(len(known), "known solution", "known solutions")
        yield Finding("ok", "answers", f"found in {every}, not judged")


def _examine_verdicts(
    verifier: Verifier, judging: Judging, problems: Sequence[Problem]
) -> Iterator[Finding]:
    """Judges right, wrong and empty answers to all problems."""
    examples = {p.task_id: verifier.examples(p) for p in problems}
    right = [(p, c) for p in problems for c in examples[p.task_id].right]
    wrong = [(p, c) for p in problems for c in examples[p.task_id].wrong]
    verdicts = list(_judged("known solutions", verifier, judging, right))
    yield from _solutions(verdicts, right, problems)
    yield from _slow_ones(verdicts, {p.task_id: judging.seconds(p) for p in problems})
    verdicts = list(_judged("wrong examples", verifier, judging, wrong))
    yield from _wrong_ones(verdicts, wrong, problems)
    verdicts = list(_judged("empty answers", verifier, judging, [(p, "") for p in problems]))
    yield from _empty_ones(verdicts, problems)


def _judged(
    what: str, verifier: Verifier, judging: Judging, pairs: Sequence[Pair]
) -> Iterator[Verdict]:
    """The verdicts on those of the completions that hold an answer, with a look at the progress."""
    told = time.monotonic()
    answers = list(_answers(verifier, pairs))
    with progress_bar(what, len(answers), "judged") as bar:
        for count, verdict in enumerate(judging.judge(answers), start=1):
            bar.show(count)
            if not bar.shown and time.monotonic() - told > LOG_SECONDS:
                told = time.monotonic()
                log.info("%s: %d of %d judged", what, count, len(answers))
            yield verdict


def _answers(verifier: Verifier, pairs: Sequence[Pair]) -> Iterator[tuple[Problem, Answer]]:
    for problem, completion in pairs:
        text = verifier.extract(problem, completion, "verbatim")
        if text is not None:
            yield problem, Answer(problem.task_id, answer_digest(text), text)


def _solutions(
    verdicts: Sequence[Verdict], right: Sequence[Pair], problems: Sequence[Problem]
) -> Iterator[Finding]:
    tried = Counter(problem.task_id for problem, _ in right)
    lacking = sum(problem.task_id not in tried for problem in problems)
    if not tried:
        yield Finding("warn", "solutions", "no reference: no problem has a known solution")
        return
    unread = tried - Counter(verdict.task_id for verdict in verdicts)
    wrong = {v.task_id: _reason(v) for v in verdicts if v.outcome != "passed"}
    wrong |= dict.fromkeys(unread, NO_ANSWER)
    if wrong:
        known = how_many(tried.total(), "known solution")
        found = f"{len(wrong)} of {known} {'does' if len(wrong) == 1 else 'do'} not pass"
        remedy = "mend the tests, or leave these problems out"
        yield Finding("fail", "solutions", found, remedy)
        yield from _named("fail", wrong, problems)
    else:
        found = _all(tried.total(), "known solution passes", "known solutions pass")
        if lacking:
            found += f"; no reference for {how_many(lacking, 'problem')}"
            yield Finding("warn", "solutions", found)
        else:
            yield Finding("ok", "solutions", found)


def _all(number: int, one: str, many: str) -> str:
    """`the only problem`, `all 12 problems`."""
    return f"the only {one}" if number == 1 else f"all {number} {many}"


def _reason(verdict: Verdict) -> str:
    return ": ".join(filter(None, (verdict.outcome, verdict.detail or verdict.kind)))


def _named(
    grade: Grade, reasons: Mapping[str, str], problems: Sequence[Problem]
) -> Iterator[Finding]:
    """A line for each of these problems, in their order: why it is named."""
    names = [problem.task_id for problem in problems if problem.task_id in reasons]
    for name in names[:MOST_NAMED]:
        yield Finding(grade, "problem", " ".join(f"{name}: {reasons[name]}".split()))
    if (more := len(names) - MOST_NAMED) > 0:
        yield Finding(grade, "problem", f"and {more} more; look at fewer by --task-ids")


def _slow_ones(
    verdicts: Iterable[Verdict], limits: Mapping[str, float | None]
) -> Iterator[Finding]:
    """Warns of known solutions that come near their time limit."""
    slow = []
    for verdict in verdicts:
        limit = limits[verdict.task_id]
        if limit and verdict.seconds > limit / 2:
            slow.append(f"{verdict.task_id} ({verdict.seconds:.1f} of {limit:g} s)")
    if slow:
        found = how_many(len(slow), "known solution takes", "known solutions take")
        found += " over half of the time limit: "
        found += ", ".join(sorted(slow)[:MOST_NAMED])
        yield Finding("warn", "slow ones", found, "give --timeout more, or tests that take less")


def _wrong_ones(
    verdicts: Sequence[Verdict], wrong: Sequence[Pair], problems: Sequence[Problem]
) -> Iterator[Finding]:
    """A problem is suspect when most of its wrong examples pass: one may be right by luck."""
    yield from _undecided(verdicts, problems)
    balance = Counter[str]()
    for verdict in verdicts:
        balance[verdict.task_id] += 1 if verdict.outcome == "passed" else -1
    fooled = {
        name: "most wrong examples pass: its tests check nothing"
        for name, more in balance.items()
        if more > 0
    }
    lacking = len({p.task_id for p in problems} - {p.task_id for p, _ in wrong})
    if fooled:
        found = f"{how_many(len(fooled), 'problem lets', 'problems let')} most wrong examples pass"
        yield Finding("fail", "wrong ones", found, "mend their tests, or leave them out")
        yield from _named("fail", fooled, problems)
    elif not verdicts:
        yield Finding("warn", "wrong ones", "no wrong example holds an answer: none was judged")
    elif lacking:
        found = f"{how_many(len(verdicts), 'wrong example')} judged; none is known for "
        found += how_many(lacking, "problem")
        yield Finding("warn", "wrong ones", found)
    else:
        found = _all(len(problems), "problem refuses", "problems refuse")
        found += f" wrong examples; {len(verdicts)} judged"
        yield Finding("ok", "wrong ones", found)


def _empty_ones(verdicts: Sequence[Verdict], problems: Sequence[Problem]) -> Iterator[Finding]:
    """An empty completion is no answer, or one that fails."""
    yield from _undecided(verdicts, problems)
    fooled = {v.task_id: "an empty answer passes" for v in verdicts if v.outcome == "passed"}
    if fooled:
        found = f"{how_many(len(fooled), 'problem lets', 'problems let')} an empty answer pass"
        yield Finding("fail", "empty ones", found, "mend their tests, or leave them out")
        yield from _named("fail", fooled, problems)
        return
    how = f"{len(verdicts)} judged" if verdicts else "it holds no answer to judge"
    found = _all(len(problems), "problem refuses", "problems refuse")
    found += f" an empty answer; {how}"
    yield Finding("ok", "empty ones", found)


def _undecided(verdicts: Iterable[Verdict], problems: Sequence[Problem]) -> Iterator[Finding]:
    """What the judge could not decide is no refusal."""
    errors = {v.task_id: _reason(v) for v in verdicts if v.outcome == "error"}
    if errors:
        found = f"answers to {how_many(len(errors), 'problem')} could not be judged"
        yield Finding("fail", "judge", found, "mend their references, or leave these problems out")
        yield from _named("fail", errors, problems)
