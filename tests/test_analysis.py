"""The scripts over finished runs: each prints a table and writes a figure."""

import json
import subprocess
import sys

import pytest
from run_jobs import ROOT, SMOKE, job

from toolkit.records import Sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("a", "0"), ("b", "1")):
        done = job("launch.py", *SMOKE, "--run", name, "--base-seed", seed, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def script(name, *arguments, cwd):
    command = [sys.executable, str(ROOT / "analysis" / name), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "arguments", "figure", "says"),
    [
        ("curves.py", ("a", "b"), "curves", "pass@k by run"),
        ("per_problem.py", ("a", "b"), "per_problem", "2 problems"),
        ("compare_runs.py", ("a", "b"), "compare", "'A beats B' at k = 4: not supported"),
        ("frontier.py", ("a", "b"), "frontier", "one try of A"),
        ("cost.py", ("a", "b"), "cost", "usd_per_percent"),
        ("feed.py", ("a",), "feed", "in flight: as a share of max_num_seqs"),
    ],
)
def test_a_table_and_a_figure(runs, name, arguments, figure, says):
    done = script(name, *arguments, cwd=runs)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    for suffix in (".png", ".svg"):
        assert (runs / f"{figure}{suffix}").stat().st_size > 4000


def test_a_comparison_sets_coverage_against_tokens_and_dollars(runs):
    done = script("compare_runs.py", "a", "b", "--usd-per-gpu-hour", "3.6", cwd=runs)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.split("\n\n")[1].splitlines()
    assert header.split()[-4:] == ["tokens", "A", "$", "B", "$"][-4:]
    k, cost = int(rows[-1].split()[0]), [float(v) for v in rows[-1].split()[-4:]]
    assert k == 4
    assert cost[2] == pytest.approx(cost[0] * 3.6 / 3600 / 4000, abs=1e-4)
    assert (runs / "compare-tokens.png").stat().st_size > 4000


def test_a_gate_speaks_by_its_exit_code(runs):
    """Two problems decide nothing; a k without an estimate is refused."""
    done = script("compare_runs.py", "a", "b", "--gate", "2", cwd=runs)
    assert done.returncode == 4, done.stderr
    assert "gate: A against B at k = 2: cannot tell" in done.stdout
    found = json.loads((runs / "compare.json").read_text())
    assert found["gate"]["verdict"] == "cannot tell"
    (pair,) = found["pairs"]
    assert pair["lo"]["4"] < pair["difference"]["4"] < pair["hi"]["4"]
    assert set(pair["crossover"]) == {"crosses", "k", "lo", "hi"}
    refused = script("compare_runs.py", "a", "b", "--gate", "5", cwd=runs)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "an estimate for k = 1 to 4 only" in refused.stderr


def test_dollars_are_of_sampling_and_start_up(runs, tmp_path):
    """A shard that took an hour, of an engine of two GPUs that took half an hour to start."""
    from toolkit.records import EngineFacts
    from toolkit.runs.run import open_run
    from toolkit.runs.shard_facts import EngineStart, ShardFacts, Times, TokenCounts
    from toolkit.runs.shards import read_shard, write_shard

    subprocess.run(["cp", "-a", f"{runs}/a", tmp_path], check=True)
    run = open_run(tmp_path / "a")
    facts = ShardFacts(
        engine=EngineFacts(tensor_parallel_size=2),
        start=EngineStart(startup_seconds=1800.0),
        times=Times(started=3600.0, ended=7200.0),
        tokens=TokenCounts(output=7200, prompt=500),
    )
    for slice_ in run.slices():
        rows = [Sample(*row) for row in read_shard(run, slice_).iter_rows()]
        write_shard(run, slice_, rows, facts)
    done = script("cost.py", "a", "--usd-per-gpu-hour", "2.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "┆" in line]
    names, values = ([cell.strip() for cell in line.split("┆")] for line in lines)
    row = dict(zip(names, values, strict=True))
    count = len(run.slices())
    assert (row["tokens_in"], row["tokens_out"]) == (str(500 * count), str(7200 * count))
    assert (float(row["gpu_hours"]), float(row["startup_hours"])) == (3.0, 1.0)
    assert float(row["tokens_out_per_gpu_second"]) == count
    assert float(row["usd"]) == 7.5
    assert "hours of a: from the shards" in done.stdout


def test_a_run_without_a_gpu_has_no_price(runs):
    """The synthetic law needs no GPU; pilots of it give no rate of one either."""
    done = script("cost.py", "a", cwd=runs)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "┆" in line]
    names, values = ([cell.strip(" │") for cell in line.split("┆")] for line in lines)
    row = dict(zip(names, values, strict=True))
    assert (row["gpu_hours"], row["usd"], row["usd_per_percent"]) == ("null", "null", "null")
    assert float(row["task_hours"]) >= 0


def test_outcomes_has_one_row_a_sample(runs):
    import polars as pl

    done = script("outcomes.py", "a", "--out", "outcomes.parquet", cwd=runs)
    assert done.returncode == 0, done.stderr
    frame = pl.read_parquet(runs / "outcomes.parquet")
    verdict = ["outcome", "kind", "passed", "detail", "suspect", "canonical"]
    assert frame.columns == ["task_id", "seed", "answer", *verdict, "finish_reason"]
    assert frame.height == 8
    assert frame.select("task_id", "seed").is_unique().all()


def test_a_run_that_was_not_fitted_is_said(runs):
    (runs / "a" / "results" / "fit.json").rename(runs / "fit.json")
    done = script("cost.py", "a", cwd=runs)
    (runs / "fit.json").rename(runs / "a" / "results" / "fit.json")
    assert done.returncode == 2
    assert "missing: run `python jobs/fit.py" in done.stderr
