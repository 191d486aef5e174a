"""The runner of errands: how they end, what they are told and see, and its own death.

`builtins:exec` is the function here, so that an errand is any code.
"""

import ast
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_programs import descendants
from marks_in_memory import MARKS
from run_jobs import ROOT

from toolkit.errors import IsolationUnavailable, ToolkitError, UsageError
from toolkit.sandbox import errand_schedule
from toolkit.sandbox.errand_handle import ErrandHandle, Reply
from toolkit.sandbox.runner import Errand, Limits, Result, Runner

SAY = "global os, sys\nimport os, sys\ndef say(x): os.write(1, str(x).encode()); os._exit(0)\n"
LIMITS = Limits(memory_bytes=1 << 30, tree_bytes=600 << 20)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner("builtins:exec", workers=2, limits=LIMITS) as ready:
        yield ready


def errand(code: str, timeout: float = 2.0, stdin: bytes = b"", key: object = 0) -> Errand:
    return Errand(key, (SAY + code).encode(), timeout, stdin)


def one(runner: Runner, code: str, timeout: float = 2.0, stdin: bytes = b"") -> Result:
    (result,) = runner.run([errand(code, timeout, stdin)])
    return result


ENDS = {
    "say('x')": ("done", "", "", b"x"),
    "say(os.read(0, 9).decode())": ("done", "", "", b"input"),
    "1 / 0": ("failed", "exception", "ZeroDivisionError: division by zero", b""),
    "raise OSError(13, 'no')": ("failed", "refused", "PermissionError: [Errno 13] no", b""),
    "sys.exit(3)": ("failed", "exit", "SystemExit: 3", b""),
    "os._exit(3)": ("failed", "exit", "its process ended with status 3", b""),
    "os.write(1, b'x'); os.kill(os.getpid(), 11)": (
        "failed",
        "exit",
        "its process was ended by SIGSEGV",
        b"x",
    ),
    "x = bytearray(1 << 40)": ("failed", "memory", "MemoryError", b""),
    "while True: pass": ("timed_out", "time", "timed out", b""),
    "import time; time.sleep(99)": ("timed_out", "time", "timed out", b""),
    "import signal\nfor s in range(1, 32):\n    if s not in (9, 19): signal.signal(s, signal.SIG_IGN)\nwhile True: pass": (
        "timed_out",
        "time",
        "timed out",
        b"",
    ),
    "os.closerange(3, 256)\nwhile True: pass": ("timed_out", "time", "timed out", b""),
    "os.kill(os.getpid(), 19)": ("timed_out", "time", "timed out", b""),
    "if os.fork() == 0: 1 / 0\nos.wait()\nsay(1)": ("done", "", "", b"1"),
    "if os.fork() == 0:\n    while True: pass\nsay(1)": ("done", "", "", b"1"),
    "class E(Exception):\n    def __str__(self): raise E\nraise E": (
        "failed",
        "exit",
        "its process ended with status 1",
        b"",
    ),
}


@pytest.mark.parametrize("code", ENDS)
def test_how_an_errand_ends(runner: Runner, code: str) -> None:
    result = one(runner, code, stdin=b"input")
    assert (result.end, result.kind, result.detail, result.output) == ENDS[code]


def test_processes_that_hold_too_much_together_fail(runner: Runner) -> None:
    hold = "for _ in range(3):\n    if os.fork() == 0: break\nx = b'x' * (250 << 20)\nimport time; time.sleep(9)"
    result = one(runner, hold, timeout=8.0)
    assert (result.end, result.kind) == ("failed", "memory")
    assert result.detail.endswith("MiB of memory")


def test_output_is_bounded_and_may_be_large(runner: Runner) -> None:
    result = one(
        runner, "os.write(1, b'7') and [os.write(1, b'x' * 65536) for _ in range(250)]\nos._exit(0)"
    )
    assert (result.end, len(result.output)) == ("done", 1 + 250 * 65536)
    result = one(runner, "while True: os.write(1, b'x' * 65536)", timeout=20.0)
    assert (result.end, result.kind, result.detail) == (
        "failed",
        "memory",
        "it wrote more than 16 MiB",
    )


