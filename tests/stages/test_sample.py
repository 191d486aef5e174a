"""The feed of the engine, with the synthetic backend and with backends that misbehave."""

import dataclasses
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import polars as pl
import pytest
from old_shard import OF_0_1_0
from run_jobs import ROOT

from toolkit import __version__
from toolkit.backends import open_backend
from toolkit.config import Config, Engine, ProblemSet, Quantity, Sampling
from toolkit.errors import EngineFailure, ToolkitError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Load, Request, Sample
from toolkit.resolve import resolve
from toolkit.runs.feed import read_feed
from toolkit.runs.partials import list_partials
from toolkit.runs.shard_facts import Origin, read_facts
from toolkit.runs.shards import read_shard
from toolkit.runs.usage import read_spent
from toolkit.stages.sample import run_sampling
from toolkit.stages.sampler import MAX_UNWRITTEN, Sampler
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.base import examples_of, prompts_of

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=4),
    quantity=Quantity(samples=30, slice_samples=20, slice_seeds=8),
    engine=Engine(max_num_seqs=16),
)


@pytest.fixture
def run(tmp_path):
    return freeze_launch(plan_launch(CONFIG, tmp_path))


def shards(run):
    return {s.name: read_shard(run, s).rows() for s in run.slices() if s.name in run.done()}


