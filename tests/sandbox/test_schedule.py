"""Who executes what when: slow programs beside the rest, confirmations at once, nobody idle."""

import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from busy import patience
from hostile_programs import descendants

from toolkit.errors import ToolkitError
from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, answer_digest
from toolkit.sandbox import process, protocol, schedule
from toolkit.sandbox.executor import Executor, Limits
from toolkit.sandbox.handle import WorkerHandle
from toolkit.sandbox.runner import Errand, Runner
from toolkit.verifiers.python_tests import endings

TEST = "def check(candidate):\n    assert candidate() == 1\n"
ENDINGS = endings([python_problem("t/0", "", TEST, "f")])
ENDLESS = "def f():\n    while True: pass\n# {}"
ASLEEP = "import time\ntime.sleep(30)\n# {}"
QUICK = [f"def f(): return 1 + {i} - {i}" for i in range(640)]


def answer(text):
    return Answer("t/0", answer_digest(text), text)


class Observed:
    """What the workers are given: (worker, kind, text) in order; `seen` by an observer each time."""

    def __init__(self, monkeypatch, observe):
        self.events = []
        self.seen = []
        alone, batch = WorkerHandle.submit_alone, WorkerHandle.submit_batch

        def submit_alone(worker, job):
            self.events.append((worker, "confirm" if job.confirming else "alone", job.program.text))
            alone(worker, job)
            self.seen.append(observe(self.workers))

        def submit_batch(worker, jobs):
            self.events.append((worker, "batch", ""))
            batch(worker, jobs)
            self.seen.append(observe(self.workers))

        monkeypatch.setattr(WorkerHandle, "submit_alone", submit_alone)
        monkeypatch.setattr(WorkerHandle, "submit_batch", submit_batch)

    def run(self, texts, workers, timeout):
        with Executor(ENDINGS, workers=workers, limits=Limits(timeout=timeout)) as executor:
            self.workers = executor._workers
            return [v.outcome for v in executor.run(map(answer, texts))]


def endless(workers):
    """How many of the workers have been given an endless program to execute alone."""
    return sum(
        any("while True" in job.program.text and job.alone for job in worker.jobs.values())
        for worker in workers
    )


def confirming(workers):
    return sum(any(job.confirming for job in worker.jobs.values()) for worker in workers)


@pytest.mark.slow
def test_slow_programs_run_beside_the_rest_but_not_on_all_workers(monkeypatch):
    monkeypatch.setattr(schedule, "available_cores", lambda: 2)
    observed = Observed(monkeypatch, endless)
    given = []

    def texts():
        """Three slow programs, and quick ones until one of the slow is executed, and some more."""
        yield from (ENDLESS.format(i) for i in range(3))
        left = 640
        while left:
            given.append(f"def f(): return 1 + {len(given)} - {len(given)}")
            yield given[-1]
            if any("while True" in text for _, _, text in observed.events):
                left -= 1

    outcomes = observed.run(texts(), workers=2, timeout=1.0)
    assert (outcomes.count("timed_out"), outcomes.count("passed")) == (3, len(given))
    kinds = [kind for _, kind, _ in observed.events]
    last = len(kinds) - 1 - kinds[::-1].index("batch")
    slow = [i for i, (_, _, text) in enumerate(observed.events) if "while True" in text]
    assert slow[0] < last
    assert max(observed.seen[: last + 1]) == 1


@pytest.mark.slow
def test_slow_programs_wait_for_the_end_where_they_would_hold_up_all(monkeypatch):
    for workers, cores in ((1, 2), (2, 1)):
        monkeypatch.setattr(schedule, "available_cores", lambda cores=cores: cores)
        observed = Observed(monkeypatch, endless)
        outcomes = observed.run([ENDLESS.format(0), *QUICK[:100]], workers, timeout=1.0)
        assert outcomes.count("timed_out") == 1
        assert max(i for i, e in enumerate(observed.events) if e[1] == "batch") < min(
            i for i, (_, _, text) in enumerate(observed.events) if "while True" in text
        )
        monkeypatch.undo()


