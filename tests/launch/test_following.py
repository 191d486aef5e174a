"""Rounds that are planned while an array samples: shared without loss, and the same in the end."""

import json
import threading
from dataclasses import dataclass
from functools import partial

import polars as pl
import pytest
from run_here import here
from run_jobs import samples

from toolkit.backends.synthetic import SyntheticBackend
from toolkit.config import Evaluation
from toolkit.launch.chain import next_round, stages_of
from toolkit.launch.following import Planner, recut, rounds_follow
from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.records import SeedRange, Slice
from toolkit.resolve import resolve
from toolkit.runs import shares
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.rounds import freeze_round
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.shares import Share
from toolkit.runs.slices import planned_samples
from toolkit.stages import alongside
from toolkit.stages.alongside import evaluate_alongside
from toolkit.stages.sample import run_sampling
from toolkit.verifiers.judges import judge_of_run

RULE = {"adaptive": True, "stop_r": 3, "stop_min": 10, "stop_cap": 120, "stop_batch": 20}
FLAGS = RULE | {"backend": "synthetic", "limit": 8, "slice_samples": 16, "slice_seeds": 8}
LAUNCH = "0000000a"


def planned(folder, **more):
    plan = plan_launch(resolve(FLAGS | more), folder)
    return plan, freeze_launch(plan)


def follow(run, index, names, *, launch=LAUNCH, last=False):
    slices = [Slice(name, (SeedRange("HumanEval/0", i, i + 1),)) for i, name in enumerate(names)]
    freeze_round(run.path, index, slices, None, {"launch": launch, "last": last})


