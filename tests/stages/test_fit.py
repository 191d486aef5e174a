"""From counts to fit.json, figures and report; reference values of three sets of counts."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from run_jobs import ROOT

from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.report.document import FitContext, read_fit, write_fit
from toolkit.report.facts import JudgeFacts, SamplingFacts
from toolkit.report.findings import Slope
from toolkit.report.report import report_blocks
from toolkit.report.terminal import describe_fit
from toolkit.runs.roof import RunRoof
from toolkit.runs.taxonomy import Taxonomy
from toolkit.stages.counts_csv import read_counts_csv
from toolkit.stages.fit import fit_counts
from toolkit.stages.fit_document import fit_document
from toolkit.stats.stopping import StoppingRule

SHARED = ROOT.parent / "shared" / "data" / "counts"
SETS = ("open_llm_math_pythia_12b", "open_humaneval_gpt35_n10", "open_sim_llama_n1000")
OLD = ROOT / "tests" / "data" / "runs-0.1.0" / "adaptive" / "results" / "fit.json"
LATER = {
    "judge": None,
    "taxonomy": None,
    "without_suspect": None,
    "output_tokens": None,
    "consistency": None,
    "weak_tests": None,
    "files": None,
    "cost": None,
    "roof": None,
    "out_of_budget": None,
    "date": None,
    "provenance": None,
    "partial": {},
    "short": {},
    "families": None,
    "model_free": None,
    "no_forecast": None,
    "same_problems_band": None,
}
"""What fit.json has got since 0.1.0, as it is read from an older one."""
CONTEXT = FitContext(title="a test")
TAXONOMY = Taxonomy(
    kinds={"passed": 40, "wrong_answer": 30, "exception": 20, "syntax": 10},
    cut={"syntax": 7, "exception": 2},
    exceptions={"NameError": 9, "ValueError": 5, "TypeError": 3, "KeyError": 1, "IndexError": 1},
    suspect_passes=12,
    suspect={"frames": 7, "equality": 6},
    suspect_problems={"b": 8, "d": 4},
)
SAMPLING = SamplingFacts("m/model", "vllm", "chat", 0.7, 0.9, 512)


def beta_counts(problems=80, n=60, seed=1):
    random = np.random.default_rng(seed)
    c = random.binomial(n, random.beta(0.3, 0.3, size=problems))
    return pl.DataFrame({"task_id": [f"t/{i}" for i in range(problems)], "n": n, "c": c})


def with_tokens(counts, a_sample=20):
    """Half of the problems have samples of so many output tokens, the others of twice as many."""
    each = a_sample * (1 + pl.int_range(pl.len()) % 2)
    return counts.with_columns(tokens=each * pl.col("n"), samples=pl.col("n"))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"the reference counts are not at {SHARED}")
@pytest.mark.parametrize("name", SETS)
def test_the_reference_values(name):
    want = json.loads((SHARED / "expected.json").read_text())[name]
    found = fit_document(read_counts_csv(SHARED / f"{name}.csv"), CONTEXT, replicates=300)
    assert (found.problems, found.unsolved) == (want["problems"], want["unsolved_c0"])
    for k, value in want["pass_at_k"].items():
        assert found.pass_at_k[int(k)] == pytest.approx(value, abs=1e-9)
    for k, errors in want["se"].items():
        pairs = {"se_superpop": found.se_superpopulation, "se_fixed_set": found.se_fixed_set}
        for theirs, ours in pairs.items():
            if theirs in errors:
                assert ours[int(k)] == pytest.approx(errors[theirs], rel=1e-6)
    line, power = found.fits.log_log_line, found.fits.exp_power
    assert line.slope == pytest.approx(want["ols_loglog"]["slope"], abs=1e-9)
    assert line.intercept == pytest.approx(want["ols_loglog"]["intercept"], abs=1e-9)
    assert power.a == pytest.approx(want["exp_power"]["a"], rel=1e-9)
    assert power.b == pytest.approx(want["exp_power"]["b"], rel=1e-9)
    beta, expected = found.fits.beta_binomial, want["beta_binomial"]
    assert beta.neg_log_lik == pytest.approx(expected["neg_log_lik"], abs=1e-4)
    assert beta.a == pytest.approx(expected["a"], rel=0.005)
    assert beta.b == pytest.approx(expected["b"], rel=0.005)
    for k, value in expected["model_fail_at"].items():
        if int(k) in beta.fail_at_k:
            assert beta.fail_at_k[int(k)] == pytest.approx(value, rel=0.002)
    floor = found.fits.zero_inflated_beta_binomial
    reference = want["zero_inflated_beta_binomial"]
    assert floor.neg_log_lik <= reference["neg_log_lik"] + 1e-3
    scaled, reference = found.fits.scaled_beta_binomial, want["scaled_beta_binomial"]
    assert scaled.neg_log_lik <= reference["neg_log_lik"] + 0.05
    for k, value in reference["model_fail_at"].items():
        if int(k) in scaled.fail_at_k:
            assert scaled.fail_at_k[int(k)] == pytest.approx(value, rel=0.01)
    verdicts = dict(zip(SETS, (False, None, None), strict=True))
    assert found.power_law.supported is verdicts[name]


@pytest.mark.slow
def test_results_are_written_whole_and_kept_while_the_counts_stay(tmp_path):
    document, fresh = fit_counts(with_tokens(beta_counts()), tmp_path, CONTEXT, replicates=100)
    assert fresh
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    tables = {"counts.parquet", "curve.parquet", "fit.json", "report.html", "report.md"}
    figures = ("pass_at_k", "fail_at_k", "slope", "difficulty", "consistency", "coverage_by_tokens")
    assert names == tables | {f"figures/{f}.{s}" for f in figures for s in ("svg", "png", "pdf")}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again, fresh = fit_counts(with_tokens(beta_counts()), tmp_path, CONTEXT, replicates=100)
    assert not fresh
    assert again == document
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    _, fresh = fit_counts(beta_counts(n=61), tmp_path, CONTEXT, replicates=100)
    assert fresh
    judge = JudgeFacts("python_tests", 1, {"timeout": 3.0})
    context = dataclasses.replace(CONTEXT, judge=judge)
    _, fresh = fit_counts(beta_counts(n=61), tmp_path, context, replicates=100)
    assert fresh


@pytest.fixture(scope="module")
def whole():
    """A document with every part: a run, a judge, a rule, all of HumanEval."""
    context = FitContext(
        title="all of it",
        planned=9,
        sampled=9,
        evaluated=9,
        tokens=1200,
        full_humaneval=True,
        sampling=SAMPLING,
        judge=JudgeFacts("python_tests", 2, {"timeout": 3.5, "libraries": "numpy"}),
        roof=RunRoof(30_164.0, 0.64, 256, 400.0, ("H100",)),
    )
    rule = StoppingRule(2, (3, 6, 9))
    counts = pl.DataFrame({"task_id": ["a", "b", "c", "d"], "n": [3, 9, 9, 6], "c": [2, 1, 0, 3]})
    return fit_document(counts, context, rule, replicates=100, inputs="digest"), counts


def test_a_document_is_read_as_it_was_written(tmp_path, whole):
    document = dataclasses.replace(whole[0], slopes=(Slope(1, 10, -0.3, -0.4, -0.2),))
    write_fit(document, tmp_path)
    assert read_fit(tmp_path) == document
    found = json.loads((tmp_path / "fit.json").read_text())
    settings = {"timeout": 3.5, "libraries": "numpy"}
    assert found["judge"] == {"verifier": "python_tests", "version": 2, "settings": settings}
    assert found["stopping"] == {"r": 2, "looks": [3, 6, 9]}
    assert list(found["pass_at_k"]) == ["1", "2", "3", "5", "9"]
    assert found["se_fixed_set"]["9"] is None
    assert found["slopes"] == [{"from": 1, "to": 10, "estimate": -0.3, "lo": -0.4, "hi": -0.2}]
    assert found["overtakes"].keys() >= {"reference", "pass_at_1", "k", "lo", "hi"}
    assert found["overtakes"]["against"][-1].keys() == {"k", "difference", "lo", "hi"}


def test_nan_is_never_written(tmp_path, whole):
    document, _ = whole
    write_fit(document, tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_fit(dataclasses.replace(document, goodness_of_fit=float("nan")), tmp_path)
    assert read_fit(tmp_path) == document


def test_fit_json_of_version_0_1_0_is_read(tmp_path):
    (tmp_path / "fit.json").write_text(OLD.read_text())
    old, document = json.loads(OLD.read_text()), read_fit(tmp_path)
    assert document.judge is None
    assert (document.power_law.supported, document.power_law.tail_from) == (False, None)
    write_fit(document, tmp_path)
    found = json.loads((tmp_path / "fit.json").read_text())
    for key in ("power_law", "overtakes"):
        found[key] = {k: v for k, v in found[key].items() if k in old[key]} if old[key] else None
    assert found == old | LATER
    # Of a file of counts it had fewer keys.
    absent = ("planned", "sampled", "evaluated", "tokens", "full_humaneval", "chosen", "sampling")
    (tmp_path / "fit.json").write_text(json.dumps({k: old[k] for k in old if k not in absent}))
    document = read_fit(tmp_path)
    assert (document.planned, document.tokens, document.sampling) == (None, None, None)
    assert not document.full_humaneval


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[: len(text) // 2], "delimiter|Expecting|Unterminated"),
        (lambda _: "[1, 2]", r"the document is '\[1, 2\]'"),
        (lambda _: '{"accuracy": 0.5}', "the document lacks 'title'"),
        (lambda text: text.replace('"problems": 4', '"problems": "4"'), "problems is '4'"),
        (lambda text: text.replace('"r": 2', '"r": 0'), "stopping rule: r = 0"),
        (lambda text: text.replace('"lo": ', '"low": ', 1), "band.1 lacks 'lo'"),
        (lambda text: text.replace('"pass_at_k": {\n  "1"', '"pass_at_k": {\n  "x"'), "'x'"),
    ],
)
def test_a_damaged_document_is_said_in_one_line_with_a_remedy(tmp_path, damage, says):
    results = tmp_path / "run" / "results"
    results.mkdir(parents=True)
    text = OLD.read_text()
    assert damage(text) != text
    (results / "fit.json").write_text(damage(text))
    with pytest.raises(CorruptShard, match=says) as caught:
        read_fit(results)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{results / 'fit.json'}: cannot be read (")
    assert message.endswith(f": run `python jobs/fit.py {tmp_path / 'run'}`")


@pytest.mark.slow
def test_a_damaged_document_is_fitted_anew(tmp_path):
    document, _ = fit_counts(beta_counts(), tmp_path, CONTEXT, replicates=100)
    (tmp_path / "fit.json").write_text("{}")
    again, fresh = fit_counts(beta_counts(), tmp_path, CONTEXT, replicates=100)
    assert fresh
    assert again == read_fit(tmp_path) == document


def test_a_missing_document_is_said_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(UsageError, match=rf"missing: run `python jobs/fit.py {tmp_path}`"):
        read_fit(tmp_path / "results")


@pytest.mark.parametrize(
    ("n", "shown"),
    [([9, 9, 9, 9], "n = 9 (stopped at 2 passes"), ([9, 9, 9, 6], "n = 6 to 9 (stopped at 1 pass")],
)
def test_the_terminal_says_how_sampling_stopped(n, shown):
    """Where every problem went on to the cap all n are equal."""
    counts = pl.DataFrame({"task_id": ["a", "b", "c", "d"], "n": n, "c": [1, 0, 1, n[3] // 4]})
    rule = StoppingRule(2, (3, 6, 9)) if n[3] == 9 else StoppingRule(1, (3, 6, 9))
    document = fit_document(counts, CONTEXT, rule, replicates=100)
    assert f"{shown}), " in describe_fit(document, Path("out"))


@pytest.mark.slow
def test_the_report_needs_no_other_file_and_says_what_it_must(tmp_path):
    context = dataclasses.replace(CONTEXT, complete=False, evaluated=10, planned=20, chosen=True)
    document, _ = fit_counts(beta_counts(), tmp_path, context, replicates=100)
    html = (tmp_path / "report.html").read_text()
    assert html.count('src="data:image/svg+xml;base64,') == 5
    assert not re.search(r"""(src|srcset)=(?!"data:)|url\(|@import|<(script|link)\b""", html)
    markdown = (tmp_path / "report.md").read_text()
    for said in (
        "INCOMPLETE: 10 of 20",
        "were chosen",
        f"{document.unsolved} problems are unsolved",
        "Goodness of fit",
        "Likelihood-ratio test",
        "such problems",
        "these problems",
        "bracket",
        "as in the blog",
        "Unsolved: t/",
    ):
        assert said in markdown, said


