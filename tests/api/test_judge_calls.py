"""A judge to call: verdicts of evaluate, from several threads, whatever happens to its workers."""

import contextlib
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import polars as pl
import pytest
from hostile_programs import descendants

import toolkit
from toolkit.api import rounds
from toolkit.api.judging import FRAME_SCHEMA
from toolkit.errors import ToolkitError, UsageError
from toolkit.problems.load import load_problems
from toolkit.records import answer_digest

FEW = load_problems(limit=12)
ENDLESS = "    while True:\n        pass\n"


def both(problem, i=0):
    """A right completion and a wrong one, with a comment that makes them distinct."""
    return [
        (problem.task_id, f"{problem.solution}\n# {i}\n"),
        (problem.task_id, f"    return {i} == object\n"),
    ]


@pytest.fixture(scope="module")
def judge():
    with toolkit.Judge(FEW, workers=2, timeout=1.0) as found:
        yield found


def test_a_frame_has_a_row_for_each_program_in_their_order(judge):
    rows = [row for problem in FEW for row in both(problem)]
    found = judge(rows)
    assert found.schema == FRAME_SCHEMA
    assert found["task_id"].to_list() == [task_id for task_id, _ in rows]
    assert found["passed"].to_list() == [True, False] * len(FEW)
    assert set(found.filter(~pl.col("passed"))["kind"]) == {"wrong_answer"}
    assert found["answer"][0] == answer_digest(FEW[0].prompt + rows[0][1])
    assert judge([]).schema == FRAME_SCHEMA


def test_rows_may_be_mappings_or_a_frame_and_equal_ones_are_judged_once(judge):
    problem = FEW[0]
    whole = problem.prompt + problem.solution
    rows = [
        {"task_id": problem.task_id, "completion": problem.solution, "id": 7},
        {"task_id": problem.task_id, "solution": whole},
        {"task_id": problem.task_id, "completion": problem.solution},
    ]
    found = judge(rows)
    assert found["passed"].all()
    assert found["answer"].n_unique() == 1
    assert found["seconds"].n_unique() == 1, "one verdict for three rows"
    frame = pl.DataFrame({"task_id": [problem.task_id], "completion": ["    pass\n"]})
    assert judge(frame)["outcome"].to_list() == ["failed"]


def test_a_row_that_cannot_be_judged_is_named_and_nothing_is_judged(judge):
    task_id = FEW[0].task_id
    for row, says in (
        ((task_id + "0", "x"), "row 1: 'HumanEval/00' is not one of the 12 problems"),
        ({"task_id": task_id}, "row 1: field 'completion' is missing, or no string"),
        ({"task_id": task_id, "solution": 3}, "row 1: field 'solution' is missing, or no string"),
        ((task_id, "\ud800"), "row 1: field 'completion' has half of a surrogate pair"),
    ):
        with pytest.raises(UsageError, match=says):
            judge([both(FEW[0])[0], row])


def test_a_completion_without_an_answer_has_failed():
    with toolkit.Judge(FEW[:1], workers=1, style="chat") as judge:
        found = judge([(FEW[0].task_id, "<think>hm")])
    assert found.row(0, named=True)["kind"] == "no_answer"
    assert found["answer"].to_list() == [None]


def test_several_threads_ask_at_once_beside_a_program_that_never_ends(judge):
    """Each gets its own verdicts; equal answers of two threads are one."""

    def ask(i):
        return judge([row for problem in FEW for row in both(problem, i % 3)])["passed"].to_list()

    endless = judge.submit(FEW[0].task_id, ENDLESS)
    with ThreadPoolExecutor(6) as pool:
        for passed in pool.map(ask, range(6)):
            assert passed == [True, False] * len(FEW)
    verdict = endless.result(timeout=60)
    assert (verdict.outcome, verdict.kind) == ("timed_out", "time")


