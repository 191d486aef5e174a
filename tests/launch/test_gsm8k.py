"""GSM8K through the launcher, as HumanEval: adaptive rounds, a lost shard, more samples.

A known law answers in place of the model. tests/launch/test_slurm.py has the real one.
"""

import json

import polars as pl
import pytest
from run_jobs import assert_each_sample_once, files, samples

from toolkit.launch.local import launch_inline
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.status import read_status
from toolkit.report.document import read_fit
from toolkit.resolve import resolve
from toolkit.verifiers.judges import judge_of_run

pytestmark = pytest.mark.slow

PROBLEMS = 12
RULE = {"adaptive": True, "stop_r": 2, "stop_min": 4, "stop_cap": 16, "stop_batch": 4}


@pytest.fixture
def launch(tmp_path):
    """Launches GSM8K's task on a dozen problems in its published form, in this process."""
    rows = [{"question": f"{n} + 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(12)]
    path = tmp_path / "gsm8k.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = {"task": "gsm8k", "problems": str(path), "backend": "synthetic", "launcher": "inline"}
    sizes = {"slice_samples": 8, "slice_seeds": 4, "eval_cpus": 1, "replicates": 100}

    def run(**flags):
        config = resolve(where | sizes | {"workers": 1} | flags)
        plan = plan_launch(config, tmp_path, tmp_path / "run")
        run = freeze_launch(plan)
        assert launch_inline(plan, run, lambda: None)
        return run

    return run


def test_adaptive_rounds_stop_at_passes_and_the_cap_may_rise(launch):
    run = launch(**RULE)
    found = read_fit(run.results_dir)
    assert found.stopping.looks == (4, 8, 12, 16)
    assert (found.complete, found.k_max, found.judge.verifier) == (True, 16, "number")
    counts = pl.read_parquet(run.results_dir / "counts.parquet")
    n, c = counts["n"], counts["c"]
    assert ((c >= 2) | (n == 16)).all()
    assert (n == 4).any()
    assert (n == 16).any()
    rounds, before = run.round_count(), files(run.samples_dir)
    assert rounds == 4
    run = launch(**RULE | {"stop_cap": 24})
    assert run.round_count() > rounds
    assert files(run.samples_dir).items() > before.items()
    assert read_fit(run.results_dir).k_max == 24
    assert (
        samples(run.path).height == pl.read_parquet(run.results_dir / "counts.parquet")["n"].sum()
    )


def test_a_lost_shard_is_sampled_anew_and_more_samples_add_only_new_ones(launch):
    run = launch(samples=6)
    assert_each_sample_once(run.path, PROBLEMS, 6)
    whole, before = samples(run.path), files(run.samples_dir)
    lost = run.shard_path(run.slices()[1].name)
    lost.unlink()
    status = read_status(run, judge_of_run(run))
    assert not status.complete
    run = launch(samples=9)
    assert_each_sample_once(run.path, PROBLEMS, 9)
    kept = {path: text for path, text in before.items() if path != lost}
    assert files(run.samples_dir).items() > kept.items()
    assert samples(run.path).filter(pl.col("seed") < 6).equals(whole)
    assert read_status(run, judge_of_run(run)).complete
    found = read_fit(run.results_dir)
    assert (found.complete, found.n_min, found.taxonomy.kinds["passed"]) == (
        *(True, 9),
        pl.read_parquet(run.results_dir / "counts.parquet")["c"].sum(),
    )
