"""Several engines of one array task: they share its slices, and do without those that die."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from run_jobs import assert_each_sample_once

from toolkit.backends import open_backend
from toolkit.config import Budget, Config, Engine, ProblemSet, Quantity, Sampling
from toolkit.cores import OWN, available_cores
from toolkit.errors import EngineFailure, EngineRefused, UsageError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Load
from toolkit.runs.partials import list_partials
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.usage import read_spent
from toolkit.stages.sample import VISIBLE, run_sampling
from toolkit.stages.slice_pool import SlicePool

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=4),
    quantity=Quantity(samples=30, slice_samples=10, slice_seeds=5),
    engine=Engine(max_num_seqs=8),
)
FOUR = (("0",), ("1",), ("2",), ("GPU-d",))


@pytest.fixture
def run(tmp_path):
    return freeze_launch(plan_launch(CONFIG, tmp_path))


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def names(run):
    return [s.name for s in run.slices()]


def facts_of(run):
    return [read_facts(path) for path in run.samples_dir.glob("*.parquet")]


def attempts(run):
    return [each for facts in facts_of(run) for each in facts.attempts()]


class Small:
    """An engine in this process that draws two samples a step, and does what its part says."""

    max_in_flight = 8

    def __init__(self, inner, steps=None, error=None, before=lambda: None):
        self.inner, self.steps, self.error, self.before = inner, steps, error, before
        self.waiting = []

    def submit(self, request):
        self.inner.submit(request)
        self.waiting += self.inner.step()

    def step(self):
        self.before()
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise self.error or EngineFailure("the engine died")
        return [self.waiting.pop() for _ in range(min(2, len(self.waiting)))]

    def load(self):
        return Load()

    def describe(self):
        return EngineFacts("small", device="none")

    def close(self):
        pass


@pytest.fixture
def engines(monkeypatch):
    """Engines whose parts are given by the GPU that they are on; counts the starts on each."""
    starts = dict.fromkeys([gpu for (gpu,) in FOUR], 0)

    def use(parts):
        def start(config, examples, stop_requested, surroundings):
            gpu = surroundings[VISIBLE]
            starts[gpu] += 1
            part = parts.get(gpu, {})
            if "refuses" in part:
                raise part["refuses"]
            return Small(open_backend(config, examples), **part)

        monkeypatch.setattr("toolkit.stages.sample.open_backend", start)
        return starts

    return use


def test_engines_share_the_slices_and_their_shards_say_which_drew_them(run, stop, engines):
    all_up = threading.Barrier(4)
    waited = threading.local()

    def once():
        if not hasattr(waited, "done"):
            waited.done = all_up.wait(30)

    engines({gpu: {"before": once} for (gpu,) in FOUR})
    assert run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert_each_sample_once(run.path, problems=4, n=30)
    found = {(f.origin.slot, f.origin.gpus) for f in facts_of(run)}
    assert found == {(slot, gpus) for slot, (gpus,) in enumerate(FOUR)}
    spent = read_spent(run)
    assert (spent.tasks, spent.engines, spent.devices) == (1, 4, {"none": 4})


@pytest.mark.parametrize(
    ("slices", "shares"), [(5, [1, 1, 1, 2]), (12, [3, 3, 3, 3]), (3, [1, 1, 1]), (6, [1, 1, 2, 2])]
)
def test_an_engine_has_at_most_its_share_in_its_queue(run, stop, monkeypatch, slices, shares):
    """The first one is up alone, and its queue has room for all slices."""
    fed = set()

    class Large(Small):
        max_in_flight = 1000

        def submit(self, request):
            super().submit(request)
            fed.add(self)

    def start(config, examples, *_):
        return Large(
            open_backend(config, examples),
            before=lambda: wait_until(lambda: len(fed) == len(shares)),
        )

    monkeypatch.setattr("toolkit.stages.sample.open_backend", start)
    most = []
    take = SlicePool.take

    def watched(pool, engine, *more):
        found = take(pool, engine, *more)
        most.append(max(Counter(map(id, pool._in_hand.values())).values(), default=0))
        return found

    monkeypatch.setattr(SlicePool, "take", watched)
    assert run_sampling(run, names(run)[:slices], CONFIG, stop, FOUR)
    assert max(most) == max(shares)
    assert len(run.done()) == slices


def test_an_engine_alone_leaves_shards_as_they_were(run, stop):
    assert run_sampling(run, names(run), CONFIG, stop, [()])
    assert {(f.origin.slot, f.origin.gpus) for f in facts_of(run)} == {(None, None)}


def test_engines_get_their_gpus_and_their_share_of_the_cores(run, stop, monkeypatch):
    given = []

    def start(config, examples, stop_requested, surroundings):
        given.append(surroundings)
        return Small(open_backend(config, examples))

    monkeypatch.setattr("toolkit.stages.sample.open_backend", start)
    assert run_sampling(run, names(run), CONFIG, stop, [("2", "3"), ("6", "7")])
    share = str(max(1, available_cores() // 2))
    assert {VISIBLE: "2,3", OWN: share} in given
    assert all(each[OWN] == share for each in given)
    given.clear()
    assert run_sampling(run, [], CONFIG, stop, FOUR)
    assert not given


@pytest.mark.parametrize("seed", range(3))
def test_one_of_four_engine_processes_is_killed_and_nothing_is_lost(run, stop, seed, caplog):
    """Real ones, of the paced synthetic backend: kill -9 in the middle."""
    config = replace(CONFIG, engine=replace(CONFIG.engine, synthetic_rate=15))
    killed = []

    def kill():
        while len(run.done()) < 1 + seed:
            time.sleep(0.01)
        killed.append(multiprocessing.active_children()[seed])
        os.kill(killed[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run_sampling(run, names(run), config, stop, FOUR)
    killer.join()
    assert caplog.text.count("starting it again") == 1
    assert_each_sample_once(run.path, problems=4, n=30)
    assert not list(run.partial_dir.glob("*"))
    assert not multiprocessing.active_children()


def test_an_engine_that_keeps_dying_is_given_up_and_the_others_do_its_work(
    run, stop, engines, caplog
):
    others = {
        gpu: {"before": lambda: wait_until(lambda: "given up" in caplog.text)} for gpu in "02"
    }
    starts = engines({"1": {"steps": 0}} | others)
    assert run_sampling(run, names(run), CONFIG, stop, FOUR[:3])
    assert starts["1"] == 2
    assert "engine 1 on GPU 1 is given up: the engine died; the other engines" in caplog.text
    assert_each_sample_once(run.path, problems=4, n=30)
    assert {f.origin.gpus for f in facts_of(run)} == {"0", "2"}


def test_an_engine_that_brought_something_is_started_again(run, stop, engines):
    lives = iter([3, 3, 3, None])

    class Mortal(dict):
        def get(self, gpu, default):
            return {"steps": next(lives)} if gpu == "0" else {"before": last_of_zero}

    def last_of_zero():
        wait_until(lambda: starts["0"] == 4)

    starts = engines(Mortal())
    assert run_sampling(run, names(run), CONFIG, stop, FOUR[:2])
    assert starts["0"] == 4
    assert_each_sample_once(run.path, problems=4, n=30)
    restarts = {a.start.restarts for a in attempts(run) if a.origin.gpus == "0"}
    assert max(restarts) >= 2
    assert read_spent(run).engines == 2


def test_a_slice_of_an_engine_that_dies_late_goes_to_one_that_was_done(run, stop, engines, caplog):
    """The first one holds its slices until the other has run dry."""

    def dry():
        wait_until(lambda: len(run.done()) >= 10)

    refused = EngineRefused("no GPU is left")
    starts = engines({"0": {"steps": 1, "before": dry, "error": refused}})
    assert run_sampling(run, names(run), CONFIG, stop, FOUR[:2])
    assert (starts["0"], starts["1"]) == (1, 1)
    assert_each_sample_once(run.path, problems=4, n=30)
    first = [f for f in facts_of(run) if f.earlier]
    assert [f.earlier[0].origin.gpus for f in first] == ["0"]  # two samples of one slice were kept
    assert first[0].origin.gpus == "1"


@pytest.mark.parametrize("dies", [{"steps": 0}, {"refuses": EngineFailure("dead at its start")}])
def test_without_an_engine_that_works_the_task_ends_with_the_cause(run, stop, engines, dies):
    starts = engines({gpu: dies for (gpu,) in FOUR})
    with pytest.raises(EngineFailure, match=r"died|dead"):
        run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert sum(starts.values()) <= (2 if "refuses" in dies else 8)
    assert not run.done()


def test_what_all_would_refuse_is_asked_twice_and_no_more(run, stop, engines):
    starts = engines({gpu: {"refuses": EngineRefused("does not fit")} for (gpu,) in FOUR})
    with pytest.raises(EngineRefused, match="does not fit"):
        run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert sum(starts.values()) == 2


def test_one_engine_that_refuses_does_not_hold_the_others(run, stop, engines, caplog):
    engines({"0": {"refuses": EngineRefused("GPU 0 is in use")}})
    assert run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert "engine 0 on GPU 0 is given up: GPU 0 is in use" in caplog.text
    assert_each_sample_once(run.path, problems=4, n=30)


def test_a_mistake_of_the_user_ends_all_engines(run, stop, engines):
    forever = {"before": lambda: time.sleep(0.05)}
    engines({"1": {"steps": 1, "error": UsageError("the prompt is too long")}} | {"0": forever})
    with pytest.raises(UsageError, match="the prompt is too long"):
        run_sampling(run, names(run), CONFIG, stop, FOUR[:2])
    assert {t.name for t in threading.enumerate() if t.name.startswith("engine ")} == set()


def test_a_stop_keeps_what_all_engines_have_finished(run, stop, engines, monkeypatch):
    drawn, steps = [], Small.step

    def step(self):
        stop.requested = stop.requested or len(drawn) >= 28
        finished = steps(self)
        drawn.extend(finished)
        return finished

    engines({})
    with monkeypatch.context() as patch:
        patch.setattr(Small, "step", step)
        assert not run_sampling(run, names(run), CONFIG, stop, FOUR)
    kept = sum(p.samples for p in list_partials(run))
    assert kept + 10 * len(run.done()) == len(drawn) < 120
    stop.requested = False
    assert run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert_each_sample_once(run.path, problems=4, n=30)


def test_engines_that_share_a_budget_overspend_by_the_slices_in_hand_at_most(
    run, stop, engines, monkeypatch
):
    """Whenever one of the four begins a slice, less is on disk than may be spent."""
    all_up, waited, begun = threading.Barrier(4), threading.local(), []

    def once():
        if not hasattr(waited, "done"):
            waited.done = all_up.wait(30)

    spent = SlicePool._spent

    def watched(pool, drawn):
        done, in_hand, following = run.done(), set(pool._in_hand), pool._waiting[0].name
        found = spent(pool, drawn)
        if not found:
            begun.append((done, in_hand | {following}))
        return found

    monkeypatch.setattr(SlicePool, "_spent", watched)
    engines({gpu: {"before": once} for (gpu,) in FOUR})
    most = 200
    config = replace(CONFIG, budget=Budget(max_output_tokens=most))
    assert run_sampling(run, names(run), config, stop, FOUR)
    tokens = {f.slice: f.tokens.output for f in facts_of(run)}
    assert {f.origin.slot for f in facts_of(run)} == {0, 1, 2, 3}
    assert all(sum(tokens[name] for name in done) < most for done, _ in begun)
    done, in_hand = begun[-1]
    assert tokens.keys() - done <= in_hand
    assert most <= sum(tokens.values()) < most + sum(tokens[name] for name in in_hand)
    assert tokens.keys() == set().union(*(held for _, held in begun)) < set(names(run))
    assert not list_partials(run)


def test_the_first_engine_starts_alone_and_the_others_together(run, stop, monkeypatch):
    """The others wait for each other, which they could not do one after the other."""
    starting, most_before, together = [], [], threading.Barrier(3)

    def start(config, examples, stop_requested, surroundings):
        gpu = surroundings[VISIBLE]
        starting.append(gpu)
        if len(starting) == 1:
            time.sleep(0.3)
            most_before.append(len(starting))
        else:
            together.wait(30)
        return Small(
            open_backend(config, examples), before=lambda: wait_until(lambda: len(starting) == 4)
        )

    monkeypatch.setattr("toolkit.stages.sample.open_backend", start)
    assert run_sampling(run, names(run), CONFIG, stop, FOUR)
    assert most_before == [1]
    assert len(starting) == 4
