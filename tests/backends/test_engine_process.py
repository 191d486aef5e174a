"""An engine in a process of its own: how its faults are noticed, and what is left of it.

The engines are small, but their processes and signals are real. tests/backends/test_engine_faults.py
has the same with vLLM.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from busy import patience
from run_jobs import ROOT, assert_each_sample_once

from toolkit.backends import open_backend
from toolkit.backends.engine_process import EngineProcess
from toolkit.backends.engine_watch import EngineWatch, Limits
from toolkit.backends.processes import (
    STOPPED,
    ZOMBIE,
    Process,
    all_processes,
    descendants,
    kill,
    of_session,
)
from toolkit.config import Config, Sampling
from toolkit.errors import EngineFailure, EngineRefused, StartInterrupted, UsageError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.models.node_disk import alone_in, node_folder
from toolkit.records import Load, Prompt, Request
from toolkit.resolve import resolve
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest

QUICK = Limits(check=0.2, stopped=0.5, idle=1.0, step=5.0, startup=60.0)


def start(way, limits=QUICK, stop_requested=lambda: False):
    config = Config(sampling=Sampling(model=way))
    return EngineProcess(config, "fake_engines:FakeEngine", stop_requested, limits)


def draw(engine, n=10):
    for seed in range(n):
        engine.submit(Request("a", seed, Prompt((), "x")))
    found = []
    while len(found) < n:
        found += engine.step()
    return found


def assert_nothing_is_left(before):
    """Of the children that this process had before, and of sessions that it began."""
    assert {p.pid for p in descendants(os.getpid())} <= before


@pytest.fixture
def children():
    before = {p.pid for p in descendants(os.getpid())}
    yield
    assert_nothing_is_left(before)


@pytest.mark.usefixtures("children")
def test_samples_come_back_with_the_load_of_the_engine():
    engine = start("steady")
    assert [s.seed for s in draw(engine)] == list(range(10))
    assert engine.load() == Load(0.1, 10)
    assert engine.load() == Load(None, 10)
    assert engine.step() == []
    assert engine.describe().engine == "fake"
    engine.close()
    engine.close()


WAYS = {
    "dies": "its process ended: killed by SIGKILL",
    "exits": "its process ended: exit code 3",
    "raises": "RuntimeError: today",
    "stops": r"process \d+ \(.*\) was stopped by a signal",
    "sleeps": "it was silent: no step in .* s, and no CPU time used",
    "spins": "it was lost: no step in 5 s",
    "loses its child": r"SpawnProcess-1 \(\d+\) ended: killed by SIGKILL; its last words: "
    "ValueError: the child's last words;",
    "has a child that stops": r"process \d+ \(.*\) was stopped by a signal",
    "dies at start": "its process ended: killed by SIGKILL",
    "stops at start": r"process \d+ \(.*\) was stopped by a signal",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("children")
def test_a_failed_engine_is_noticed_and_says_how_it_ended(way):
    with pytest.raises(EngineFailure) as raised:
        draw(start(way))
    line = str(raised.value)
    assert re.search(WAYS[way], line), line
    assert "\n" not in line
    assert line.endswith("see the log, then launch again")


@pytest.mark.usefixtures("children")
def test_an_engine_that_takes_too_long_to_start_is_given_up():
    with pytest.raises(EngineFailure, match=r"it was not up after 2 s"):
        start("sleeps at start", Limits(check=0.2, startup=2.0))


@pytest.mark.usefixtures("children")
def test_an_engine_that_refuses_says_why():
    with pytest.raises(EngineRefused, match=r"^cannot start with that$"):
        start("refuses at start")
    with pytest.raises(UsageError, match=r"^the prompt is too long$"):
        draw(start("finds it too long"))


@pytest.mark.slow
@pytest.mark.usefixtures("children")
def test_a_step_that_takes_long_but_works_goes_on(caplog):
    engine = start("works long", Limits(check=0.2, stopped=0.5, idle=1.0, step=60.0))
    assert len(draw(engine)) == 10
    engine.close()
    (finding,) = [r.getMessage() for r in caplog.records if "no step for" in r.getMessage()]
    assert "its processes use " in finding
    assert "it is given up after 60 s" in finding


@pytest.mark.usefixtures("children")
@pytest.mark.parametrize("way", ["sleeps", "stops"])
def test_a_stop_while_the_engine_starts_ends_it(way):
    began = time.monotonic()
    with pytest.raises(StartInterrupted):
        start(f"{way} at start", Limits(), lambda: time.monotonic() > began + 1)
    assert time.monotonic() - began < patience(10)


def left_by(line):
    """The things that the fake engine names in its line of output, and that still exist."""
    _, *memory, folder = line.split()
    return [p for p in [*(Path("/dev/shm", m) for m in memory), Path(folder)] if p.exists()]


@pytest.mark.usefixtures("children")
def test_a_closed_engine_leaves_no_process_no_memory_and_no_socket():
    engine = start("leaves things")
    draw(engine)
    line = memory_line(engine)
    assert len(left_by(line)) == 3
    session = engine._guard.pid
    assert len(of_session(session)) >= 3  # guard, engine, an orphan of it
    engine.close()
    assert not left_by(line)
    assert not of_session(session)


def test_what_an_engine_left_that_was_killed_with_its_guard_goes_with_the_next(monkeypatch):
    short = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    first, second = start("steady"), start("steady")
    session = first._guard.pid
    assert len(list(short.iterdir())) == 2  # an engine that lives keeps its own
    kill(of_session(session))
    while any(p.state != ZOMBIE for p in of_session(session)):
        time.sleep(0.01)
    third = start("steady")
    assert {str(p) for p in short.iterdir()} == {second._folder, third._folder}
    for engine in (first, second, third):
        engine.close()
    short.rmdir()


def memory_line(engine):
    """What "leaves things" says of itself; it comes to the log at its own time."""
    while True:
        for line in list(engine._lines):
            if line.startswith("memory "):
                return line
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["task", "guard", "stopped guard", "task, engine stopped"])
def test_whoever_is_killed_no_process_is_left(who, tmp_path):
    code = (
        "import test_engine_process as t, time\n"
        "engine = t.start('leaves things', t.Limits())\n"
        "print(engine._guard.pid, t.memory_line(engine), flush=True)\n"
        "try:\n"
        "    while t.draw(engine, 1): pass\n"
        "finally: engine.close()\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    task = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    guard, line = task.stdout.readline().split(maxsplit=1)
    time.sleep(0.5)
    session = of_session(int(guard))
    assert len(session) >= 3
    if who == "task, engine stopped":
        for process in session:
            if process.pid != int(guard):
                os.kill(process.pid, signal.SIGSTOP)
    if who == "stopped guard":
        os.kill(int(guard), signal.SIGSTOP)
        task.send_signal(signal.SIGINT)
    else:
        os.kill(int(guard) if who == "guard" else task.pid, signal.SIGKILL)
    task.communicate(timeout=15)
    until = time.monotonic() + patience(10)
    while of_session(int(guard)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not of_session(int(guard))
    if who.startswith("task"):
        while left_by(line) and time.monotonic() < until:
            time.sleep(0.1)
        assert not left_by(line)


@pytest.mark.usefixtures("children", "fake_vllm")
def test_a_stop_while_the_model_is_staged_ends_it(tmp_path, monkeypatch):
    """vLLM's own backend, which waits for another array task to copy the model."""
    monkeypatch.setattr("toolkit.backends.VLLM", "toolkit.backends.vllm:VllmBackend")
    model, disk = tmp_path / "model", tmp_path / "disk"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    config = resolve({"model": str(model), "stage_model": str(disk)})
    began = time.monotonic()
    with alone_in(node_folder("models", str(disk))), pytest.raises(StartInterrupted):
        open_backend(config, {}, lambda: time.monotonic() > began + 3)
    assert time.monotonic() - began < patience(15)


