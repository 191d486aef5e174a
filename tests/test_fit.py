"""From counts to fit.json, figures and report; reference values of three sets of counts."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from toolkit.errors import ToolkitError, UsageError
from toolkit.report.report import report_blocks
from toolkit.stages.fit import fit_counts, fit_document, read_counts_csv

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "counts"
SETS = ("open_llm_math_pythia_12b", "open_humaneval_gpt35_n10", "open_sim_llama_n1000")
CONTEXT = {"title": "a test", "complete": True}


def beta_counts(problems=80, n=60, seed=1):
    random = np.random.default_rng(seed)
    c = random.binomial(n, random.beta(0.3, 0.3, size=problems))
    return pl.DataFrame({"task_id": [f"t/{i}" for i in range(problems)], "n": n, "c": c})


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"the reference counts are not at {SHARED}")
@pytest.mark.parametrize("name", SETS)
def test_the_reference_values(name):
    want = json.loads((SHARED / "expected.json").read_text())[name]
    found = fit_document(read_counts_csv(SHARED / f"{name}.csv"), replicates=300)
    assert (found["problems"], found["unsolved"]) == (want["problems"], want["unsolved_c0"])
    for k, value in want["pass_at_k"].items():
        assert found["pass_at_k"][k] == pytest.approx(value, abs=1e-9)
    for k, errors in want["se"].items():
        pairs = (("se_superpop", "se_superpopulation"), ("se_fixed_set", "se_fixed_set"))
        for theirs, ours in pairs:
            if theirs in errors:
                assert found[ours][k] == pytest.approx(errors[theirs], rel=1e-6)
    line, power = found["fits"]["log_log_line"], found["fits"]["exp_power"]
    assert line["slope"] == pytest.approx(want["ols_loglog"]["slope"], abs=1e-9)
    assert line["intercept"] == pytest.approx(want["ols_loglog"]["intercept"], abs=1e-9)
    assert power["a"] == pytest.approx(want["exp_power"]["a"], rel=1e-9)
    assert power["b"] == pytest.approx(want["exp_power"]["b"], rel=1e-9)
    beta, expected = found["fits"]["beta_binomial"], want["beta_binomial"]
    assert beta["neg_log_lik"] == pytest.approx(expected["neg_log_lik"], abs=1e-4)
    assert beta["a"] == pytest.approx(expected["a"], rel=0.005)
    assert beta["b"] == pytest.approx(expected["b"], rel=0.005)
    for k, value in expected["model_fail_at"].items():
        if k in beta["fail_at_k"]:
            assert beta["fail_at_k"][k] == pytest.approx(value, rel=0.002)
    floor = found["fits"]["zero_inflated_beta_binomial"]
    reference = want["zero_inflated_beta_binomial"]
    assert floor["neg_log_lik"] <= reference["neg_log_lik"] + 1e-3
    scaled, reference = found["fits"]["scaled_beta_binomial"], want["scaled_beta_binomial"]
    assert scaled["neg_log_lik"] <= reference["neg_log_lik"] + 0.05
    for k, value in reference["model_fail_at"].items():
        if k in scaled["fail_at_k"]:
            assert scaled["fail_at_k"][k] == pytest.approx(value, rel=0.01)
    assert found["power_law"]["supported"] is (name == "open_sim_llama_n1000")


def test_results_are_written_whole_and_kept_while_the_counts_stay(tmp_path):
    document, fresh = fit_counts(beta_counts(), tmp_path, CONTEXT, replicates=100)
    assert fresh
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    figures = ("pass_at_k", "fail_at_k", "slope", "difficulty")
    assert names == {
        "counts.parquet", "curve.parquet", "fit.json", "report.html", "report.md",
        *(f"figures/{f}.{s}" for f in figures for s in ("svg", "png")),
    }  # fmt: skip
    assert json.loads((tmp_path / "fit.json").read_text()) == document
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again, fresh = fit_counts(beta_counts(), tmp_path, CONTEXT, replicates=100)
    assert not fresh
    assert again == document
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    _, fresh = fit_counts(beta_counts(n=61), tmp_path, CONTEXT, replicates=100)
    assert fresh


def test_the_report_needs_no_other_file_and_says_what_it_must(tmp_path):
    context = CONTEXT | {"complete": False, "evaluated": 10, "planned": 20, "chosen": True}
    document, _ = fit_counts(beta_counts(), tmp_path, context, replicates=100)
    html = (tmp_path / "report.html").read_text()
    assert html.count('src="data:image/svg+xml;base64,') == 4
    assert "http" not in html.split("<body>")[1].replace("data:image", "")
    markdown = (tmp_path / "report.md").read_text()
    for said in (
        "INCOMPLETE: 10 of 20", "were chosen", f"{document['unsolved']} problems are unsolved",
        "Goodness of fit", "Likelihood-ratio test", "such problems", "these problems", "bracket",
        "as in the blog", "Unsolved: t/",
    ):  # fmt: skip
        assert said in markdown, said


def test_an_unsupported_power_law_is_said_with_its_reasons(tmp_path):
    easy = pl.DataFrame({"task_id": ["a", "b", "c"], "n": 12, "c": [3, 6, 12]})
    document = fit_document(easy, replicates=100)
    assert not document["power_law"]["supported"]
    text = " ".join(str(b) for b in report_blocks({**document, **CONTEXT}, easy))
    assert "A power law is not supported: k spans 1.1 decades" in text
    assert "0 problems are unsolved at the largest k" in text


@pytest.mark.parametrize("c", [[0, 0, 0], [8, 8, 8], [0, 8, 0], [1, 0, 0]])
def test_extreme_counts_have_finite_results(tmp_path, c):
    counts = pl.DataFrame({"task_id": ["a", "b", "c"], "n": 8, "c": c})
    document, _ = fit_counts(counts, tmp_path, CONTEXT, replicates=100)
    assert "NaN" not in json.dumps(document)
    assert "Infinity" not in json.dumps(document)
    assert (tmp_path / "report.html").exists()


def test_one_sample_and_missing_problems_do_not_break_it(tmp_path):
    counts = pl.DataFrame({"task_id": ["a", "b", "c"], "n": [1, 1, 0], "c": [1, 0, 0]})
    document, _ = fit_counts(counts, tmp_path, CONTEXT, replicates=100)
    assert document["problems"] == 2
    assert "left out: c" in (tmp_path / "report.md").read_text()
    solved = counts.with_columns(c=pl.col("n"))
    fit_counts(solved, tmp_path, CONTEXT, replicates=100)
    assert "left out: c" in (tmp_path / "report.md").read_text()
    with pytest.raises(ToolkitError, match="no sample has a verdict"):
        fit_document(counts.with_columns(n=0, c=0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("problem_id,n\na,1\n", "needs the columns"),
        ("problem_id,n,c\na,5,6\n", "counts.csv:2: n = 5, c = 6"),
        ("problem_id,n,c\na,5,1\nb,x,1\n", "counts.csv:3: n = x"),
        ("task_id,n,c\na,5,1\na,5,2\n", "problem a stands there twice"),
    ],
)
def test_bad_counts_are_refused_by_file_line_and_column(tmp_path, text, says):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_counts_csv(path)