@pytest.mark.slow
def test_at_the_end_each_worker_has_a_slow_program(monkeypatch):
    monkeypatch.setattr(schedule, "available_cores", lambda: 2)
    observed = Observed(monkeypatch, endless)
    observed.run([ENDLESS.format(i) for i in range(2)], workers=2, timeout=1.0)
    assert max(observed.seen) == 2


def test_nothing_is_queued_behind_a_program_while_a_worker_has_nothing_to_do(monkeypatch):
    def busy(workers):
        return sorted(worker.jobs_alone for worker in workers)

    observed = Observed(monkeypatch, busy)
    observed.run([ASLEEP.format(i) for i in range(2)], workers=2, timeout=0.5)
    assert observed.seen
    assert [0, 2] not in observed.seen  # on a busy machine the first may end before the second


def test_doubtful_timeouts_are_confirmed_at_once(monkeypatch):
    replies = WorkerHandle.replies
    monkeypatch.setattr(
        WorkerHandle,
        "replies",
        lambda self: [reply._replace(load=protocol.BUSY) for reply in replies(self)],
    )
    monkeypatch.setattr(schedule, "available_cores", lambda: 2)
    observed = Observed(monkeypatch, confirming)
    texts = [ASLEEP.format(i) for i in range(4)]
    assert observed.run(texts, workers=3, timeout=0.3) == ["timed_out"] * 4
    events = [(kind, text) for _, kind, text in observed.events if kind != "batch"]
    assert {text for _, text in events[:4]} == set(texts)
    assert [kind for kind, _ in events] == ["alone"] * 4 + ["confirm"] * 5
    assert {text for _, text in events[4:8]} == set(texts)
    assert max(observed.seen[-5:-1]) == 2
    assert observed.seen[-1] == 1  # doubtful even alone: so the others need not try it


def test_what_is_doubtful_beside_others_is_confirmed_alone(monkeypatch):
    replies, doubtful = WorkerHandle.replies, []
    observed = Observed(monkeypatch, confirming)

    def busy_beside_others(self):
        beside = any(worker.jobs for worker in observed.workers if worker is not self)
        found = replies(self)
        doubtful.extend(r.job.program.text for r in found if beside and r.job.confirming)
        return [
            # Whatever else this machine does.
            r._replace(load=protocol.QUIET if r.job.confirming and not beside else protocol.BUSY)
            for r in found
        ]

    monkeypatch.setattr(WorkerHandle, "replies", busy_beside_others)
    monkeypatch.setattr(schedule, "available_cores", lambda: 2)
    texts = [ASLEEP.format(i) for i in range(4)]
    assert observed.run(texts, workers=2, timeout=0.3) == ["timed_out"] * 4
    assert doubtful
    confirmed = Counter()
    for (_, kind, text), at_once in zip(observed.events, observed.seen, strict=True):
        if kind == "confirm":
            confirmed[text] += 1
            assert confirmed[text] == 1 or at_once == 1
    assert {text for text, times in confirmed.items() if times > 1} == set(doubtful)


def test_a_confirmation_alone_is_the_last(monkeypatch):
    replies = WorkerHandle.replies
    monkeypatch.setattr(
        WorkerHandle,
        "replies",
        lambda self: [reply._replace(load=protocol.BUSY) for reply in replies(self)],
    )
    observed = Observed(monkeypatch, confirming)
    assert observed.run([ASLEEP.format(0)], workers=2, timeout=0.3) == ["timed_out"]
    assert [kind for _, kind, _ in observed.events] == ["batch", "alone", "confirm"]