class Looks:
    """Processes that the test makes up, one look after the other."""

    def __init__(self):
        self.state, self.cpu = "S", 0.0

    def __call__(self):
        return [Process(7, "core", self.state, 1, 7, self.cpu)]


def watch_of(looks, limits=None):
    return EngineWatch(looks, limits or Limits())


def pass_seconds(watch, seconds, looks=None, cores=0.0):
    for _ in range(seconds):
        if looks:
            looks.cpu += cores
        watch.passed(1.0)


def test_a_silent_engine_is_seen_within_thirty_seconds():
    watch = watch_of(Looks())
    watch.heard()
    with pytest.raises(EngineFailure, match="silent"):
        pass_seconds(watch, 30)


def test_a_stopped_engine_is_seen_within_thirty_seconds_also_at_its_start():
    looks = Looks()
    watch = watch_of(looks)
    pass_seconds(watch, 100)  # it loads from a slow file system
    looks.state = "T"
    with pytest.raises(EngineFailure, match=r"process 7 \(core\) was stopped"):
        pass_seconds(watch, 30)


def test_an_engine_that_goes_on_at_once_was_not_stopped():
    looks = Looks()
    watch = watch_of(looks)
    for _ in range(10):
        looks.state = "T"
        pass_seconds(watch, 8)
        looks.state = "S"
        pass_seconds(watch, 4)


