"""Faults of vLLM with its core, and a worker of that, in processes of their own, as on a GPU.

Real processes, real signals, one array task after the other. Slices are short and sampling is slow,
so that each fault hits in the middle of one. tests/backends/test_engine_process.py has the same
with small engines, and more kinds of faults: there the task is killed too.
"""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from busy import patience, waiting_for_a_core
from run_jobs import ROOT, assert_each_sample_once
from sampling_process import SCRIPT

from toolkit.backends.processes import descendants, of_session, shared_memory
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.resolve import resolve

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

NOTICED = "starting it again"
CORE, WORKER = "VLLM::EngineCor", "VLLM::Worker"
"""Names of processes; Linux keeps 15 letters."""


class Task:
    """A sampling task with its engine, and a disk of the node of its own."""

    def __init__(self, run, config, engine, folder):
        self.run, self.disk = run, Path(tempfile.mkdtemp(prefix="disk-"))
        self.log = folder / f"{len(list(folder.glob('*.log')))}.log"
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests/backends")])
        where = {"TMPDIR": str(self.disk), "SLURM_TMPDIR": str(folder), "PYTHONPATH": path}
        given = [str(run.path), f"apart_engines:{engine}", pickle.dumps(config).hex()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *given], stderr=log, env=os.environ | where
            )
        self.sessions, self.memory = set(), set()

    def engine(self):
        """The processes of the engine, its guard among them; their traces are remembered."""
        own = os.getsid(self.process.pid)
        found = [p for p in descendants(self.process.pid) if p.session != own]
        self.sessions |= {p.session for p in found}
        return found

    def said(self, text):
        return self.log.read_text(errors="replace").count(text)

    def wait_for(self, condition, seconds=300):
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def wait_for_a_shard(self):
        """Of the engine that is up now or next."""
        before, ups = len(self.run.done()), self.said("engine up in")
        if self.said(NOTICED) == ups:  # it is still to come up
            self.wait_for(lambda: self.said("engine up in") > ups)
        self.wait_for(lambda: len(self.run.done()) > before)
        self.memory |= shared_memory(self.engine())

    def strike(self, name, number):
        (victim,) = [p for p in self.engine() if p.name.startswith(name)]
        os.kill(victim.pid, number)
        return time.monotonic()

    def signal_all(self, number):
        """As Slurm does: to every process of the task."""
        for process in self.engine():
            os.kill(process.pid, number)
        self.process.send_signal(number)
        return time.monotonic()

    def assert_ended(self, since, code=1):
        """Within 15 s, in one line, with nothing left."""
        assert self.process.wait(timeout=60) == code
        assert time.monotonic() - since < 15 * waiting_for_a_core()
        self.assert_nothing_left()
        last = self.log.read_text().splitlines()[-1]
        assert "stopped before the end" in last, last

    def assert_nothing_left(self):
        assert self.sessions
        until = time.monotonic() + patience(10)  # after a kill -9 the guard has this to do
        while any(map(of_session, self.sessions)) or list(self.disk.iterdir()):
            assert time.monotonic() < until, (self.sessions, list(self.disk.iterdir()))
            time.sleep(0.1)
        assert not [name for name in self.memory if Path(name).exists()]
        shutil.rmtree(self.disk)


@pytest.fixture
def begin(tiny_model, tmp_path):
    """Starts a task on what is missing of one run of 80 slices."""
    flags = {"model": str(tiny_model), "limit": 2, "samples": 160, "max_tokens": 150, "top_p": 1.0}
    slow = {"slice_samples": 4, "slice_seeds": 4, "max_num_seqs": 4, "cpu_kv_cache_gib": 1}
    config = resolve(flags | slow)
    run = freeze_launch(plan_launch(config, tmp_path, tmp_path / "run"))
    tasks = []

    def begin(engine):
        tasks.append(Task(run, config, engine, tmp_path))
        return tasks[-1]

    yield begin
    for task in tasks:
        task.process.kill()
        task.process.wait()
        shutil.rmtree(task.disk, ignore_errors=True)


TOLD = {
    (CORE, signal.SIGKILL): "EngineCore.* ended: killed by SIGKILL",
    (CORE, signal.SIGSTOP): r"process \d+ \(VLLM::EngineCor\) was stopped by a signal",
    (WORKER, signal.SIGKILL): r"Worker proc \S+ died unexpectedly",
    (WORKER, signal.SIGSTOP): r"process \d+ \(VLLM::Worker\) was stopped by a signal",
}


@pytest.mark.timeout(1500)
def test_faults_and_signals_one_after_the_other_lose_nothing(begin):
    """One run of one task after the other: an engine's start takes most of the time."""
    task = begin("WorkerApart")
    for done, ((name, number), cause) in enumerate(TOLD.items()):
        task.wait_for_a_shard()
        assert_replaced(task, name, number, cause, done)
    task.wait_for_a_shard()  # SIGUSR2, while it samples
    assert task.memory  # of the queue between core and worker
    task.assert_ended(task.signal_all(signal.SIGUSR2))
    before = {p.name: p.read_bytes() for p in task.run.samples_dir.glob("*.parquet")}
    assert 5 <= len(before) < 80

    signals_end_each_task_at_once(begin)
    assert 7 <= len(task.run.done()) < 80

    rest = begin("CoreApart")
    rest.wait_for(rest.engine)
    assert rest.process.wait(timeout=300) == 0
    rest.assert_nothing_left()
    after = {p.name: p.read_bytes() for p in rest.run.samples_dir.iterdir()}
    assert before.items() <= after.items()
    assert_each_sample_once(rest.run.path, problems=2, n=160)


def assert_replaced(task, name, number, cause, done):
    """A process of the engine that a signal hits is noticed in time, and the cause is said."""
    struck = task.strike(name, number)
    task.wait_for(lambda: task.said(NOTICED) > done)
    seconds = time.monotonic() - struck
    print(f"{name} {number.name}: noticed and ended in {seconds:.1f} s")
    assert seconds < 30 * waiting_for_a_core()
    line = [ln for ln in task.log.read_text().splitlines() if NOTICED in ln][-1]
    assert re.search(cause, line), line


def signals_end_each_task_at_once(begin):
    task = begin("CoreApart")  # SIGINT, while the engine starts
    task.wait_for(lambda: len(task.engine()) > 1)
    time.sleep(2.0)
    task.assert_ended(task.signal_all(signal.SIGINT))

    task = begin("CoreApart")  # SIGTERM, while the core is stopped
    task.wait_for_a_shard()
    task.strike(CORE, signal.SIGSTOP)
    time.sleep(1.0)
    task.assert_ended(task.signal_all(signal.SIGTERM))

    task = begin("CoreApart")  # SIGUSR2, while the core is dead
    task.wait_for_a_shard()
    task.strike(CORE, signal.SIGKILL)
    task.assert_ended(task.signal_all(signal.SIGUSR2))