@pytest.mark.slow
def test_what_was_measured_has_one_interval_wherever_it_stands():
    document = fit_document(beta_counts(n=50), CONTEXT, replicates=100)
    assert document.band.keys() == document.pass_at_k.keys()
    assert document.forecast.keys() >= document.band.keys() - {3}
    for k in document.band.keys() - {3}:
        ahead, band = document.forecast[k], document.band[k]
        assert (ahead.lo, ahead.hi) == pytest.approx((band.lo, band.hi))


def test_coverage_against_output_tokens(tmp_path, whole):
    """Four problems, two with 20 tokens a sample and two with 40: 30 on average."""
    _, counts = whole
    rule = StoppingRule(2, (3, 6, 9))
    document = fit_document(with_tokens(counts), CONTEXT, rule, replicates=100)
    found = document.output_tokens
    assert (found.a_sample, found.standard_error) == pytest.approx((30, np.sqrt(400 / 3) / 2))
    assert found.at_k == pytest.approx({k: 30 * k for k in document.pass_at_k})
    write_fit(document, tmp_path)
    assert read_fit(tmp_path) == document
    text = " ".join(str(block) for block in report_blocks(document, counts))
    assert f"['9', '270', '{100 * document.pass_at_k[9]:.1f} %']" in text
    assert "A sample has 30.0 output tokens, as a mean over problems (s.e. 5.8, such" in text