def test_what_comes_while_a_program_never_ends_does_not_wait_for_it(judge):
    """It joins the round: its verdict is there first, though it was asked for later."""
    endless = judge.submit(FEW[2].task_id, ENDLESS)
    time.sleep(0.2)  # it runs
    later = [judge.submit(*row) for row in both(FEW[3], 77)]
    done, _ = wait([endless, *later], timeout=60, return_when=FIRST_COMPLETED)
    assert done
    assert endless not in done
    assert [future.result(60).outcome for future in later] == ["passed", "failed"]
    assert endless.result(60).outcome == "timed_out"


def test_a_future_may_be_cancelled_and_has_one_verdict(judge):
    task_id, completion = both(FEW[1], 99)[0]
    gone = judge.submit(task_id, completion)
    gone.cancel()
    assert judge.submit(task_id, completion).result(timeout=60).outcome == "passed"


def children(pid):
    """The processes that a process has started and not waited for, by /proc."""
    found = []
    with contextlib.suppress(OSError):  # it ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def workers_of_this_process():
    """The processes that it has started to judge, by /proc."""
    started = []
    for pid in children(os.getpid()):
        with contextlib.suppress(OSError):
            if b"toolkit.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes():
                started.append(pid)
    return started


def verdicts_of(parts, copies):
    """Judge `parts` times 24 programs for each of `copies`; in each part a worker is killed.

    Its processes are killed with it, as a node without memory or a person may do it.
    """
    before, killed = set(workers_of_this_process()), 0
    with toolkit.Judge(FEW, workers=2) as judge:
        for part in range(parts):
            rows = [row for i in range(copies) for p in FEW for row in both(p, part * copies + i)]
            futures = [judge.submit(*row) for row in rows]
            own = [pid for pid in workers_of_this_process() if pid not in before]
            worker = own[part % len(own)]
            for pid in {worker} | descendants(worker):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += 1
            found = [future.result(120).outcome for future in futures]
            assert found == ["passed", "failed"] * (len(rows) // 2)
    assert killed == parts


@pytest.mark.slow
def test_every_verdict_comes_though_workers_are_killed():
    verdicts_of(parts=3, copies=10)


@pytest.mark.repeats
def test_ten_thousand_verdicts_come_though_twenty_workers_are_killed():
    verdicts_of(parts=20, copies=21)


class Breaking:
    """A judging that breaks as a library does. broken: how often."""

    def __init__(self, broken):
        self.isolation, self._broken = {}, broken

    def judge(self, pairs):
        for problem, _ in pairs:
            if self._broken:
                self._broken.pop()
                raise OSError(24, "Too many open files")
            yield toolkit.records.Verdict(problem.task_id, 5, "passed", "", "", (), 0.0)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("broken", "passes"), [(rounds.MOST_ATTEMPTS - 1, True), (rounds.MOST_ATTEMPTS, False)]
)
def test_a_judging_that_breaks_is_opened_anew_but_not_for_ever(broken, passes):
    left, told = [None] * broken, []
    found = rounds.Rounds(lambda: Breaking(left))
    answer = toolkit.records.Answer(FEW[0].task_id, 5, "x")
    found.ask(rounds.Asked(FEW[0], answer, told.append))
    found.close()
    assert isinstance(told[0], OSError) is not passes
    assert len(told) == 1
    with pytest.raises(ToolkitError, match="the judge is closed"):
        found.ask(rounds.Asked(FEW[0], answer, told.append))


def test_who_waits_when_a_judge_is_abandoned_is_told():
    judge = toolkit.Judge(FEW, workers=1, timeout=1.0)
    waiting = judge.submit(FEW[0].task_id, ENDLESS)
    judge.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(ToolkitError, match="closed before"):
        waiting.result(timeout=60)


def test_one_call_starts_and_ends_its_own_workers():
    before = workers_of_this_process()
    found = toolkit.judge("humaneval", both(load_problems()[3]), workers=1)
    assert found["passed"].to_list() == [True, False]
    assert workers_of_this_process() == before


def test_what_cannot_be_judged_here_is_refused():
    with pytest.raises(UsageError, match="humanevil"):
        toolkit.Judge(task="humanevil")
    with pytest.raises(UsageError, match="SWE-bench"):
        toolkit.Judge([toolkit.records.Problem("a", "p", "swebench", "{}")])
