"""Adaptive sampling through the launcher: rounds, the recorded rule, resume, and what is refused."""

import json

import numpy as np
import polars as pl
import pytest
from run_here import job
from run_jobs import assert_each_sample_once, files, samples

from toolkit.stats.passk import pass_at_k

pytestmark = pytest.mark.slow

PROBLEMS = 24
BASE = ("--preset", "smoke", "--launcher", "inline", "--limit", PROBLEMS)
RULE = ("--adaptive", "--stop-r", 3, "--stop-min", 10, "--stop-cap", 120, "--stop-batch", 20)
LOOKS = [10, 30, 50, 70, 90, 110, 120]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same problems, model and seeds: sampled adaptively, and 120 times each."""
    folder = tmp_path_factory.mktemp("adaptive")
    for flags in ((*RULE, "--run", "adaptive"), ("--samples", 120, "--run", "fixed")):
        done = job("launch.py", *BASE, *flags, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def fit_of(run):
    return json.loads((run / "results" / "fit.json").read_text())


def counts_of(run):
    return pl.read_parquet(run / "results" / "counts.parquet")


def test_every_problem_stopped_where_the_rule_says(runs):
    outcomes = counts_of(runs / "fixed")["task_id"]
    assert fit_of(runs / "adaptive")["stopping"] == {"r": 3, "looks": LOOKS}
    script = job("fit.py", "adaptive", cwd=runs)
    assert "stopped at 3 passes" in script.stdout
    # the job by hand takes what the preset of the launch asks for, not its own default
    assert fit_of(runs / "adaptive")["replicates"] == 100
    counts = counts_of(runs / "adaptive")
    assert counts["task_id"].equals(outcomes)
    for n, c in counts.select("n", "c").iter_rows():
        assert n in LOOKS
        assert c >= 3 or n == 120
    assert samples(runs / "adaptive").height == counts["n"].sum() < PROBLEMS * 120 / 2


def test_its_samples_are_the_first_of_the_fixed_run(runs):
    few, all_ = samples(runs / "adaptive"), samples(runs / "fixed")
    assert few.join(all_, on=["task_id", "seed", "completion"], how="anti").is_empty()


def test_the_curve_reaches_the_cap_and_agrees_with_the_fixed_run(runs):
    adaptive, fixed = fit_of(runs / "adaptive"), fit_of(runs / "fixed")
    assert adaptive["k_max"] == fixed["k_max"] == 120
    for k in ("1", "10", "50", "120"):
        apart = adaptive["fail_at_k"][k] - fixed["fail_at_k"][k]
        assert abs(apart) < 4 * max(fixed["se_superpopulation"][k] / np.sqrt(PROBLEMS), 0.02)
    counts = counts_of(runs / "adaptive")
    plain = pass_at_k(counts["n"].to_numpy(), counts["c"].to_numpy(), 1).mean()
    assert adaptive["pass_at_k"]["1"] != pytest.approx(plain, abs=1e-6)
    report = (runs / "adaptive" / "results" / "report.md").read_text()
    assert "a problem got no more samples once it had 3 passes" in report
    assert "This was checked after 10, 30, 50, 70, 90, 110, 120 samples" in report


def test_launching_again_samples_nothing(runs):
    before = files(runs / "adaptive" / "samples")
    done = job("launch.py", *BASE, *RULE, "--run", "adaptive", cwd=runs)
    assert done.returncode == 0, done.stderr
    assert " 0 to sample" in done.stdout
    assert files(runs / "adaptive" / "samples") == before


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--samples", 50), "sampled adaptively; launch with --adaptive"),
        ((*RULE, "--stop-r", 4), "the run samples with --stop-r 3 --stop-min 10"),
        (("--adaptive", "--stop-min", 200, "--stop-cap", 100), "--stop-cap 100: must be at least"),
    ],
)
def test_another_design_is_refused(runs, flags, says):
    before = files(runs / "adaptive")
    done = job("launch.py", *BASE, *flags, "--run", "adaptive", cwd=runs)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert files(runs / "adaptive") == before


def test_a_fixed_run_of_more_samples_than_the_least_is_refused(runs):
    done = job("launch.py", *BASE, *RULE, "--run", "fixed", cwd=runs)
    assert done.returncode == 2
    assert "the run has 120 samples of a problem already" in done.stderr


def test_a_pilot_grows_into_an_adaptive_run_and_the_cap_may_rise(tmp_path):
    small = (*BASE[:-1], 8, "--run", "run")
    assert job("launch.py", *small, "--samples", 10, cwd=tmp_path).returncode == 0
    assert_each_sample_once(tmp_path / "run", problems=8, n=10)
    done = job("launch.py", *small, *RULE[:-4], "--stop-cap", 40, "--stop-batch", 20, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fit_of(tmp_path / "run")["stopping"]["looks"] == [10, 30, 40]
    done = job("launch.py", *small, *RULE[:-4], "--stop-cap", 60, "--stop-batch", 20, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = fit_of(tmp_path / "run")
    assert (found["stopping"]["looks"], found["k_max"]) == ([10, 30, 40, 60], 60)
    assert found["complete"]


def test_a_lost_shard_is_sampled_anew_and_the_rounds_go_on(runs, tmp_path):
    small = (*BASE[:-1], 8, "--run", "run")
    assert job("launch.py", *small, *RULE, cwd=tmp_path).returncode == 0
    whole = samples(tmp_path / "run")
    lost = sorted((tmp_path / "run" / "samples").glob("r000-*.parquet"))[0]
    lost.unlink()
    assert job("fit.py", "run", cwd=tmp_path).returncode == 1
    cut = fit_of(tmp_path / "run")
    assert not cut["complete"]
    assert job("launch.py", *small, *RULE, cwd=tmp_path).returncode == 0
    assert samples(tmp_path / "run").equals(whole)
    assert fit_of(tmp_path / "run")["complete"]


COUNTS = "problem_id,n,c\na,7,2\nb,3,3\nc,9,1\nd,3,2\ne,9,0\n"
STOP = ("--stop-r", 2, "--stop-min", 3, "--stop-cap", 9)


def test_counts_of_a_file_follow_the_rule_of_its_flags(tmp_path):
    (tmp_path / "counts.csv").write_text(COUNTS)
    done = job(
        "fit.py", "--counts", "counts.csv", "--out", "out", *STOP, "--replicates", 100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert found["k_max"] == 9
    # a: C(6-k, 1) / C(6, 1); b, d: plain with n = 3; c, e: plain with n = 9
    want = (5 / 6 + 0 / 3 + 8 / 9 + 1 / 3 + 1) / 5
    assert found["fail_at_k"]["1"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        (COUNTS, STOP[:4], "--stop-r, --stop-min and --stop-cap: give all three"),
        (COUNTS.replace("a,7", "a,2"), STOP, "counts.csv:2: n = 2, c = 2: the stopping rule"),
        (COUNTS.replace("a,7,2", "a,7,4"), STOP, "counts.csv:2: n = 7, c = 4: the stopping rule"),
        (COUNTS, (*STOP, "--stop-batch", -1), "--stop-batch -1"),
    ],
)
def test_counts_that_the_rule_cannot_leave_are_refused(tmp_path, text, flags, says):
    (tmp_path / "counts.csv").write_text(text)
    done = job("fit.py", "--counts", "counts.csv", "--out", "out", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "out").exists()