@pytest.fixture
def at_once(monkeypatch):
    """Nobody waits between two looks."""
    monkeypatch.setattr(shares, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(alongside, "LOOK_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(alongside, "JUDGE_SECONDS", (0.0, 0.0))


def test_each_slice_is_taken_by_one_task(tmp_path, at_once):
    _, run = planned(tmp_path)
    names = [f"r001-s{i:04d}" for i in range(60)]
    follow(run, 1, names)
    everyone = [Share(run, LAUNCH, task) for task in range(6)]
    start = threading.Barrier(len(everyone))

    def take(share):
        start.wait()
        while share.take():
            pass

    threads = [threading.Thread(target=take, args=(share,)) for share in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(s.name for share in everyone for s in share.taken) == names
    # A task that was requeued finds its own, and none of the others'.
    again = Share(run, LAUNCH, 2)
    assert {s.name for s in again.resume()} == {s.name for s in everyone[2].taken}
    assert again.take() is None
    # Another launch has other arrays: it deals anew what has no shard.
    other = Share(run, "0000000b", 0)
    assert (other.resume(), other.take()) == ([], None)
    follow(run, 2, ["r002-s0000"], last=True)
    assert not again.over(idle=True)
    assert again.take().name == "r002-s0000"
    assert again.over(idle=True)


def test_a_task_waits_a_tenth_of_its_time(tmp_path):
    _, run = planned(tmp_path)
    now = [0.0]
    share = Share(run, LAUNCH, 0, lambda: now[0])
    assert not share.over(idle=True)
    now[0] = 100.0
    assert not share.over(idle=True)
    follow(run, 1, ["r001-s0000"])
    assert share.take()
    now[0] = 9000.0  # at work, which is no waiting
    assert not share.over(idle=True)
    now[0] = 9800.0
    assert not share.over(idle=True)
    now[0] = 10_000.0
    assert share.over(idle=True)


def test_a_round_of_few_samples_is_cut_for_all_tasks(tmp_path):
    plan, _ = planned(tmp_path, slice_samples=2048, max_num_seqs=8)
    assert len(plan.new) == 1
    cut = recut(plan, 4)
    assert [len(s) for s in cut] == [20, 20, 20, 20]
    assert planned_samples(cut) == planned_samples(plan.new)
    assert len(recut(plan, 40)) == 10  # a batch of the engine each


@dataclass
class Never:
    requested: bool = False


def run_together(run, plan, tasks=3, devices=((),), parts=1):
    """An array of so many tasks in threads, and the evaluation beside it; gives what they took.

    devices: those of each engine of a task. parts: array tasks of the evaluation.
    """
    config, dealt = plan.config, tasks_of(plan)
    everyone = [Share(run, LAUNCH, task) for task in range(tasks)]
    names = [dealt[task] if task < len(dealt) else [] for task in range(tasks)]
    threads = [
        threading.Thread(
            target=run_sampling, args=(run, mine, config, Never(), devices), kwargs={"share": share}
        )
        for mine, share in zip(names, everyone, strict=True)
    ]
    planner = Planner(run, config, LAUNCH, tasks * len(devices), alone=parts == 1)
    over = lambda: not any(thread.is_alive() for thread in threads)  # noqa: E731

    def judge(part):
        plan = partial(rounds_follow, run, LAUNCH) if part else planner.plan
        share = {"part": part, "parts": parts, "workers": 1}
        evaluate_alongside(run, Evaluation(), over, plan=plan, hungry=planner.hungry, **share)

    others = [threading.Thread(target=judge, args=(part,)) for part in range(1, parts)]
    for thread in (*threads, *others):
        thread.start()
    judge(0)
    for thread in (*threads, *others):
        thread.join(60)
    return [s.name for share in everyone for s in share.taken]


@pytest.fixture(scope="module")
def waited(tmp_path_factory):
    """The same run, each round of which waits for the one before."""
    folder = tmp_path_factory.mktemp("waited")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()][1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = here(
            "launch", "--adaptive", *flags, "--launcher=inline", "--run=run", "--replicates=100"
        )
    assert done.code == 0, done.all()
    return folder / "run"


def assert_ended_as(waited, run, plan, taken):
    assert not rounds_follow(run, LAUNCH)
    assert len(taken) == len(set(taken)) == len(run.slices()) - len(plan.new) > 3
    assert run.done() == {s.name for s in run.slices()}
    assert next_round(run, plan.config, done=len(plan.new)) is None
    counts = count_outcomes(run, judge_of_run(run)).select("task_id", "n", "c")
    assert counts.equals(
        pl.read_parquet(waited / "results/counts.parquet").select("task_id", "n", "c")
    )
    assert samples(run.path).equals(samples(waited))


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_it_ends_with_the_counts_of_rounds_that_wait(tmp_path, at_once, waited, parts):
    """With one evaluation beside the array, and with two of which one plans."""
    plan, run = planned(tmp_path, array=3, max_num_seqs=8, eval_array=parts)
    assert_ended_as(waited, run, plan, run_together(run, plan, parts=parts))


@pytest.mark.slow
def test_the_engines_of_a_task_share_the_rounds_that_follow(tmp_path, at_once, waited, monkeypatch):
    """Two tasks of two engines. None draws before all are up, so that each has a part."""
    up, all_up, step = [], threading.Event(), SyntheticBackend.step

    def waiting(engine):
        if engine not in up:
            up.append(engine)
        if len(up) >= 4:
            all_up.set()
        assert all_up.wait(30)
        return step(engine)

    monkeypatch.setattr(SyntheticBackend, "step", waiting)
    plan, run = planned(tmp_path, array=2, max_num_seqs=8, engines_per_task=2)
    assert_ended_as(waited, run, plan, run_together(run, plan, 2, (("0",), ("1",))))
    facts = [read_facts(run.shard_path(name)) for name in run.done()]
    assert {(each.origin.slot, each.origin.gpus) for each in facts} == {(0, "0"), (1, "1")}


def test_a_shard_that_is_not_judged_yet_ends_nothing(tmp_path):
    plan, run = planned(tmp_path)
    run_sampling(run, tasks_of(plan)[0], plan.config, Never())
    planner = Planner(run, plan.config, LAUNCH, 2)
    assert planner.plan(())
    assert run.round_count() == 1
    # Judged, so that what has no verdict now gets none: ours, as where a node failed.
    assert not Planner(run, plan.config, LAUNCH, 2).plan(run.done())
    assert not rounds_follow(run, LAUNCH)


@pytest.mark.slow
def test_a_budget_ends_the_rounds(tmp_path, at_once):
    plan, run = planned(tmp_path, array=2, max_num_seqs=8, max_output_tokens=2600)
    run_together(run, plan, tasks=2)
    newest = json.loads(sorted((run.path / "rounds").iterdir())[-1].read_text())
    assert newest["follows"] == {"launch": LAUNCH, "last": True}
    assert plan.rule
    for n in count_outcomes(run, judge_of_run(run))["n"]:
        assert n in plan.rule.looks
    assert next_round(run, plan.config, done=0) is None


def test_what_an_array_has_left_goes_on_while_it_brings_something(tmp_path):
    plan, run = planned(tmp_path)
    assert next_round(run, plan.config, done=0) is None
    run_sampling(run, tasks_of(plan)[0][:2], plan.config, Never())
    assert next_round(run, plan.config, done=2) is None
    following = next_round(run, plan.config, done=0)
    assert len(following.missing) == len(plan.missing) - 2


def test_only_an_adaptive_launch_has_rounds_that_follow(tmp_path):
    plan, run = planned(tmp_path, array=2, evaluate_alongside=True)
    sample, *_ = stages_of(plan, run, launch=LAUNCH)
    assert [values[3:] for values in sample.arguments] == [(LAUNCH, 0), (LAUNCH, 1)]
    assert sample.beside.arguments[0][-2:] == (LAUNCH, 2)
    alone, *_ = stages_of(plan, run)
    assert alone.beside is None
    assert {len(values) for values in alone.arguments} == {3}
