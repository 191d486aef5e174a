"""A task with two engines, in real processes: their devices, faults, signals, and what is left.

The engines are small. The last test has the same with vLLM's.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busy import patience, waiting_for_a_core
from run_jobs import ROOT, assert_each_sample_once
from sampling_process import SCRIPT

from toolkit.backends.processes import descendants, of_session
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.resolve import resolve
from toolkit.runs.partials import list_partials
from toolkit.runs.shard_facts import read_facts

pytestmark = pytest.mark.slow

OTHERS = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (signal.SIGUSR2, *(pytest.param(n, marks=pytest.mark.repeats) for n in OTHERS))


class Task:
    """A sampling task in a process of its own, with the GPUs 5 and GPU-x."""

    def __init__(self, run, config, folder, step, engine="fake_engines:FakeEngine"):
        self.run, self.log = run, folder / f"{len(list(folder.glob('*.log')))}.log"
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests/backends")])
        own = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        own |= {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "5,GPU-x", "SLURM_TMPDIR": str(folder)}
        own |= {"FAKE_STEP": str(step)}
        given = [str(run.path), engine, pickle.dumps(config).hex()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *given], stderr=log, env=own
            )

    def engines(self):
        """The session of each engine -> its processes, its guard first."""
        found = {}
        for process in descendants(self.process.pid):
            if process.session != os.getsid(self.process.pid):
                found.setdefault(process.session, []).append(process)
        return found

    def wait_for(self, condition, seconds=120):
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def wait_for_both(self):
        self.wait_for(lambda: self.log.read_text().count(" up in ") == 2)
        return self.engines()

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def begin(tmp_path):
    model = tmp_path / "fake" / "works"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    flags = {"model": str(model), "limit": 2, "slice_samples": 10, "engines_per_task": 2}
    config = resolve(flags | {"samples": 200, "slice_seeds": 10})
    run, tasks = freeze_launch(plan_launch(config, tmp_path)), []

    def start(step=0.1):
        tasks.append(Task(run, config, tmp_path, step))
        return tasks[-1]

    yield start
    for task in tasks:
        task.end()


def gpu_of(guard):
    for line in Path(f"/proc/{guard}/environ").read_bytes().split(b"\0"):
        if line.startswith(b"CUDA_VISIBLE_DEVICES="):
            return line.partition(b"=")[2].decode()
    return None


def assert_all_end(engines, seconds=10):
    until = time.monotonic() + patience(seconds)
    while any(map(of_session, engines)):
        assert time.monotonic() < until, [of_session(e) for e in engines]
        time.sleep(0.05)


def test_each_has_its_gpu_and_none_outlives_a_killed_task(begin):
    """Before that, one of them is killed and replaced. Afterwards another task finishes the run."""
    task = begin()
    engines = task.wait_for_both()
    assert sorted(map(gpu_of, engines)) == ["5", "GPU-x"]
    victim = min(engines)
    os.kill(engines[victim][1].pid, signal.SIGKILL)
    task.wait_for(lambda: "starting it again" in task.log.read_text())
    task.wait_for(lambda: len(task.engines()) == 2 and victim not in task.engines())
    task.wait_for(lambda: task.log.read_text().count(" up in ") == 3)
    left = task.engines()
    assert sorted(map(gpu_of, left)) == ["5", "GPU-x"]
    assert len(task.run.done()) < 40
    task.end()
    assert_all_end(left)
    following = begin(step=0.001)
    assert following.process.wait(120) == 0, following.log.read_text()[-3000:]
    assert_each_sample_once(task.run.path, problems=2, n=200)
    found = {read_facts(path).origin.gpus for path in task.run.samples_dir.iterdir()}
    assert found == {"5", "GPU-x"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_both_with_what_is_finished(begin, number):
    """Also to the engines' processes, as Slurm sends it. One of them has been stopped before."""
    task = begin()
    engines = task.wait_for_both()
    task.wait_for(lambda: task.run.done())
    os.kill(engines[min(engines)][1].pid, signal.SIGSTOP)
    for process in [p for each in engines.values() for p in each]:
        os.kill(process.pid, number)
    task.process.send_signal(number)
    since = time.monotonic()
    assert task.process.wait(60) == 1
    assert time.monotonic() - since < 15 * waiting_for_a_core()
    assert_all_end(engines, 1)
    assert "stopped before the end" in task.log.read_text().splitlines()[-1]
    drawn = int(re.findall(r"(\d+)/400 samples", task.log.read_text())[-1])
    kept = sum(partial.samples for partial in list_partials(task.run))
    assert 10 * len(task.run.done()) + kept == drawn < 400