def test_what_a_function_returns_is_the_output_and_what_it_prints_is_not() -> None:
    with Runner("base64:b64encode", workers=1) as encoder:
        assert [r.output for r in encoder.run([Errand(1, b"abc", 2.0), Errand(2, b"", 2.0)])] == [
            b"YWJj",
            b"",
        ]
    with Runner("builtins:exec", workers=1) as ready:
        assert one(ready, "print('noise', flush=True)\nsay(1)").output == b"1"


def test_results_bear_their_keys_and_errands_are_read_as_they_are_done(runner: Runner) -> None:
    read = 0

    def errands() -> Iterator[Errand]:
        nonlocal read
        for read in range(1, 201):
            yield errand(f"say({read})", key=("k", read))

    results = runner.run(errands())
    first = [next(results) for _ in range(10)]
    assert read < 60
    found = {r.key: r.output for r in [*first, *results]}
    assert found == {("k", i): str(i).encode() for i in range(1, 201)}


def test_an_errand_may_follow_upon_a_result(runner: Runner) -> None:
    def then(result: Result) -> Errand | None:
        count = int(result.output)
        return errand(f"say({count + 1})", key=result.key) if count < 5 else None

    results = list(runner.run((errand("say(0)", key=i) for i in range(7)), then))
    assert sorted((r.key, r.output) for r in results) == [(i, b"5") for i in range(7)]


def test_a_run_may_be_left_and_another_begun(runner: Runner) -> None:
    for _ in range(3):
        results = runner.run(errand("say(1)") for _ in range(50))
        assert next(results).output == b"1"
        results.close()
    assert [r.output for r in runner.run([errand("say(2)")])] == [b"2"]


def test_an_errand_finds_nothing_of_others(runner: Runner) -> None:
    """Neither data of those before it and after it, nor what they left behind."""
    mark = "say(b'{}'.decode() * 3)"
    leave = "open('/tmp/left', 'w').write('x'); open('left', 'w').write('x'); os.fork() or __import__('time').sleep(60)\nsay(1)"
    look = (
        MARKS
        + "say([sorted(found), os.listdir('.'), os.listdir('/tmp'), [p for p in os.listdir('/proc') if p.isdigit()].__len__()])"
    )
    before = [
        errand(mark.format(f"zz{100000 + i}"), stdin=b"zz%d" % (200000 + i)) for i in range(6)
    ]
    after = [errand(mark.format(f"zz{300000 + i}"), stdin=b"zz%d" % (400000 + i)) for i in range(6)]
    looks = [errand(look, timeout=9.0, key="look") for _ in range(4)]
    left = [errand(leave) for _ in range(4)]
    results = list(runner.run([*before, *left, *looks, *after]))
    assert {r.end for r in results} == {"done"}
    (seen,) = {r.output for r in results if r.key == "look"}
    data, here, temporary, processes = ast.literal_eval(seen.decode())
    assert (data, here, processes) == ([], [], 2)
    # A checkout in /tmp is mounted there, so that its Python can be read.
    assert set(temporary) <= {"work", *Path(sys.prefix).parts, *ROOT.parts}


@pytest.mark.slow
def test_results_do_not_depend_on_neighbours_or_load() -> None:
    codes = [
        *(f"say(sum(range({n})))" for n in range(20)),
        "while True: pass",
        "1 / 0",
        "import time; time.sleep(9)",
    ]
    found = []
    for workers in (1, 8):
        with Runner("builtins:exec", workers=workers, limits=LIMITS) as ready:
            results = ready.run(errand(c, timeout=1.0, key=i) for i, c in enumerate(codes * 2))
            found.append(sorted((r.key, r.end, r.kind, r.detail, r.output) for r in results))
    assert found[0] == found[1]
    assert [r[1] for r in found[0]].count("timed_out") == 4