@pytest.mark.parametrize("tokens", [[60, None, 180, 240], [0, 0, 0, 0]])
def test_without_all_token_counts_there_is_no_curve_of_them(whole, tokens):
    _, counts = whole
    counts = counts.with_columns(pl.Series("tokens", tokens), samples=pl.col("n"))
    document = fit_document(counts, CONTEXT, StoppingRule(2, (3, 6, 9)), replicates=100)
    assert document.output_tokens is None
    text = " ".join(str(block) for block in report_blocks(document, counts))
    assert "Nobody knows how many output tokens" in text
    assert "coverage_by_tokens" not in text


def test_the_report_says_how_it_was_sampled_and_judged(whole):
    document, counts = whole
    text = " ".join(str(block) for block in report_blocks(document, counts))
    for said in (
        "a problem got no more samples once it had 2 passes",
        "This was checked after 3, 6, 9 samples",
        "['model', 'm/model'], ['backend', 'vllm'], ['prompt style', 'chat']",
        "['tokens', '1,200 out']",
        "['judge', 'python_tests, version 2']",
        "['time limit of an answer', '3.5 s'], ['libraries', 'numpy']",
        "['speed', '19,305 tokens/s a GPU, 64% of the roof of 30,164 (H100, 256 sequences, ",
    ):
        assert said in text, said
    assert "\nspeed: 19,305 tokens/s a GPU, 64% of the " in describe_fit(document, Path("out"))
    unknown = dataclasses.replace(document, roof=None)
    assert "speed" not in describe_fit(unknown, Path("out"))
    text = " ".join(str(block) for block in report_blocks(unknown, counts))
    assert "'speed'" not in text
    of_counts = dataclasses.replace(document, sampling=None, judge=None)
    text = " ".join(str(block) for block in report_blocks(of_counts, counts))
    assert "What was run" not in text


