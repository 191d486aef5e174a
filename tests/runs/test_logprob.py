"""Log-probabilities of samples: kept through interruptions, beside samples without, selected by."""

import json
import runpy
import sys
from dataclasses import replace

import polars as pl
import pytest
from run_jobs import ROOT

from toolkit.backends import open_backend
from toolkit.backends.logprob import mean_logprob
from toolkit.config import Config, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.errors import CorruptShard, UsageError
from toolkit.launch.identity import run_identity
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import Load
from toolkit.resolve import resolve
from toolkit.runs.partials import partial_path, read_partials
from toolkit.runs.scores import read_scores
from toolkit.runs.shards import SAMPLE_SCHEMA, read_shard, verify_shards
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import examples_of, prompts_of

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=2),
    quantity=Quantity(samples=8, slice_samples=8, slice_seeds=4),
)


def value(seed):
    return -(seed + 1) / 7


class Telling:
    """The synthetic engine, two samples a step; `asked`: it tells log-probabilities."""

    max_in_flight = 5

    def __init__(self, run, asked, steps=10**6):
        self.inner = open_backend(CONFIG, examples_of(run.problems()))
        self.asked, self.left, self.waiting = asked, steps, []

    def submit(self, request):
        self.inner.submit(request)
        self.waiting += self.inner.step()

    def step(self):
        self.left -= 1
        finished, self.waiting = self.waiting[:2], self.waiting[2:]
        return [replace(s, logprob=value(s.seed)) if self.asked else s for s in finished]

    def load(self):
        return Load()


def go_on(run, asked, steps=10**6):
    pending = [s for s in run.slices() if s.name not in run.done()]
    backend = Telling(run, asked, steps)
    prompts = prompts_of(run.problems())
    sampler = Sampler(run, pending, prompts, backend, partials=read_partials(run, pending))
    return sampler.sample(lambda: backend.left <= 0)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two slices of eight samples: twelve are drawn without, and then four with."""
    run = freeze_launch(plan_launch(CONFIG, tmp_path_factory.mktemp("runs")))
    first, second = run.slices()
    partial = partial_path(run, second.name)
    assert not go_on(run, asked=False, steps=6)
    assert pl.read_parquet(partial).schema == SAMPLE_SCHEMA
    assert not go_on(run, asked=True, steps=1)
    assert pl.read_parquet(partial)["logprob"].null_count() == 4
    assert go_on(run, asked=True)
    assert not list(verify_shards(run))
    assert read_shard(run, first).schema == SAMPLE_SCHEMA
    return run, list(second.sample_keys())[4:]


def test_they_outlive_interruptions_and_stand_beside_samples_without(mixed):
    run, asked = mixed
    expected = sorted((task_id, seed, value(seed)) for task_id, seed in asked)
    assert read_scores(run, "logprob").rows() == expected
    with pytest.raises(UsageError, match="has no scores 'reward'; there is: logprob;"):
        read_scores(run, "reward")


def test_the_digest_of_a_shard_covers_them(mixed):
    run, _ = mixed
    slice_ = run.slices()[1]
    path = run.shard_path(slice_.name)
    whole, facts = path.read_bytes(), pl.read_parquet_metadata(path)
    for changed in (pl.col("logprob") * 2, pl.col("logprob").fill_null(-1.0)):
        pl.read_parquet(path).with_columns(changed).write_parquet(path, metadata=facts)
        with pytest.raises(CorruptShard, match="content is not what was written"):
            read_shard(run, slice_)
        path.write_bytes(whole)
    assert read_shard(run, slice_)["logprob"].null_count() == 4


@pytest.mark.slow
def test_a_run_is_selected_from_by_them(mixed, tmp_path, capsys, monkeypatch):
    run, _ = mixed
    assert evaluate_run(run, Evaluation(), workers=1).complete
    flags = [run.path, "--score", "logprob", "--out", tmp_path / "s"]
    monkeypatch.setattr(sys, "argv", ["selection.py", *map(str, flags)])
    assert runpy.run_path(str(ROOT / "analysis" / "selection.py"))["main"]() == 0
    assert "12 samples without a score" in capsys.readouterr().out
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["score"] == "logprob"
    assert set(found["selectors"]) == {"oracle", "majority", "best", "weighted"}


def test_they_are_no_identity_and_need_a_model(mixed):
    configs = [
        resolve({"backend": "openai", "model": "m", "store_logprob": store})
        for store in (False, True)
    ]
    plain, asked = (run_identity(config, mixed[0].problems()) for config in configs)
    assert plain == asked
    for backend in ("synthetic", "replay"):
        with pytest.raises(UsageError, match=f"--store-logprob: --backend {backend} has no model"):
            resolve({"backend": backend, "store_logprob": True})
        assert not resolve({"backend": backend, "store_logprob": False}).engine.store_logprob


def test_the_mean_of_no_token_and_of_no_number_is_unknown():
    assert mean_logprob(-3.0, 2) == -1.5
    unknown = [(0.0, 0), (None, 2), (float("-inf"), 2), (float("nan"), 2)]
    assert [mean_logprob(*each) for each in unknown] == [None] * 4
