"""Whether the reports of a batch are believed: the second defence, after the list of tame programs.

A batch is executed in one child, which reports on all its programs. A program that gets past
`toolkit.sandbox.tame` could forge these reports. So none of them counts, until they agree with what
a process of its own says

- of the *canaries*: programs of this run whose verdicts were established alone before. One that
  passed and one that failed are mixed into every batch, as soon as there are any;
- of those that are *repeated* alone now: a random share of what passed in the batch. It is filled
  up to one program at least, and to one more for each canary that is missing.

One disagreement, and nothing of the batch is believed: each of its programs is executed alone, and
the disagreement is reported.

A program cannot tell canaries from its neighbours. They are programs of this run, the order is
random, the numbers of the jobs follow it, and what is repeated is chosen after the batch has ended.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

from toolkit.records import Answer, Verdict
from toolkit.sandbox.handle import Job, Reply
from toolkit.sandbox.protocol import FAILED, OUTCOMES, PASSED, SLOW

CANARIES: Final = (PASSED, FAILED)
"""The canaries of a batch: what became of each when it was alone."""
REPEATED_SHARE: Final = 1 / 32
"""The probability that a program that passed in a batch is repeated."""
MIN_REPEATED: Final = 1
"""Programs of each batch that are repeated at least, whatever became of them; one more for each
canary that is missing, or was not executed."""

_random: Final = random.SystemRandom()


class _Batch:
    """A batch until it is believed, or not."""

    def __init__(self) -> None:
        self.unanswered: set[int] = set()  # numbers of jobs
        self.canaries: dict[int, bytes] = {}  # number -> the code that is right
        self.agreeing = 0  # canaries
        self.held: dict[int, Reply] = {}  # number -> what the batch says
        self.repeated: dict[int, int] = {}  # number of the repetition -> number
        self.alone: dict[int, Verdict] = {}  # number -> what its repetition says
        self.disagreement = ""


class Trust:
    """Composes batches, holds their replies back, and decides whether they are believed.

    numbers: the numbers of jobs to come. distrust: called with a sentence about each batch that is
    not believed. What is to be executed alone now is in `repetitions`, `alone` and, if it will
    take long, `slow`.
    """

    def __init__(self, numbers: Iterator[int], distrust: Callable[[str], None]) -> None:
        self.repetitions: deque[Job] = deque()
        self.alone: deque[Job] = deque()
        self.slow: deque[Job] = deque()
        self.held = 0  # programs in batches that are not decided
        self._numbers = numbers
        self._distrust = distrust
        self._batches: dict[int, _Batch] = {}  # number of a job or of a repetition -> its batch
        self._known: dict[tuple[int, bytes], Answer] = {}  # (ending, code) -> tame, and was alone

    def compose(self, jobs: list[Job]) -> list[Job]:
        """A batch of these jobs and its canaries, in random order, numbered in this order."""
        batch = _Batch()
        mixed = [(job, b"") for job in jobs] + self._canaries(jobs)
        _random.shuffle(mixed)
        for job, code in mixed:
            job.number = next(self._numbers)
            self._batches[job.number] = batch
            batch.unanswered.add(job.number)
            if code:
                batch.canaries[job.number] = code
        self.held += len(jobs)
        return [job for job, _ in mixed]

    @property
    def least_repeated(self) -> int:
        """How many programs of a batch that is composed now are repeated alone, at least."""
        known = {code for _, code in self._known}
        return MIN_REPEATED + sum(code not in known for code in CANARIES)

    def take_alone(self, jobs: list[Job]) -> None:
        """Take jobs that are in no batch: each is executed alone."""
        for job in jobs:
            job.number = next(self._numbers)
        self.alone.extend(jobs)

    def _canaries(self, jobs: list[Job]) -> list[tuple[Job, bytes]]:
        """A canary and its code for each of `CANARIES` that is at hand.

        Its problem is no odd one out: many of the batch have it, or few have any in common.
        """
        found = []
        texts = {job.program.text for job in jobs}
        common = Counter(job.ending for job in jobs)
        for wanted in CANARIES:
            known = [
                (ending, program)
                for (ending, code), program in self._known.items()
                if code == wanted and program.text not in texts
            ]
            close = [k for k in known if common[k[0]] > 1] or [k for k in known if k[0] in common]
            if candidates := close or known:
                ending, program = _random.choice(candidates)
                found.append((Job(0, program, ending, jobs[0].timeout), wanted))
        return found

    def take(self, reply: Reply) -> list[Verdict]:
        """Take what a batch says of a job; the verdicts that are certain by it."""
        number = reply.job.number
        batch = self._batches.pop(number)
        batch.unanswered.discard(number)
        if number in batch.canaries:
            right = batch.canaries[number]
            batch.agreeing += reply.code == right
            if reply.code in OUTCOMES and reply.code != right:
                batch.disagreement = _sentence(reply.job, reply.code, OUTCOMES[right])
        elif reply.code in OUTCOMES:
            batch.held[number] = reply
        else:
            self.held -= 1
            (self.slow if reply.code == SLOW else self.alone).append(reply.job)
        return self._next(batch)

    def lose(self, job: Job) -> list[Verdict]:
        """Take notice that the worker died that had this job; the verdicts that are certain by it.

        The job is to be executed alone, unless it is a canary.
        """
        batch = self._batches.pop(job.number)
        batch.unanswered.discard(job.number)
        if job.number not in batch.canaries:
            self.held -= 1
            self.alone.append(job)
        return self._next(batch)

    def settle(self, job: Job, verdict: Verdict) -> list[Verdict]:
        """Take the verdict of a job that was alone; the verdicts that are certain by it."""
        batch = self._batches.pop(job.number, None)
        if batch is None:
            return [verdict]
        number = batch.repeated.pop(job.number)
        batch.alone[number] = verdict
        said = batch.held[number]
        if verdict.outcome != OUTCOMES[said.code]:
            batch.disagreement = _sentence(job, said.code, verdict.outcome)
        else:
            self._known[job.ending, said.code] = job.program
        return self._decide(batch)

    def _next(self, batch: _Batch) -> list[Verdict]:
        """What follows from a reply of the batch: nothing before the last one."""
        if batch.unanswered:
            return []
        if not batch.disagreement:
            for number in _to_repeat(batch):
                job = batch.held[number].job
                repetition = Job(next(self._numbers), job.program, job.ending, job.timeout)
                batch.repeated[repetition.number] = number
                self._batches[repetition.number] = batch
                self.repetitions.append(repetition)
        return self._decide(batch)

    def _decide(self, batch: _Batch) -> list[Verdict]:
        """The verdicts of a batch after its last repetition: what was executed alone counts."""
        if batch.repeated:
            return []
        self.held -= len(batch.held)
        verdicts = list(batch.alone.values())
        for number, reply in batch.held.items():
            if number in batch.alone:
                continue
            if batch.disagreement:
                self.alone.append(reply.job)
            else:
                verdicts.append(verdict_of(reply))
        if batch.disagreement:
            self._distrust(batch.disagreement)
        return verdicts


def verdict_of(reply: Reply) -> Verdict:
    """The verdict that a reply gives; its code is one of `OUTCOMES`."""
    outcome = OUTCOMES[reply.code]
    return reply.job.verdict(outcome, reply.seconds, reply.kind, reply.detail, reply.suspect)


def _to_repeat(batch: _Batch) -> set[int]:
    """Numbers of the jobs of a batch that are repeated alone."""
    passed = [number for number, reply in batch.held.items() if reply.code == PASSED]
    chosen = {number for number in passed if _random.random() < REPEATED_SHARE}
    others = [number for number in batch.held if number not in chosen]
    least = MIN_REPEATED + len(CANARIES) - batch.agreeing
    more = min(max(least - len(chosen), 0), len(others))
    return chosen.union(_random.sample(others, more))


def _sentence(job: Job, code: bytes, alone: str) -> str:
    """What a batch and a process of its own say of a job."""
    program = f"program {job.program.digest:016x} of {job.program.task_id}"
    return f"{program} {OUTCOMES[code]} in a batch, and {alone} alone"