def suspect_counts():
    """Half of the passes of two problems are suspect."""
    c, suspect = [10, 20, 10, 0, 6], [0, 10, 5, 0, 0]
    return pl.DataFrame({"task_id": list("abcde"), "n": 20, "c": c, "suspect": suspect})


@pytest.mark.slow
def test_suspect_passes_count_and_the_headline_without_them_stands_beside(tmp_path):
    counts = suspect_counts()
    context = dataclasses.replace(CONTEXT, taxonomy=TAXONOMY)
    document, _ = fit_counts(counts, tmp_path, context, replicates=100)
    assert read_fit(tmp_path) == document
    plain = fit_document(counts.drop("suspect"), CONTEXT, replicates=100)
    assert document.pass_at_k == plain.pass_at_k
    assert plain.without_suspect is None
    strict = counts.with_columns(c=pl.col("c") - pl.col("suspect")).drop("suspect")
    without = fit_document(strict, CONTEXT, replicates=100).pass_at_k
    assert document.without_suspect == pytest.approx({k: without[k] for k in (1, 20)})
    said = describe_fit(document, tmp_path)
    assert "SUSPECT: 12 passes are suspect: frames 7, equality 6" in said
    assert f"without them: pass@1 {without[1]:.4f}, not {document.pass_at_k[1]:.4f}; " in said
    again, fresh = fit_counts(
        counts.with_columns(suspect=pl.Series([0, 10, 6, 0, 0])), tmp_path, context, replicates=100
    )
    assert fresh
    assert again.pass_at_k == document.pass_at_k
    assert again.without_suspect != document.without_suspect


