"""The scripts over finished runs: each prints a table and writes a figure."""

import dataclasses
import json
import runpy
import shutil
import subprocess
import sys

import polars as pl
import pytest
from run_jobs import ROOT, SMOKE, job

from toolkit.errors import UsageError
from toolkit.records import Sample
from toolkit.report import comparisons

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
    ],
)
def test_a_table_and_a_figure(runs, name, arguments, figure, says):
    done = script(name, *arguments, cwd=runs)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    for suffix in (".png", ".svg"):
        assert (runs / f"{figure}{suffix}").stat().st_size > 4000


def test_of_single_readings_and_of_no_pass_there_is_a_sentence_and_no_figure(runs, tmp_path):
    done = script("feed.py", str(runs / "a"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "in flight: as a share of max_num_seqs" in done.stdout
    assert "no figure: each task has one reading" in done.stdout
    hopeless = tmp_path / "hopeless"
    shutil.copytree(runs / "a", hopeless)
    counts = hopeless / "results" / "counts.parquet"
    pl.read_parquet(counts).with_columns(c=pl.lit(0, pl.UInt32)).write_parquet(counts)
    done = script("per_problem.py", str(hopeless), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no figure: none of these problems has a sample that passes" in done.stdout
    assert not list(tmp_path.glob("*.png"))


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


def inside(name, *arguments, monkeypatch, cwd):
    """The script's exit code, run in this process; its errors are raised."""
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(ROOT / "analysis" / name))["main"]()


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_curves_of_groups_of_problems(runs, monkeypatch, capsys):
    ids = ["HumanEval/0", "HumanEval/1"]
    write_rows(runs / "levels.jsonl", [{"task_id": t, "level": i} for i, t in enumerate(ids)])
    write_rows(runs / "short.jsonl", [{"task_id": ids[0], "level": 1}])
    write_rows(runs / "nameless.jsonl", [{"level": 1}])
    by = ("curves.py", "a", "--by", "level", "--of")
    assert inside(*by, "levels.jsonl", "--out", "by", monkeypatch=monkeypatch, cwd=runs) == 0
    found = json.loads((runs / "by.json").read_text())
    assert list(found) == ["level 0", "level 1"]
    counts = read_counts(runs / "a")
    for label, (n, c) in zip(found, counts, strict=True):
        assert found[label]["problems"] == 1
        passed = found[label]["pass_at_k"]["1"]
        assert passed == pytest.approx(c / n)
        assert found[label]["lo"]["1"] <= passed <= found[label]["hi"]["1"]
    assert (runs / "by.png").stat().st_size > 4000
    for file, says in (
        ("short.jsonl", "problems of a without a value: 1, such as HumanEval/1"),
        ("nameless.jsonl", "line 1: no field 'task_id'"),
        ("absent.jsonl", "--of absent.jsonl: no such file"),
    ):
        with pytest.raises(UsageError, match=says):
            inside(*by, file, monkeypatch=monkeypatch, cwd=runs)
    with pytest.raises(UsageError, match="no field 'type'; there is: level, task_id"):
        inside(
            "curves.py",
            "a",
            "--by",
            "type",
            "--of",
            "levels.jsonl",
            monkeypatch=monkeypatch,
            cwd=runs,
        )
    capsys.readouterr()


def read_counts(path):
    import polars as pl

    return pl.read_parquet(path / "results" / "counts.parquet").select("n", "c").rows()


def test_many_numbers_are_cut_into_quarters_and_data_as_published_are_known(tmp_path):
    from toolkit.report.groups import column_of_file

    rows = [
        {
            "idx": str(i),
            "problem": "?",
            "solution": "\\boxed{1}",
            "length": i,
            "level": f"Level {i % 2}",
        }
        for i in range(20)
    ]
    write_rows(tmp_path / "math.jsonl", rows)
    lengths = column_of_file(tmp_path / "math.jsonl", "length", "math")
    assert next(iter(lengths)) == "math/0"
    sizes = [list(lengths.values()).count(label) for label in dict.fromkeys(lengths.values())]
    assert (sum(sizes), len(sizes), max(sizes)) == (20, 4, 6)
    assert lengths["math/0"] == "length 0 to 5"
    levels = column_of_file(tmp_path / "math.jsonl", "level", "math")
    assert (levels["math/3"], set(levels.values())) == ("Level 1", {"Level 0", "Level 1"})
    with pytest.raises(UsageError, match="20 different values; at most 12"):
        column_of_file(tmp_path / "math.jsonl", "idx", "math")


def test_temperature_as_an_axis_over_runs(runs, tmp_path, monkeypatch, capsys):
    for name, temperature in (("cold", 0.2), ("warm", 0.8)):
        subprocess.run(["cp", "-a", runs / "a", tmp_path / name], check=True)
        fit = tmp_path / name / "results" / "fit.json"
        document = json.loads(fit.read_text())
        document["sampling"]["temperature"] = temperature
        fit.write_text(json.dumps(document))
    over = ("curves.py", "--over", "temperature")
    assert inside(*over, "warm", "cold", "--out", "t", monkeypatch=monkeypatch, cwd=tmp_path) == 0
    assert list(json.loads((tmp_path / "t.json").read_text())) == [
        "temperature 0.2",
        "temperature 0.8",
    ]
    assert (tmp_path / "t.svg").stat().st_size > 4000
    with pytest.raises(UsageError, match=r"cold has 0\.2 as another run has"):
        inside(*over, "cold", "cold", monkeypatch=monkeypatch, cwd=tmp_path)
    with pytest.raises(UsageError, match="sampled without one"):
        inside(*over, str(runs / "a"), monkeypatch=monkeypatch, cwd=tmp_path)
    capsys.readouterr()


def test_dollars_are_of_sampling_and_start_up(runs, tmp_path):
    """A shard that took an hour, of an engine of two GPUs that took half an hour to start."""
    from toolkit.records import EngineFacts
    from toolkit.report.document import read_fit
    from toolkit.runs.roof import read_roof
    from toolkit.runs.run import open_run
    from toolkit.runs.shard_facts import EngineStart, ShardFacts, Times, TokenCounts
    from toolkit.runs.shards import read_shard, write_shard
    from toolkit.stages.fit import fit_run
    from toolkit.stats.roofline import Shape
    from toolkit.verifiers.judges import judge_of_run

    subprocess.run(["cp", "-a", f"{runs}/a", tmp_path], check=True)
    run = open_run(tmp_path / "a")
    facts = ShardFacts(
        engine=EngineFacts(
            device="NVIDIA H100 80GB HBM3",
            tensor_parallel_size=2,
            shape=json.dumps(dataclasses.asdict(Shape(dense=1e13, kv_bytes=0.0))),
        ),
        start=EngineStart(startup_seconds=1800.0, max_num_seqs=64),
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
    # 20 TB of weights are read from two cards for 64 tokens; 2 tokens/s of each shard were made.
    roof = 64 / (2e13 / (2 * 3.35e12))
    assert float(row["roof_percent"]) == round(100 * 2 * count / roof, 1)
    assert fit_run(run, judge=judge_of_run(run), replicates=100).roof == read_roof(run)
    assert f"| speed | {count} tokens/s a GPU, " in (run.results_dir / "report.md").read_text()
    assert read_fit(run.results_dir).roof == read_roof(run)
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


def test_no_run_is_left_out_of_a_figure(monkeypatch, tmp_path):
    """There are five styles, and once there were no more than five lines."""
    drawn = []
    monkeypatch.setattr(comparisons, "save", lambda figure, path: drawn.append(figure))
    table = pl.DataFrame({"k": [1, 2], "fail_at_k": [0.5, 0.4], "lo": [0.4, 0.3], "hi": [0.6, 0.5]})
    comparisons.draw_curves({f"run {i}": table for i in range(7)}, tmp_path)
    costs = {f"run {i}": ([1.0, 2.0], [0.5, 0.6]) for i in range(7)}
    comparisons.draw_coverage(costs, 1e-6, tmp_path)
    assert [len(figure.axes[0].get_lines()) for figure in drawn] == [7, 7]
