"""A run as frames and text, and fits of its counts, as the jobs have them."""

import json
import runpy
import sys

import polars as pl
import pytest
from run_here import here
from run_jobs import ROOT, SMOKE

import toolkit
from toolkit.api.run import RunFrames
from toolkit.errors import ToolkitError, UsageError
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import Run


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "run"
    done = here("launch", *SMOKE, "--run", folder, "--runs", folder.parent)
    assert done.code == 0, done.all()
    return folder


@pytest.fixture
def run(path):
    return toolkit.open_run(str(path))


def test_a_run_opens_by_path_or_text_and_is_a_run(path, run):
    assert isinstance(run, Run)
    assert run == toolkit.open_run(path) == RunFrames(path.resolve())
    with pytest.raises(UsageError, match="no run here"):
        toolkit.open_run(path.parent)


def test_the_frames_are_lazy_and_have_what_the_files_have(path, run):
    samples = run.samples()
    assert isinstance(samples, pl.LazyFrame)
    files = pl.read_parquet(f"{path}/samples/*.parquet")
    assert samples.collect().sort("task_id", "seed").equals(files.sort("task_id", "seed"))
    assert run.answers().collect().height == files.height
    verdicts = run.verdicts().collect()
    assert verdicts.height == run.answers().select("task_id", "answer").unique().collect().height
    outcomes = run.outcomes().collect()
    assert outcomes.equals(sample_outcomes(run, toolkit.judge_of_run(run)))
    counts = run.counts()
    assert counts["c"].sum() == outcomes["passed"].sum()
    assert run.counts(run.judge()).equals(counts)
    with pytest.raises(UsageError, match="has no judge 'other'"):
        run.verdicts("other")


def test_the_text_of_a_sample(run):
    row = run.samples().collect().row(-1, named=True)
    assert run.completion(row["task_id"], row["seed"]) == row["completion"]
    with pytest.raises(UsageError, match=r"has no sample 99 of 'HumanEval/0' \(yet\)"):
        run.completion("HumanEval/0", 99)


def test_a_run_that_has_no_sample_yet_has_empty_frames(path, tmp_path):
    for name in ("manifest.json", "problems.parquet"):
        (tmp_path / name).write_bytes((path / name).read_bytes())
    (tmp_path / "rounds").symlink_to(path / "rounds")
    empty, full = toolkit.open_run(tmp_path), toolkit.open_run(path)
    for name in ("samples", "answers", "verdicts"):
        found = getattr(empty, name)().collect()
        assert found.is_empty()
        assert found.schema == getattr(full, name)().collect_schema(), name


def test_a_fit_in_memory_is_the_fit_of_the_job(path, run):
    document = json.loads((path / "results" / "fit.json").read_text())
    found = toolkit.fit(run.counts(), replicates=document["replicates"])
    assert {str(k): v for k, v in found.pass_at_k.items()} == document["pass_at_k"]
    assert {str(k): [b.lo, b.hi] for k, b in found.band.items()} == {
        k: [b["lo"], b["hi"]] for k, b in document["band"].items()
    }


def test_a_forecast_says_what_was_measured_and_where_it_ends(run):
    counts = pl.DataFrame({"task_id": [str(i) for i in range(30)], "n": 40, "c": range(30)})
    ahead = toolkit.forecast(counts, replicates=100)
    assert ahead.limit(80) is None
    assert 0 < ahead.at(80).estimate < ahead.at(40).estimate < ahead.at(1).estimate
    few = toolkit.forecast(run.counts(), replicates=100)
    assert "too few for any forecast" in few.limit(8)


@pytest.mark.parametrize(
    ("counts", "error", "says"),
    [
        ({"task_id": ["a"], "n": [1]}, UsageError, "counts: has no column 'c'"),
        ({"task_id": ["a"], "n": [1], "c": [2]}, UsageError, "counts: a: n = 1, c = 2: need"),
        ({"task_id": ["a"], "n": [0], "c": [0]}, ToolkitError, "no "),
    ],
)
def test_counts_that_cannot_be_are_refused(counts, error, says):
    for function in (toolkit.fit, toolkit.forecast):
        with pytest.raises(error, match=says):
            function(pl.DataFrame(counts))


def test_the_example_runs(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["example.py", str(path)])
    assert runpy.run_path(str(ROOT / "analysis" / "example.py"))["main"]() == 0
    said = capsys.readouterr().out
    assert "fail@4 = " in said
    assert "judged 2 samples again: 2 of 2 verdicts are the same" in said


def test_the_stub_has_the_public_names():
    """So mypy sees their types, though they load late."""
    stub = (ROOT / "toolkit" / "__init__.pyi").read_text()
    named = {line.split()[-1] for line in stub.splitlines() if " import " in line}
    assert named | {"__version__"} == set(toolkit.__all__)
    for line in stub.splitlines():
        if " import " in line:
            module, name = line.split()[1], line.split()[-1]
            assert toolkit._PUBLIC[name] == module