def test_none_but_suspect_passes_under_a_rule_have_a_headline_up_to_their_samples():
    """Problem a stopped after 3 samples by suspect passes: k = 5 and 9 are not known of it."""
    counts = pl.DataFrame(
        {"task_id": ["a", "b", "c"], "n": [3, 9, 9], "c": [2, 1, 0], "suspect": [2, 0, 0]}
    )
    document = fit_document(counts, CONTEXT, StoppingRule(2, (3, 6, 9)), replicates=100)
    assert list(document.pass_at_k) == [1, 2, 3, 5, 9]
    assert document.without_suspect == pytest.approx({1: 1 / 27, 3: 1 / 9})


@pytest.mark.slow
def test_the_report_begins_with_suspect_passes(tmp_path):
    counts = suspect_counts()
    context = dataclasses.replace(CONTEXT, taxonomy=TAXONOMY)
    document, _ = fit_counts(counts, tmp_path, context, replicates=100)
    markdown = (tmp_path / "report.md").read_text()
    first = markdown.split("\n\n")[1]
    assert first.startswith("> **12 passes are suspect: frames 7, equality 6. ")
    assert "They are of these problems: b (8), d (4)." in first
    assert 'filter(pl.col("suspect").list.len() > 0)' in markdown.split("\n\n")[2]
    assert "python analysis/outcomes.py RUN --out outcomes.parquet" in markdown.split("\n\n")[2]
    assert document.without_suspect
    assert (
        f"counted as failures: pass@1 = {100 * document.without_suspect[1]:.1f} %, pass@20 = "
        in markdown
    )
    assert "No pass is suspect" not in markdown
    assert (tmp_path / "report.html").read_text().count('src="data:image/svg+xml;base64,') == 6