def test_so_few_that_all_would_be_repeated_are_alone_at_once_if_that_is_asked_for(monkeypatch):
    observed = Observed(monkeypatch, len)
    texts = ["def f(): return 2", *QUICK[:3]]
    with Executor(ENDINGS, workers=2) as executor:
        observed.workers = executor._workers
        for count, asked, kinds in (
            (1, True, ["alone"]),
            (3, True, ["alone"] * 3),
            (1, False, ["batch", "alone"]),
            (4, True, ["batch", *["alone"] * 3]),
        ):
            observed.events.clear()
            found = executor.run(map(answer, texts[:count]), few_alone=asked)
            assert sorted(v.outcome for v in found) == ["failed"] + ["passed"] * (count - 1)
            assert [kind for _, kind, _ in observed.events] == kinds, (count, asked)


BOOT = process._BOOT


def starts_by(monkeypatch, text):
    """From now on a worker does this before it starts."""
    monkeypatch.setattr(process, "_BOOT", f"{text}; {BOOT}")


def kill_one_in_work(executor, verdicts):
    """Kill the first worker, once a verdict has come; which was it."""
    first = next(verdicts)
    worker = executor._workers[0]
    for pid in descendants(worker._process.pid) | {worker._process.pid}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return first, worker


def test_while_a_worker_starts_in_place_of_another_the_rest_go_on(monkeypatch):
    monkeypatch.setattr(process, "_STOP_SECONDS", 0.1)
    with Executor(ENDINGS, workers=2) as executor:
        verdicts = executor.run(map(answer, QUICK))
        starts_by(monkeypatch, "import time; time.sleep(600)")
        first, killed = kill_one_in_work(executor, verdicts)
        assert {v.outcome for v in [first, *verdicts]} == {"passed"}
        started = executor._workers[0]
        assert started is not killed
        assert not started.is_ready
        # The next run, too, does what there is to do by the other one.
        again = [v.outcome for v in executor.run(map(answer, QUICK[:100]))]
        assert again == ["passed"] * 100
        assert executor._workers[0] is started


def test_a_worker_ends_with_the_process_that_waits_for_it():
    with Executor(ENDINGS, workers=2) as executor:
        verdicts = executor.run(map(answer, QUICK))
        first = next(verdicts)
        outer = executor._workers[0]._process.pid
        below = descendants(outer)
        assert below
        os.kill(outer, signal.SIGKILL)
        assert {v.outcome for v in [first, *verdicts]} == {"passed"}
        until = time.monotonic() + patience(5)
        while any(Path(f"/proc/{pid}").exists() for pid in below):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_the_only_worker_is_waited_for(monkeypatch):
    with Executor(ENDINGS, workers=1) as executor:
        verdicts = executor.run(map(answer, QUICK[:200]))
        first, killed = kill_one_in_work(executor, verdicts)
        assert [v.outcome for v in [first, *verdicts]] == ["passed"] * 200
        assert executor._workers[0] is not killed


def test_a_worker_that_dies_while_it_starts_is_started_again_but_not_for_ever(monkeypatch):
    with Executor(ENDINGS, workers=1) as executor:
        verdicts = executor.run(map(answer, QUICK[:200]))
        starts_by(monkeypatch, "import os; os._exit(7)")
        kill_one_in_work(executor, verdicts)
        with pytest.raises(ToolkitError, match=r"did not start \(exit status 7\)"):
            list(verdicts)
        assert executor._workers[0].starts == process._MOST_STARTS


def test_errands_go_on_too_while_a_worker_starts(monkeypatch):
    monkeypatch.setattr(process, "_STOP_SECONDS", 0.1)
    errands = [Errand(i, b"%d" % i, timeout=20.0) for i in range(200)]
    with Runner("toolkit.sandbox.main_program:run", workers=2) as runner:
        starts_by(monkeypatch, "import time; time.sleep(600)")
        results = runner.run(errands)
        kill_one_in_work(runner, results)
        assert len(list(results)) == 199
        assert not runner._workers[0].is_ready
