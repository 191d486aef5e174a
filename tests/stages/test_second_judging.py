"""Another task's references judge the samples of a run, beside its own judge."""

import base64
import gzip
import json
import re
import zlib

import polars as pl
import pytest
from run_jobs import job
from shared_data import shared

from toolkit.config import Evaluation
from toolkit.errors import UsageError
from toolkit.report.browse_page import BROWSE_HTML
from toolkit.report.document import read_fit
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import open_run
from toolkit.stages.browse import browse_at_fit
from toolkit.stages.evaluate import evaluate_run, second_references
from toolkit.stages.fit import fit_run, results_of
from toolkit.stages.ingest import ingest
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.judges import judge_of_run

PROMPT = 'def double(n):\n    """Twice n."""\n'
WEAK = "def check(f):\n    assert f(2) == 4\n"
STRONG = "def check(f):\n    assert f(2) == 4\n    assert f(3) == 6\n"
BODIES = ("    return 2 * n\n", "    return n + 2\n", "    return n\n", "    return n * n\n")
"""Right by both; right by the weak test only; wrong; right by the weak test only."""
PLUS = "HumanEvalPlus-OriginFmt.jsonl.gz"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(name, test, prompt=PROMPT):
    return {"task_id": name, "prompt": prompt, "test": test, "entry_point": "double"}


@pytest.fixture
def run(tmp_path):
    problems = write(tmp_path / "weak.jsonl", [row(name, WEAK) for name in "ab"])
    samples = [{"task_id": name, "completion": body} for name in "ab" for body in BODIES]
    run = ingest(
        write(tmp_path / "samples.jsonl", samples),
        tmp_path / "run",
        problems_source=str(problems),
        model="m",
    )
    assert evaluate_run(run, Evaluation(), workers=1).complete
    return run


def judge_twice(run, tmp_path, rows):
    """Judge by stronger tests. `humaneval+` reads HumanEval's fields from any file."""
    stronger = write(tmp_path / "strong.jsonl", rows)
    second = second_references(run, "humaneval+", str(stronger))
    judge = judge_of_run(run, name=second.name)
    return evaluate_run(run, Evaluation(), judge=judge, references=second.problems, workers=1)


def test_both_judges_have_their_verdicts_of_the_same_samples(run, tmp_path):
    before = sample_outcomes(run, judge_of_run(run))
    maps = {p: p.stat().st_mtime_ns for p in run.answers_dir.iterdir()}
    summary = judge_twice(run, tmp_path, [row(name, STRONG) for name in "abc"])
    assert summary.complete
    assert summary.judged == 8
    assert {p: p.stat().st_mtime_ns for p in run.answers_dir.iterdir()} == maps
    second = judge_of_run(run, name="humaneval+")
    found = sample_outcomes(run, judge_of_run(run), {"humaneval+": second})
    assert found.drop("passed_humaneval+").equals(before)
    assert found["passed"].to_list() == 2 * [True, True, False, True]
    assert found["passed_humaneval+"].to_list() == 2 * [True, False, False, False]


@pytest.mark.slow
def test_it_is_fitted_into_a_folder_of_its_own(run, tmp_path):
    fit_run(run, judge=judge_of_run(run), replicates=100)
    page = run.results_dir / BROWSE_HTML
    own = {p: p.read_bytes() for p in run.results_dir.rglob("*") if p.is_file() and p != page}
    judge_twice(run, tmp_path, [row(name, STRONG) for name in "ab"])
    second = judge_of_run(run, name="humaneval+")
    fit_run(run, judge=second, name="humaneval+", replicates=100)
    document = read_fit(results_of(run, "humaneval+"))
    assert document.title == "m on 2 problems of weak.jsonl, judged by humaneval+"
    assert document.pass_at_k[1] == pytest.approx(0.25)
    assert read_fit(run.results_dir).pass_at_k[1] == pytest.approx(0.75)
    assert {p: p.read_bytes() for p in own} == own
    assert '../browse.html#a"' in (results_of(run, "humaneval+") / "report.html").read_text()
    weak = fit_run(run, judge=judge_of_run(run), replicates=100).weak_tests["humaneval+"]
    assert (weak.passes, weak.false_positives, weak.missed) == (6, 4, 0)
    assert weak.accuracy[4].estimate == pytest.approx(1 / 3)
    report = (run.results_dir / "report.md").read_text()
    assert "right on about 33.3 %" in report.split("## ")[0]  # a warning at the head
    assert "| a | 33.3 % (" in report
    assert (run.results_dir / "figures" / "weak_tests-humaneval+.svg").is_file()
    assert read_fit(results_of(run, "humaneval+")).weak_tests is None
    (run.results_dir / "humaneval+" / "fit.json").unlink()
    with pytest.raises(UsageError, match=r"fit.py \S+/run --judge humaneval\+`"):
        read_fit(results_of(run, "humaneval+"))


