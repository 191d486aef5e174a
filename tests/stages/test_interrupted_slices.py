"""A sampling process that is told to stop keeps what is finished, whatever the disk does."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from toolkit.backends import open_backend
from toolkit.config import Config, Engine, ProblemSet, Quantity, Sampling
from toolkit.errors import ToolkitError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.runs.partials import list_partials
from toolkit.runs.shard_facts import Origin, ShardFacts, read_facts
from toolkit.runs.shards import read_shard
from toolkit.stages import sampler as sampling
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import examples_of, prompts_of

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=4),
    quantity=Quantity(samples=30, slice_samples=60),
    engine=Engine(max_num_seqs=70, synthetic_rate=100.0),
)
TASK = (
    "import sys, pickle; from pathlib import Path\n"
    "from toolkit.launch.tasks import sampling_task\n"
    "from toolkit.stages import sample\n"
    "path, config, before = sys.argv[1], pickle.loads(bytes.fromhex(sys.argv[2])), sys.argv[3]\n"
    "start = sample.open_backend\n"
    "sample.open_backend = lambda *args: exec(before) or start(*args)\n"
    "sampling_task(Path(path), sys.argv[4:], config)\n"
)
"""A task in a process of its own. `before` is done while the engine starts."""


@pytest.fixture
def run(tmp_path):
    return freeze_launch(plan_launch(CONFIG, tmp_path))


def task(run, before="", config=CONFIG, **environment):
    argv = [sys.executable, "-c", TASK, run.path, pickle.dumps(config).hex(), before]
    names = [s.name for s in run.slices()]
    own = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    return subprocess.Popen(
        [*map(str, argv), *names], env=own | environment, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def sampler_that_stops():
    """Gives a sampler, and what tells it to stop after so many samples."""
    opened = []

    def sampler_of(run, samples, facts=None):
        opened.append(open_backend(CONFIG, examples_of(run.problems())))
        sampler = Sampler(run, run.slices(), prompts_of(run.problems()), opened[-1], facts)
        return sampler, lambda: sampler.progress.samples >= samples

    yield sampler_of
    for backend in reversed(opened):  # a later engine has inherited the pipe of an earlier one
        backend.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_task_with_what_is_finished(run, number):
    """The next task draws the others, and the shards tell of both."""
    slow = replace(CONFIG, engine=replace(CONFIG.engine, synthetic_rate=25.0))
    with task(run, config=slow) as interrupted:
        lines = iter(interrupted.stderr.readline, "")
        assert any("engine up" in line for line in lines)
        time.sleep(1.2)
        interrupted.send_signal(number)
        said = "".join(lines)
    assert interrupted.returncode
    assert f"{number.name}: stopping; finished samples are kept" in said
    assert "finished samples are kept, launch again to go on" in said.splitlines()[-1]
    kept = {partial.slice: partial.samples for partial in list_partials(run)}
    assert 0 < sum(kept.values()) < 120
    assert not run.done()
    with task(run) as following:
        said = following.stderr.read()
    assert following.returncode == 0
    assert f"2 of 2 slices to sample; {sum(kept.values())} samples of them kept" in said
    for slice_ in run.slices():
        attempts = read_facts(run.shard_path(slice_.name)).attempts()
        assert len(attempts) == 1 + (slice_.name in kept)
        assert read_shard(run, slice_).height == 60
    assert not list(run.partial_dir.iterdir())


def test_a_slow_disk_does_not_hold_a_stopped_task(run, sampler_that_stops, monkeypatch, caplog):
    disk = threading.Event()
    monkeypatch.setattr(sampling, "write_shard", lambda *_: disk.wait(60))
    monkeypatch.setattr(sampling, "STOP_SECONDS", 0.3)
    sampler, stopped = sampler_that_stops(run, 80)
    assert not sampler.sample(stopped)
    (line,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert line == (
        f"{run.path}: the file system is slow; 2 files are not written after 0 s: their "
        "samples are drawn again"
    )
    disk.set()


def test_a_full_disk_costs_the_unfinished_slices_only(run, sampler_that_stops, caplog):
    """A real one, of 4 KiB."""
    run.partial_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "partial", run.partial_dir]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets us mount no tmpfs")
    try:
        (run.partial_dir / "filler").write_bytes(b"x" * 4096)
        sampler, stopped = sampler_that_stops(run, 80)
        assert not sampler.sample(stopped)
        assert not list_partials(run)
        assert [p.name for p in run.partial_dir.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", run.partial_dir], check=True)
    (line,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert "cannot be written" in line
    assert "No space left on device" in line
    assert "\n" not in line
    assert sampler.progress.kept == 60
    assert len(run.done()) == 1
    again, _ = sampler_that_stops(run, 1000)
    assert again.sample()


def test_a_shard_that_cannot_be_written_leaves_the_other_slices_kept(
    run, sampler_that_stops, monkeypatch
):
    def refuse(*_):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(sampling, "write_shard", refuse)
    sampler, _ = sampler_that_stops(run, 1000)
    with pytest.raises(ToolkitError, match="Permission denied"):
        sampler.sample()
    (kept,) = list_partials(run)
    assert kept.slice == run.slices()[1].name
    assert kept.samples == sampler.progress.kept > 0


SLOW_START = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2)"
"""Slurm's signal before the time limit comes while the engine starts."""


@pytest.mark.slow
def test_a_task_ends_with_the_cause_after_two_fruitless_restarts(run, sampler_that_stops):
    slurm = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    again = slurm | {"SLURM_RESTART_COUNT": "2", "PATH": ""}
    with task(run, SLOW_START, **again) as fruitless:
        cause = fruitless.stderr.read().splitlines()[-1]
    assert fruitless.returncode
    assert "two restarts brought no new sample" in cause
    assert f"launch.py --resume --run {run.path} --time" in cause
    # One sample is progress enough: then this restart asks Slurm for another one.
    origin = Origin(slurm_job="7", slurm_task="0", slurm_restarts=1)
    sampler, stopped = sampler_that_stops(run, 1, ShardFacts(origin=origin))
    assert not sampler.sample(stopped)
    with task(run, SLOW_START, **again) as fruitful:
        said = fruitful.stderr.read()
    assert "two restarts brought no new sample" not in said
    assert "scontrol" in said.splitlines()[-1]  # which this PATH lacks