class Shuffled:
    """Finishes samples in random order, a few at a time, and keeps count of what is in flight."""

    def __init__(self, inner, limit, dies_after=None):
        self.inner, self.max_in_flight = inner, limit
        self.waiting, self.most, self.left = [], 0, dies_after
        self.random = random.Random(1)

    def submit(self, request):
        self.inner.submit(request)
        self.waiting += self.inner.step()
        self.most = max(self.most, len(self.waiting))

    def step(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise EngineFailure("the engine died")
        self.random.shuffle(self.waiting)
        return [self.waiting.pop() for _ in range(min(3, len(self.waiting)))]

    def load(self):
        return Load()


def test_every_slice_becomes_its_shard_whatever_the_order_of_finishing(run):
    backend = Shuffled(open_backend(CONFIG, examples_of(run.problems())), 16)
    assert Sampler(run, run.slices(), prompts_of(run.problems()), backend).sample()
    assert run.done() == {s.name for s in run.slices()}
    found = [(row[0], row[1]) for rows in shards(run).values() for row in rows]
    assert sorted(found) == sorted((p.task_id, seed) for p in run.problems() for seed in range(30))


def test_the_engine_is_kept_full_across_slices_and_no_more(run):
    backend = Shuffled(
        open_backend(CONFIG, examples_of(run.problems())), 50
    )  # more than two slices
    Sampler(run, run.slices(), prompts_of(run.problems()), backend).sample()
    assert backend.most == 50


def test_samples_do_not_depend_on_slicing_or_tasks(run, tmp_path):
    Sampler(
        run,
        run.slices(),
        prompts_of(run.problems()),
        open_backend(CONFIG, examples_of(run.problems())),
    ).sample()
    other = dataclasses.replace(
        CONFIG, quantity=Quantity(samples=30, slice_samples=7, slice_seeds=3)
    )
    again = freeze_launch(plan_launch(other, tmp_path / "again"))
    Sampler(
        again,
        again.slices(),
        prompts_of(again.problems()),
        open_backend(other, examples_of(again.problems())),
    ).sample()
    one, two = (sorted(row for rows in shards(r).values() for row in rows) for r in (run, again))
    assert one == two


def test_a_stop_keeps_what_is_finished_and_a_second_go_does_only_the_rest(run, stop, caplog):
    class StopsAfter(Shuffled):
        def step(self):
            finished = super().step()
            stop.requested = sampler.progress.shards >= 2
            return finished

    backend = StopsAfter(open_backend(CONFIG, examples_of(run.problems())), 16)
    sampler = Sampler(run, run.slices(), prompts_of(run.problems()), backend)
    assert not sampler.sample(lambda: stop.requested)
    before = {p.name: p.stat().st_mtime_ns for p in run.samples_dir.iterdir()}
    assert 2 <= len(before) < len(run.slices())
    kept = sum(partial.samples for partial in list_partials(run))
    assert kept == sampler.progress.samples - 20 * len(before) > 0
    stop.requested = False
    caplog.set_level("INFO")
    assert run_sampling(run, [s.name for s in run.slices()], CONFIG, stop)
    assert f"slices to sample; {kept} samples of them kept" in caplog.text
    after = {p.name: p.stat().st_mtime_ns for p in run.samples_dir.iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(run.slices())


def test_released_signals_mean_what_they_meant_before(stop):
    numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(n) for n in numbers]
    again = StopRequest()
    assert [signal.getsignal(n) for n in numbers] != before
    again.release()
    assert [signal.getsignal(n) for n in numbers] == before


def test_an_engine_that_dies_after_some_slices_is_started_again(run, stop, monkeypatch):
    opened = []

    def open_dying(config, examples, *_):
        lives = (20, 0, 10, None)[len(opened)]
        opened.append(Shuffled(open_backend(config, examples), 16, lives))
        opened[-1].describe = EngineFacts
        opened[-1].close = lambda: None
        return opened[-1]

    monkeypatch.setattr("toolkit.stages.sample.open_backend", open_dying)
    assert run_sampling(run, [s.name for s in run.slices()], CONFIG, stop)
    assert len(opened) == 4
    assert run.done() == {s.name for s in run.slices()}
    restarts = {read_facts(p).start.restarts for p in run.samples_dir.iterdir()}
    assert restarts == {0, 2, 3}  # which of them made a shard
    assert read_spent(run).tasks == 1


def test_a_killed_engine_process_is_replaced(run, stop, caplog):
    """A real one, of the paced synthetic backend: kill -9 in the middle of a task."""
    config = replace(CONFIG, engine=replace(CONFIG.engine, synthetic_rate=60))
    killed = []

    def kill():
        while not run.done():
            time.sleep(0.01)
        killed.extend(multiprocessing.active_children())
        os.kill(killed[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run_sampling(run, [s.name for s in run.slices()], config, stop)
    killer.join()
    assert len(killed) == 1
    assert "the synthetic engine died" in caplog.text
    assert "starting it again" in caplog.text
    assert run.done() == {s.name for s in run.slices()}


def test_an_engine_that_keeps_dying_ends_the_task(run, stop, monkeypatch):
    def open_dead(config, examples, *_):
        backend = Shuffled(open_backend(config, examples), 16, 0)
        backend.describe = EngineFacts
        backend.close = lambda: None
        return backend

    monkeypatch.setattr("toolkit.stages.sample.open_backend", open_dead)
    with pytest.raises(EngineFailure):
        run_sampling(run, [s.name for s in run.slices()], CONFIG, stop)


def test_a_shard_that_cannot_be_written_ends_the_task_in_one_line(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.stages.sampler.write_shard", full)
    with pytest.raises(ToolkitError, match="No space left on device; make room"):
        Sampler(
            run,
            run.slices(),
            prompts_of(run.problems()),
            open_backend(CONFIG, examples_of(run.problems())),
        ).sample()
    assert not run.done()


def test_unwritten_shards_are_bounded_when_the_disk_is_slow(run, monkeypatch):
    backlog = []
    sampler = Sampler(
        run,
        run.slices(),
        prompts_of(run.problems()),
        open_backend(CONFIG, examples_of(run.problems())),
    )

    def slow(*_):
        backlog.append(sampler._writer.unwritten)
        time.sleep(0.05)

    monkeypatch.setattr("toolkit.stages.sampler.write_shard", slow)
    assert sampler.sample()
    assert max(backlog) <= MAX_UNWRITTEN + 1


@pytest.mark.slow
def test_kill_9_in_the_middle_then_again_loses_and_doubles_nothing(run):
    slow = dataclasses.replace(CONFIG, engine=Engine(max_num_seqs=4, synthetic_rate=60.0))
    code = (
        "import sys, pickle; from pathlib import Path\n"
        "from toolkit.stages import sampler; sampler.REPORT_SECONDS = sampler.KEEP_SECONDS = 0\n"
        "from toolkit.runs.run import open_run; from toolkit.stages.sample import run_sampling; from toolkit.stages.signals import StopRequest\n"
        "run = open_run(Path(sys.argv[1])); config = pickle.loads(bytes.fromhex(sys.argv[2]))\n"
        "run_sampling(run, [s.name for s in run.slices()], config, StopRequest())\n"
    )
    import pickle

    argv = [sys.executable, "-c", code, str(run.path), pickle.dumps(slow).hex()]
    task = subprocess.Popen(argv)
    try:
        while len(run.done()) < 2 or not list_partials(run):
            assert task.poll() is None
            time.sleep(0.02)
    finally:
        task.kill()
        task.wait()
    before = {p.name: p.read_bytes() for p in run.samples_dir.glob("*.parquet")}
    assert len(before) < len(run.slices())
    kept = {partial.slice for partial in list_partials(run)}
    subprocess.run([*argv[:-1], pickle.dumps(CONFIG).hex()], check=True)
    again = {s.name for s in run.slices() if read_facts(run.shard_path(s.name)).earlier}
    assert again == kept
    assert not list(run.partial_dir.iterdir())
    assert {name: (run.samples_dir / name).read_bytes() for name in before} == before
    found = [(row[0], row[1]) for rows in shards(run).values() for row in rows]
    assert sorted(found) == sorted((p.task_id, seed) for p in run.problems() for seed in range(30))


def test_a_replay_gives_back_the_file_in_order_and_no_more(run, tmp_path):
    lines = tmp_path / "s.jsonl"
    lines.write_text(
        "".join(f'{{"task_id": "HumanEval/0", "completion": "c{i}"}}\n' for i in range(3))
    )
    config = Config(sampling=Sampling(backend="replay"), engine=Engine(replay_file=str(lines)))
    backend = open_backend(config, examples_of(run.problems()))
    prompt = prompts_of(run.problems())["HumanEval/0"]
    for seed in (2, 0):
        backend.submit(Request("HumanEval/0", seed, prompt))
    assert backend.step() == [
        Sample("HumanEval/0", 2, "c2", 1, "stop"),
        Sample("HumanEval/0", 0, "c0", 1, "stop"),
    ]
    with pytest.raises(ToolkitError, match="completions of HumanEval/0: 3, but seed 3 is planned"):
        backend.submit(Request("HumanEval/0", 3, prompt))


def test_the_feed_is_recorded(tmp_path, stop):
    flags = {
        "backend": "synthetic",
        "limit": 4,
        "samples": 60,
        "slice_samples": 30,
        "synthetic_rate": 80.0,
        "max_num_seqs": 16,
    }
    config = resolve(flags)
    run = freeze_launch(plan_launch(config, tmp_path))
    assert run_sampling(run, [s.name for s in run.slices()], config, stop)
    feed = read_feed(run)
    assert 2 <= feed.height <= 8
    assert feed["task"].n_unique() == 1
    assert feed["tokens"].is_sorted()
    assert feed["feeding"].is_sorted(descending=True)
    assert set(feed["wanted"]) == {16}


def test_a_shard_says_where_and_when_it_was_made(run, stop, monkeypatch):
    """In the keys that 0.1.0 wrote, of which a run may hold both kinds of shards."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    began = time.time()
    assert run_sampling(run, [s.name for s in run.slices()], CONFIG, stop)
    ended = time.time()
    rounding = 0.001
    for path in run.samples_dir.iterdir():
        facts = read_facts(path)
        assert facts.origin == Origin(__version__, platform.node(), os.getpid(), "77", "4", 1)
        assert facts.engine == EngineFacts("synthetic", device="none")
        assert (facts.start.restarts, facts.start.max_num_seqs) == (0, 16)
        assert began - rounding <= facts.times.started <= facts.times.ended <= ended + rounding
        assert pl.read_parquet_metadata(path).keys() == set(OF_0_1_0)


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_n(monkeypatch):
    """Of processes that sample 164 problems, 100 times each and 2,000 times each."""
    monkeypatch.syspath_prepend(ROOT / "tests/bench")
    import memory

    few, many = (memory.peak_bytes({**memory.SYNTHETIC, "samples": n}) for n in (100, 2000))
    assert many <= 1.1 * few