def test_a_doubtful_timeout_is_confirmed_when_nothing_else_runs(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies, submit = ErrandHandle.replies, ErrandHandle.submit
    submitted: list[tuple[object, bool]] = []

    def busy_at_first(self: ErrandHandle) -> list[Reply]:
        return [
            r._replace(is_doubtful=r.result.end == "timed_out" and not r.task.confirming)
            for r in replies(self)
        ]

    def spy(self: ErrandHandle, task: errand_schedule.Task) -> None:
        submitted.append((task.errand.key, task.confirming))
        submit(self, task)

    monkeypatch.setattr(ErrandHandle, "replies", busy_at_first)
    monkeypatch.setattr(ErrandHandle, "submit", spy)
    codes = {"endless": "while True: pass", **{f"quick {i}": f"say({i})" for i in range(9)}}
    results = list(runner.run(errand(c, timeout=0.5, key=k) for k, c in codes.items()))
    assert results[-1].key == "endless"
    assert results[-1].end == "timed_out"
    assert submitted[-1] == ("endless", True)
    assert submitted.count(("endless", False)) == 1
    assert {r.key for r in results} == set(codes)


def test_an_errand_follows_also_upon_a_confirmed_timeout(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = ErrandHandle.replies

    def busy(self: ErrandHandle) -> list[Reply]:
        return [r._replace(is_doubtful=r.result.end == "timed_out") for r in replies(self)]

    def then(result: Result) -> Errand | None:
        return errand("say(1)") if result.end == "timed_out" else None

    monkeypatch.setattr(ErrandHandle, "replies", busy)
    results = list(runner.run((errand("while True: pass", timeout=0.3) for _ in range(3)), then))
    assert [r.output for r in results] == [b"1"] * 3


@pytest.mark.slow
def test_an_errand_that_kills_its_worker_is_an_error(runner: Runner) -> None:
    """Nothing in the sandbox can: the test does it, by the supervisor's own handle."""
    submit = ErrandHandle.submit
    with pytest.MonkeyPatch.context() as patched:

        def kill(worker: int) -> None:
            # The oldest first, or a program's end is told before the worker's. With the first of
            # its pid namespace the others are gone already.
            for pid in sorted(descendants(worker)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        def deadly(self: ErrandHandle, task: errand_schedule.Task) -> None:
            submit(self, task)
            if task.errand.key == "deadly":  # in a second nothing is before it any more
                threading.Timer(1.0, kill, [self._process.pid]).start()

        patched.setattr(ErrandHandle, "submit", deadly)
        errands = [
            errand("say(1)"),
            errand("import time; time.sleep(60)", timeout=90.0, key="deadly"),
            errand("say(1)"),
        ]
        results = {r.key: r for r in runner.run(errands)}
    assert results["deadly"].end == "error"
    assert results["deadly"].detail.startswith("its worker died 2 times (")
    assert results[0].end == "done"
    assert one(runner, "say(2)").output == b"2"


def test_too_much_data_is_an_error_of_that_errand_alone(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand_schedule, "DATA_BYTES", 1 << 20)
    errands = [
        errand("say(1)", stdin=b"x" * (1 << 20) + b"x", key="large"),
        errand("say(1)", key="small"),
    ]
    results = {r.key: (r.end, r.detail) for r in runner.run(errands)}
    assert results == {"large": ("error", "its data are larger than 1 MiB"), "small": ("done", "")}


def test_what_may_be_read_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "a").write_text("shown")
    (folder / "b").write_text("hidden")
    look = f"say([os.path.exists('{folder}/' + n) and open('{folder}/' + n).read() for n in 'ab'])"
    with Runner("builtins:exec", workers=1, readable=[f"{folder}/a"]) as ready:
        assert one(ready, look).output == b"['shown', False]"
        assert one(ready, f"open('{folder}/a', 'a')").kind == "refused"


def test_what_cannot_be_imported_is_said_at_once() -> None:
    with pytest.raises(
        IsolationUnavailable, match="function: ModuleNotFoundError: No module named 'nothing'"
    ):
        Runner("nothing:here", workers=1)
    with pytest.raises(IsolationUnavailable, match="libraries: No module named 'nothing'"):
        Runner("builtins:exec", workers=1, libraries=["nothing"])
    with pytest.raises(UsageError, match="workers = 0"):
        Runner("builtins:exec", workers=0)


def test_leaving_ends_every_process() -> None:
    before = descendants(os.getpid())
    with Runner("builtins:exec", workers=2) as ready:
        results = ready.run(errand("import time; time.sleep(60)", timeout=60.0) for _ in range(2))
        assert ready.slow() == (0, 0.0)
        ready._workers[0].submit(
            errand_schedule.Task(10**6, errand("while True: pass", timeout=60.0))
        )
        assert descendants(os.getpid()) - before
        results.close()
    assert not descendants(os.getpid()) - before
    with pytest.raises(ToolkitError, match="the runner is closed"):
        list(ready.run([]))