@pytest.mark.slow
def test_a_fit_by_another_judge_writes_the_page_of_both(run, tmp_path):
    page = run.results_dir / BROWSE_HTML
    fit_run(run, judge=judge_of_run(run), replicates=100)
    assert [judge["name"] for judge in head_of(page)["judges"]] == ["python_tests"]
    judge_twice(run, tmp_path, [row(name, STRONG) for name in "ab"])
    second = judge_of_run(run, name="humaneval+")
    options = {"judge": second, "name": "humaneval+", "replicates": 100}
    fit_run(run, **options, browse=False)
    assert [judge["name"] for judge in head_of(page)["judges"]] == ["python_tests"]
    fit_run(run, **options)  # what was fitted stays, and the page is made
    head = head_of(page)
    assert [judge["name"] for judge in head["judges"]] == ["python_tests", "humaneval+"]
    assert index_of(page)["problems"][0]["c"] == 3
    assert index_of(page)["problems"][0]["beside"] == [[4, 1]]
    # By another time limit nothing is judged yet, and the page says so.
    slower = judge_of_run(run, 9.0, name="humaneval+")
    browse_at_fit(run, slower, "humaneval+")
    assert "timeout 9.0" in head_of(page)["judges"][1]["line"]
    assert index_of(page)["problems"][0]["beside"] == [[0, 0]]


def index_of(page):
    text = re.search(r'<script type="text/plain" id="index">([^<]*)<', page.read_text())[1]
    return json.loads(zlib.decompress(base64.b64decode(text), -15))


def head_of(page):
    return index_of(page)["head"]


def test_what_is_frozen_needs_no_file_again(run, tmp_path):
    judge_twice(run, tmp_path, [row(name, STRONG) for name in "ab"])
    (tmp_path / "strong.jsonl").unlink()
    again = second_references(run, "humaneval+")
    judge = judge_of_run(run, name="humaneval+")
    summary = evaluate_run(run, Evaluation(), judge=judge, references=again.problems, workers=1)
    assert (summary.complete, summary.judged) == (True, 0)


@pytest.mark.slow
def test_the_jobs_judge_fit_and_refuse(run, tmp_path):
    write(tmp_path / "strong.jsonl", [row(name, STRONG) for name in "ab"])
    write(tmp_path / "other.jsonl", [row(name, STRONG, "def double(n): # half\n") for name in "ab"])
    task = ("--task", "humaneval+")
    for flags, says in (
        (("--problems", "strong.jsonl"), "give the task of this file too, by --task"),
        ((*task,), "cannot be fetched from"),
        ((*task, "--problems", "other.jsonl"), "asks something else in 'a' than the run did"),
        (("--task", "sudoku"), "no such task"),
    ):
        done = job("evaluate.py", "run", *flags, cwd=tmp_path)
        assert done.returncode == 2
        assert says in done.stderr.splitlines()[0]
        assert done.stderr.count("\n") == 1 or "one of:" in done.stderr  # lists all tasks
    assert not run.judges_dir.exists()
    refused = job("fit.py", "run", "--judge", "humaneval+", cwd=tmp_path)
    assert refused.returncode == 2
    assert "has no judge 'humaneval+' besides its own" in refused.stderr
    done = job("evaluate.py", "run", *task, "--problems", "strong.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: python jobs/fit.py run --judge humaneval+" in done.stdout
    done = job("fit.py", "run", "--judge", "humaneval+", "--replicates", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report: run/results/humaneval+/report.html" in done.stdout
    assert "samples: run/results/browse.html" in done.stdout


@pytest.mark.slow
def test_humaneval_plus_judges_a_run_of_humaneval(tmp_path):
    """Reference solutions pass by both; `return None` passes by neither."""
    path = shared(f"humanevalplus/{PLUS}")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    chosen = [r for r in rows if r["task_id"] in ("HumanEval/2", "HumanEval/32", "HumanEval/115")]
    samples = [
        {"task_id": r["task_id"], "completion": body}
        for r in chosen
        for body in (r["canonical_solution"], "    return None\n")
    ]
    run = ingest(write(tmp_path / "s.jsonl", samples), tmp_path / "run", model="m")
    assert evaluate_run(run, Evaluation(), workers=1).complete
    second = second_references(run, "humaneval+", str(path))
    judge = judge_of_run(run, name="humaneval+")
    assert evaluate_run(
        run, Evaluation(), judge=judge, references=second.problems, workers=1
    ).complete
    found = sample_outcomes(open_run(run.path), judge_of_run(run), {"humaneval+": judge})
    assert found["passed"].to_list() == 3 * [True, False]
    assert found.select(pl.col("passed") == pl.col("passed_humaneval+")).to_series().all()


def test_of_an_adaptive_run_nothing_is_fitted_by_another_task(run, tmp_path):
    """Its sampling stopped at the passes of its own judge."""
    judge_twice(run, tmp_path, [row(name, STRONG) for name in "ab"])
    (path,) = (run.path / "rounds").iterdir()
    plan = json.loads(path.read_text())
    path.write_text(json.dumps(plan | {"stopping": StoppingRule(1, (2, 4)).document()}))
    second = judge_of_run(run, name="humaneval+")
    with pytest.raises(UsageError, match="counts by another one are biased"):
        fit_run(run, judge=second, name="humaneval+", replicates=100)
    assert not results_of(run, "humaneval+").exists()