def test_an_engine_that_computes_may_take_longer():
    looks = Looks()
    watch = watch_of(looks)
    watch.heard()
    pass_seconds(watch, 200, looks, cores=0.2)
    watch.heard()
    pass_seconds(watch, 1900, looks, cores=0.2)  # ten times as long as the longest before
    with pytest.raises(EngineFailure, match="it was lost: no step in 2000 s"):
        pass_seconds(watch, 100, looks, cores=0.2)


def test_an_engine_of_slow_steps_may_be_silent_for_longer():
    watch = watch_of(Looks())
    watch.heard()
    pass_seconds(watch, 10)
    watch.heard()
    pass_seconds(watch, 96)
    with pytest.raises(EngineFailure, match=r"silent: no step in 10. s"):
        pass_seconds(watch, 8)


@pytest.fixture
def fake_vllm(monkeypatch):
    monkeypatch.setattr("toolkit.backends.VLLM", "fake_engines:FakeEngine")
    monkeypatch.setattr("toolkit.backends.engine_process.Limits", lambda **_: QUICK)
    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)}
    yield StopRequest()
    for number, handler in before.items():
        signal.signal(number, handler)


def run_of(way, folder, **more):
    model = folder / "fake" / way
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    flags = {"model": str(model), "limit": 2, "samples": 6, "slice_samples": 4, "slice_seeds": 4}
    config = resolve(flags | more)
    return freeze_launch(plan_launch(config, folder)), config


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dies", "stops"])
@pytest.mark.usefixtures("children")
def test_engines_that_fail_after_a_slice_are_replaced_until_all_is_there(way, tmp_path, fake_vllm):
    run, config = run_of(way, tmp_path)
    assert run_sampling(run, [s.name for s in run.slices()], config, fake_vllm)
    assert_each_sample_once(run.path, problems=2, n=6)


@pytest.mark.usefixtures("children")
def test_two_fruitless_starts_end_the_task_with_the_cause(tmp_path, fake_vllm, caplog):
    run, config = run_of("dies at start", tmp_path)
    with pytest.raises(EngineFailure, match="killed by SIGKILL"):
        run_sampling(run, [s.name for s in run.slices()], config, fake_vllm)
    assert caplog.text.count("starting it again") == 1


@pytest.mark.usefixtures("children")
def test_an_engine_that_refuses_is_not_asked_twice(tmp_path, fake_vllm, caplog):
    run, config = run_of("refuses at start", tmp_path)
    with pytest.raises(EngineRefused, match="cannot start with that"):
        run_sampling(run, [s.name for s in run.slices()], config, fake_vllm)
    assert "starting it again" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", ["sleeps", "stops at start"])
@pytest.mark.usefixtures("children")
def test_signals_end_the_task_whatever_the_engine_does(
    way, number, tmp_path, fake_vllm, monkeypatch
):
    """Also those that reach the engine's processes first."""
    monkeypatch.setattr("toolkit.backends.engine_process.Limits", Limits)
    run, config = run_of(way, tmp_path)
    session, began = {}, []

    def strike():
        found = []
        while not (run.done() if way == "sleeps" else any(p.state == STOPPED for p in found)):
            time.sleep(0.1)
            found = [p for p in descendants(os.getpid()) if p.session != os.getsid(0)]
        began.append(time.monotonic())
        session.update({p.pid: p.session for p in found})
        for pid in [*session, os.getpid()]:
            os.kill(pid, number)

    striker = threading.Thread(target=strike)
    striker.start()
    assert not run_sampling(run, [s.name for s in run.slices()], config, fake_vllm)
    assert time.monotonic() - began[0] < patience(15)
    striker.join()
    assert session
    assert not {p.session for p in all_processes()} & set(session.values())
    assert fake_vllm.near_time_limit == (number == signal.SIGUSR2)
    if way == "sleeps":
        assert len(run.done()) == 1  # five samples of slices of four
