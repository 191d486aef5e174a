"""Evaluation beside sampling: on a clock of its own, and on a real run."""

import random

import pytest
from run_here import here

from toolkit.config import Config, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.runs.outcomes import count_outcomes
from toolkit.stages.alongside import Alongside, evaluate_alongside
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.judges import judge_of_run


class Array:
    """An array on a clock of its own. shards: slice -> the second at which its shard comes.

    ends: the second at which it is over, whatever is missing. An evaluation takes `overhead`
    seconds, and `each` for a shard.
    """

    def __init__(self, shards, planned=(), ends=None, overhead=1.0, each=0.01):
        self.shards, self.names = shards, set(planned) | shards.keys()
        self.ends = ends
        self.overhead, self.each = overhead, each
        self.now, self.looks, self.judged = 0.0, 0, {}
        self.evaluations = []

    def done(self):
        self.looks += 1
        return {name for name, at in self.shards.items() if at <= self.now}

    def judge(self, names):
        assert not self.judged.keys() & set(names), "a shard is judged once"
        self.evaluations.append(self.now)
        self.now += self.overhead + self.each * len(names)
        self.judged |= dict.fromkeys(names, self.now)

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def work(self):
        over = (lambda: self.now >= self.ends) if self.ends is not None else (lambda: False)
        clock = {"clock": lambda: self.now, "sleep": self.sleep}
        Alongside(self.done, lambda: self.names, self.judge, over, **clock).work()
        return self


def test_the_first_verdicts_come_soon_and_the_end_soon_after_the_last_shard():
    shards = {f"s{i}": 100.0 + 40 * i for i in range(2000)}
    array = Array(shards).work()
    assert array.judged.keys() == shards.keys()
    assert min(array.judged.values()) - 100 < 15
    assert array.now - max(shards.values()) < 60
    # A day: some hundred evaluations, a look every half a minute at most.
    assert len(array.evaluations) < 600
    assert array.looks < 86_400 / 10


def test_an_evaluation_that_is_slower_than_sampling_never_rests():
    shards = {f"s{i}": float(10 * i) for i in range(500)}
    array = Array(shards, overhead=2.0, each=15.0).work()
    work = 500 * 15 + 2 * len(array.evaluations)
    assert array.now <= work + 30


@pytest.mark.parametrize("seed", range(20))
def test_an_array_that_ends_early_is_judged_as_far_as_it_came(seed):
    drawn = random.Random(seed)
    shards = {f"s{i}": drawn.uniform(0, 5000) for i in range(drawn.randint(0, 30))}
    ends = max([*shards.values(), drawn.uniform(0, 6000)])
    array = Array(shards, planned={"never"}, ends=ends).work()
    assert array.judged.keys() == shards.keys()
    assert array.now < ends + 60


def test_on_a_real_run_it_leaves_nothing_to_the_evaluation_after_it(tmp_path):
    config = Config(
        sampling=Sampling(backend="synthetic"),
        problem_set=ProblemSet(limit=3),
        quantity=Quantity(samples=20, slice_samples=20, slice_seeds=10),
    )
    plan = plan_launch(config, tmp_path)
    run, names = freeze_launch(plan), [s.name for s in plan.missing]
    run_sampling(run, names[:1], config, StopRequest())
    asked = iter([False])

    def over():
        # After the first evaluation the array brings a second shard, and ends without the third.
        if (ended := next(asked, True)) and len(run.done()) == 1:
            run_sampling(run, names[1:2], config, StopRequest())
        return ended

    evaluate_alongside(run, Evaluation(), over, workers=1)
    counts = count_outcomes(run, judge_of_run(run))
    assert counts["n"].sum() == 40
    assert counts["unjudged"].sum() == 0
    rest = evaluate_run(run, Evaluation(), workers=1)
    assert (rest.judged, rest.missing_slices) == (0, 1)


@pytest.mark.slow
def test_the_local_launcher_judges_beside_its_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ("--backend", "synthetic", "--launcher", "local", "--limit", 2, "--samples", 24)
    flags += ("--synthetic-rate", 8, "--slice-samples", 8, "--slice-seeds", 4, "--replicates", 100)
    done = here("launch", *flags, "--evaluate-alongside")
    assert done.code == 0
    assert "which begins while it samples" in done.out
    logs = [path.read_text() for path in (tmp_path / "runs/latest/slurm").glob("*_log.out")]
    (beside,) = (log for log in logs if "begins: alongside" in log)
    assert "new shard" in beside
    assert "Exiting after successful completion" in beside
    (after,) = (log for log in logs if "begins: evaluate" in log)
    assert "; 0 judged in" in after
