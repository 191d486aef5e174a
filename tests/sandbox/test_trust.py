"""A batch that somebody forges is not believed, and harms no verdict."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest
from run_jobs import ROOT

from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, answer_digest
from toolkit.sandbox import process, protocol, together, trust
from toolkit.sandbox.child import Child
from toolkit.sandbox.executor import Executor, Limits
from toolkit.sandbox.handle import Job, Reply
from toolkit.verifiers.python_tests import endings

TEST = "def check(candidate):\n    assert candidate() == 1\n"
ENDINGS = endings([python_problem("t/0", "", TEST, "f")])
RIGHT = [f"def f(): return 1 + {i} - {i}" for i in range(40)]
WRONG = [f"def f(): return 2 + {i}" for i in range(40)]
ESCAPE = """
"escaped"
import sys
frame = sys._getframe()
while "execute_batch" not in frame.f_globals:
    frame = frame.f_back
"""
FORGE = ESCAPE + 'frame.f_globals["_execute"] = lambda candidate: ({code!r}, {kind!r}, b"forged")\n'
ESCAPES = {
    "all pass": FORGE.format(code=b"P", kind=""),
    "all fail": FORGE.format(code=b"F", kind="exception"),
    "no such code": FORGE.format(code=b"X", kind=""),
    "timed out": FORGE.format(code=b"T", kind="time"),
    "ends": ESCAPE + "import os\nos._exit(0)\n",
    "closes the pipe": ESCAPE + "import os\nos.closerange(3, 100)\n",
}


def answer(text):
    return Answer("t/0", answer_digest(text), text)


@pytest.fixture
def _unguarded(tmp_path, monkeypatch):
    """Workers of a copy of the package, whose list of tame programs has a hole.

    What holds "escaped" is tame there, and stands first in its batch.
    """
    copy = tmp_path / "toolkit"
    shutil.copytree(ROOT / "toolkit", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "sandbox/tame.py").open("a") as file:
        file.write(
            "\n_guarded = is_tame\n"
            "def is_tame(tree, ending=NOTHING):\n"
            "    return 'escaped' in ast.dump(tree) or _guarded(tree, ending)\n"
        )
    worker = copy / "sandbox/worker.py"
    call = "self._judge_batch(batch)"
    text = worker.read_text()
    assert text.count(call) == 1
    first = "self._judge_batch(sorted(batch, key=lambda c: 'escaped' not in c.text))"
    worker.write_text(text.replace(call, first))
    tmp_path.chmod(0o755)
    monkeypatch.setattr(process, "_source_root", lambda: str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("_unguarded")
@pytest.mark.parametrize("name", ESCAPES)
def test_a_program_that_escapes_changes_no_verdict(name, caplog):
    escaped = WRONG[0] + ESCAPES[name]
    others = {"all pass": WRONG, "all fail": RIGHT}.get(name, RIGHT[:20] + WRONG[1:21])
    with Executor(ENDINGS, workers=2, limits=Limits(timeout=1.0)) as executor:
        found = {v.answer: v.outcome for v in executor.run(map(answer, [escaped, *others[1:30]]))}
        distrusted = executor.distrusted_batches
    for text in others[1:30]:
        assert found[answer_digest(text)] == ("passed" if text in RIGHT else "failed")
    assert found[answer_digest(escaped)] == "failed"
    if name.startswith("all "):
        assert distrusted == 1
        assert "is not believed" in caplog.text


@pytest.mark.usefixtures("_unguarded")
def test_an_escape_decides_its_batch_if_nothing_is_checked(monkeypatch):
    """The tests above would not hold without what they test."""
    monkeypatch.setattr(trust, "_to_repeat", lambda batch: set())
    escaped = WRONG[0] + ESCAPES["all pass"]
    with Executor(ENDINGS, workers=1) as executor:
        found = Counter(v.outcome for v in executor.run(map(answer, [escaped, *WRONG[1:30]])))
    assert found == {"failed": 1, "passed": 29}


def test_honest_batches_are_believed():
    with Executor(ENDINGS, workers=2) as executor:
        found = [v.outcome for v in executor.run(map(answer, RIGHT + WRONG))]
        assert executor.distrusted_batches == 0
    assert Counter(found) == {"passed": 40, "failed": 40}


def reply(job, code):
    kind = {protocol.PASSED: "", protocol.FAILED: "exception"}.get(code, "")
    return Reply(job, code, protocol.QUIET, 0.01, kind, "", ())


def job(text):
    return Job(0, answer(text), 0, 3.0)


class Judged:
    """A `Trust`, and what it says of batches of which a test decides what is reported."""

    def __init__(self):
        self.sentences = []
        self.trust = trust.Trust(itertools.count(1), self.sentences.append)
        self.verdicts = []
        self.canaries = []

    def batch(self, texts, report, alone):
        """Judge a batch; `report` and `alone` give the code of a text."""
        jobs = [job(text) for text in texts]
        batch = self.trust.compose(jobs)
        assert sorted(j.number for j in batch) == [j.number for j in batch]
        self.canaries = [j.program.text for j in batch if j not in jobs]
        for each in batch:
            self.verdicts += self.trust.take(reply(each, report(each.program.text)))
        held = len(self.verdicts)
        while self.trust.repetitions:
            repeated = self.trust.repetitions.popleft()
            code = alone(repeated.program.text)
            self.verdicts += self.trust.settle(repeated, trust.verdict_of(reply(repeated, code)))
        return held


def honest(text):
    return protocol.PASSED if text in RIGHT else protocol.FAILED


def test_verdicts_are_held_back_until_the_repetitions_agree():
    judged = Judged()
    assert judged.batch(RIGHT[:32], honest, honest) == 0
    assert len(judged.verdicts) == 32
    assert judged.trust.held == 0
    assert not judged.trust.alone


def test_a_batch_gets_a_canary_that_passed_and_one_that_failed():
    judged = Judged()
    judged.batch(RIGHT[:32], honest, honest)
    assert judged.canaries == []
    judged.batch(WRONG[:32], honest, honest)
    assert set(judged.canaries) < set(RIGHT[:32])
    judged.batch(RIGHT[32:], honest, honest)
    assert {honest(text) for text in judged.canaries} == {protocol.PASSED, protocol.FAILED}
    assert len(judged.canaries) == 2
    assert not judged.sentences


@pytest.mark.parametrize("code", [protocol.PASSED, protocol.FAILED])
def test_a_forged_canary_discards_the_whole_batch(monkeypatch, code):
    judged = Judged()
    judged.batch(RIGHT, honest, honest)
    judged.batch(WRONG, honest, honest)  # now there is a canary of each kind
    monkeypatch.setattr(trust, "_to_repeat", lambda batch: set())
    before = len(judged.verdicts)
    texts = [f"{text}  # again" for text in RIGHT[:32]]
    judged.batch(texts, lambda text: code, honest)
    assert len(judged.verdicts) == before
    assert {j.program.text for j in judged.trust.alone} == set(texts)
    assert len(judged.sentences) == 1


def test_a_repetition_that_disagrees_discards_the_whole_batch():
    judged = Judged()
    judged.batch(WRONG[:32], lambda text: protocol.PASSED, honest)
    assert {v.outcome for v in judged.verdicts} == {"failed"}  # those of the repetitions
    assert len(judged.verdicts) + len(judged.trust.alone) == 32
    assert len(judged.sentences) == 1


def test_what_is_repeated_is_drawn_anew_each_time():
    drawn = Counter()
    for _ in range(200):
        judged = Judged()
        judged.trust.compose(jobs := [job(text) for text in RIGHT[:32]])
        for each in jobs:
            judged.trust.take(reply(each, protocol.PASSED))
        drawn.update(j.program.text for j in judged.trust.repetitions)
    assert len(drawn) == 32  # one is missing with probability 1e-7


def candidates(n):
    ending = together.compile_ending(ENDINGS["t/0"])
    return [together.Candidate(i, RIGHT[i], ending, 3.0) for i in range(n)]


def results(script, deadline, n=3):
    """What the worker reads from a child that runs `script`, which has the pipe as `pipe`."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    text = f"import os, struct, time\npipe = {writing}\n{script}"
    with subprocess.Popen([sys.executable, "-c", text], close_fds=False) as sleeper:
        os.close(writing)
        proc = os.open("/proc", os.O_RDONLY)
        child = Child(sleeper.pid, reading, proc, pid_namespace=False)
        limit = time.monotonic() + deadline
        found = list(together.read_results(candidates(n), child, limit, lambda: None))
        sleeper.kill()
    os.close(reading)
    os.close(proc)
    return [(result.number, result.code) for result in found]


def test_a_batch_that_sleeps_is_broken_off():
    unfit = [(i, protocol.UNFIT) for i in range(3)]
    assert results("time.sleep(30)", 0.3) == unfit
    assert results("while True: time.sleep(.01); os.write(pipe, b'P')", 0.3)[-1] == unfit[-1]


@pytest.mark.parametrize(
    "record",
    [
        (b"T", 6, 0.1, b""),
        (b"X", 0, 0.1, b""),
        (b"P", 3, 0.1, b""),
        (b"F", 0, 0.1, b""),
        (b"F", 200, 0.1, b""),
        (b"P", 0, -1.0, b""),
        (b"P", 0, float("inf"), b""),
        (b"P", 0, float("nan"), b""),
        (b"P", 0, 100.0, b""),
    ],
)
def test_what_is_no_report_is_not_taken(record):
    code, kind, seconds, detail = record
    data = together._RECORD.pack(code, kind, seconds, len(detail)) + detail
    good = together._RECORD.pack(b"P", 0, 0.1, 0)
    found = results(f"os.write(pipe, {data + good * 9!r})", 20.0)
    assert found == [(0, protocol.UNFIT), (1, protocol.PASSED), (2, protocol.PASSED)]