@pytest.mark.slow
def test_the_report_shows_the_kinds_of_failure_and_what_was_cut(tmp_path):
    taxonomy = dataclasses.replace(TAXONOMY, suspect_passes=0, suspect={}, suspect_problems={})
    context = dataclasses.replace(CONTEXT, taxonomy=taxonomy)
    fit_counts(beta_counts(), tmp_path, context, replicates=100)
    markdown = (tmp_path / "report.md").read_text()
    for said in (
        "| passed | 40 | 40.0 % | 0 |",
        "| syntax | 10 | 10.0 % | 7 |",
        "| NameError | 9 |",
        "| others | 1 |",
        "](figures/outcomes.png)",
        "No pass is suspect.",
    ):
        assert said in markdown, said
    assert "suspect passes" not in markdown
    assert (tmp_path / "figures" / "outcomes.svg").stat().st_size > 4000
    fit_counts(beta_counts(), tmp_path / "csv", CONTEXT, replicates=100)
    assert not (tmp_path / "csv" / "figures" / "outcomes.svg").exists()
    assert "What became of" not in (tmp_path / "csv" / "report.md").read_text()


def test_too_few_counts_cannot_tell_and_say_what_lacks():
    easy = pl.DataFrame({"task_id": ["a", "b", "c"], "n": 12, "c": [3, 6, 12]})
    document = fit_document(easy, CONTEXT, replicates=100)
    assert document.power_law.supported is None
    text = " ".join(str(b) for b in report_blocks(document, easy))
    assert "Power law, in the tail (k = 10 to 12): cannot tell." in text
    assert "k ends at 12: 0.1 decades from k = 10 on" in text
    assert "power law: cannot tell" in describe_fit(document, Path("out"))


def ragged_counts():
    """40 problems with 100 samples, and one with 7."""
    counts = beta_counts(problems=41, n=100)
    return counts.with_columns(
        n=pl.when(pl.col("task_id") == "t/3").then(7).otherwise("n"),
        c=pl.when(pl.col("task_id") == "t/3").then(2).otherwise("c"),
    )


@pytest.mark.slow
def test_larger_k_are_shown_of_the_problems_that_have_them(tmp_path):
    document, _ = fit_counts(ragged_counts(), tmp_path, CONTEXT, replicates=100)
    assert (document.k_max, document.short) == (7, {"t/3": 7})
    assert list(document.pass_at_k) == [1, 2, 3, 5, 7]
    others = fit_document(ragged_counts().filter(pl.col("n") == 100), CONTEXT, replicates=100)
    assert list(document.partial) == [10, 20, 50, 100]
    for k, point in document.partial.items():
        assert point.problems == 40
        assert point.pass_at_k == pytest.approx(others.pass_at_k[k])
        assert 0 < point.lo < point.pass_at_k < point.hi < 1
    markdown = (tmp_path / "report.md").read_text()
    assert "1 problem has under half of the median number of samples: t/3 (n = 7)" in markdown
    assert "pass@7 = " in markdown.split("##")[0]
    assert "| 100 * | " in markdown
    assert markdown.count(" | 40 |") == 4
    said = describe_fit(document, tmp_path)
    assert said.count("* of 40 problems") == 4
    assert "FEW SAMPLES, so that the curve ends at k = 7: t/3 (n = 7)\n" in said
    assert not others.short
    assert "FEW SAMPLES" not in describe_fit(others, tmp_path)
    assert read_fit(tmp_path) == document


@pytest.mark.slow
def test_the_reference_has_an_error_of_its_own():
    """148 of 164: Clopper-Pearson .8464 to .9431; the coverage of 90.9 % does not differ."""
    c = [40] * 141 + [1] * 8 + [0] * 15
    counts = pl.DataFrame({"task_id": [f"t/{i}" for i in range(164)], "n": 40, "c": c})
    context = dataclasses.replace(CONTEXT, full_humaneval=True)
    document = fit_document(counts, context, replicates=100)
    found = document.overtakes
    assert found
    assert found.pass_at_1_lo == pytest.approx(0.8464, abs=5e-4)
    assert found.pass_at_1_hi == pytest.approx(0.9431, abs=5e-4)
    last = found.against[-1]
    assert last.k == 40
    assert last.difference == pytest.approx(149 / 164 - 148 / 164)
    assert last.lo < 0 < last.hi
    assert not last.differs
    text = " ".join(str(b) for b in report_blocks(document, counts))
    assert "pass@40 = 90.9 % does not differ from GPT-4o, one try (90.2 %): +0.6 points" in text
    solved = counts.with_columns(c=pl.lit(40))
    document = fit_document(solved, context, replicates=100)
    text = " ".join(str(b) for b in report_blocks(document, solved))
    assert "pass@40 = 100.0 % is above GPT-4o, one try (90.2 %): +9.8 points" in text
    assert "It is above it from k = 1 on" in text


@pytest.mark.slow
@pytest.mark.parametrize("c", [[0, 0, 0], [8, 8, 8], [0, 8, 0], [1, 0, 0]])
def test_extreme_counts_have_finite_results(tmp_path, c):
    counts = pl.DataFrame({"task_id": ["a", "b", "c"], "n": 8, "c": c})
    document, _ = fit_counts(counts, tmp_path, CONTEXT, replicates=100)
    text = (tmp_path / "fit.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert read_fit(tmp_path) == document
    assert (tmp_path / "report.html").exists()
    markdown = (tmp_path / "report.md").read_text()
    assert ("tends to a slope" in markdown) is (len(set(c)) > 1)
    assert document.slopes == ()


def test_of_one_problem_no_law_is_said_and_it_is_one():
    counts = pl.DataFrame({"task_id": ["a"], "n": [100], "c": [3]})
    document = fit_document(counts, CONTEXT, replicates=100)
    text = " ".join(str(block) for block in report_blocks(document, counts))
    assert document.slopes == ()
    assert "tends to a slope" not in text
    assert "Of a single problem the counts say nothing" in text
    assert "1 problem, n = 100 samples: pass@1" in text
    assert "1 problem, n = 100, 0 unsolved" in describe_fit(document, Path("out"))
    assert "1 problems" not in text


@pytest.mark.slow
def test_one_sample_and_missing_problems_do_not_break_it(tmp_path):
    counts = pl.DataFrame({"task_id": ["a", "b", "c"], "n": [1, 1, 0], "c": [1, 0, 0]})
    document, _ = fit_counts(counts, tmp_path, CONTEXT, replicates=100)
    assert document.problems == 2
    assert "left out: c" in (tmp_path / "report.md").read_text()
    solved = counts.with_columns(c=pl.col("n"))
    fit_counts(solved, tmp_path, CONTEXT, replicates=100)
    assert "left out: c" in (tmp_path / "report.md").read_text()
    with pytest.raises(ToolkitError, match="no sample has a verdict"):
        fit_document(counts.with_columns(n=0, c=0), CONTEXT)


@pytest.mark.slow
def test_a_single_problem_has_no_error_between_problems(tmp_path):
    one = pl.DataFrame({"task_id": ["a"], "n": [6], "c": [2]})
    document, _ = fit_counts(one, tmp_path, CONTEXT, replicates=100)
    assert set(document.se_superpopulation.values()) == {None}
    assert read_fit(tmp_path) == document


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("problem_id,n\na,1\n", "needs the columns"),
        ("problem_id,n,c\na,5,6\n", "counts.csv:2: n = 5, c = 6"),
        ("problem_id,n,c\na,5,1\nb,x,1\n", "counts.csv:3: n = x"),
        ("task_id,n,c\na,5,1\na,5,2\n", "problem a has more than one row"),
    ],
)
def test_bad_counts_are_refused_by_file_line_and_column(tmp_path, text, says):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_counts_csv(path)
