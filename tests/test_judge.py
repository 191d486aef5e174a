"""The run answers for its judge: whatever comes after a launch judges as the launch did."""

import json
import re
import shutil
import subprocess
import sys

import polars as pl
import pytest
from run_here import here, job
from run_jobs import ROOT, SMOKE, files, samples

from toolkit.config import Config, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.errors import UsageError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import Judge, JudgeChoice, Verdict
from toolkit.resolve import resolve
from toolkit.runs.answers import map_path, write_map
from toolkit.runs.history import recorded_config
from toolkit.runs.judge import judge_choice, record_judge
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.run import open_run
from toolkit.runs.shards import read_shard
from toolkit.runs.summary import read_summary
from toolkit.runs.verdicts import read_verdicts, write_verdicts
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers import judges
from toolkit.verifiers.judges import choice_of, judge_of, judge_of_run, library_names

FEW = ("--replicates", "100")
OLD = ROOT / "tests" / "data" / "runs-0.1.0"
CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=2),
    quantity=Quantity(samples=6, slice_samples=6),
)


@pytest.fixture
def run(tmp_path):
    plan = plan_launch(CONFIG, tmp_path)
    made = freeze_launch(plan)
    run_sampling(made, [s.name for s in plan.missing], CONFIG, StopRequest())
    return made


def assert_all_agree(folder, seconds, n):
    """status, evaluate, fit and outcomes, without a flag, go by this time limit."""
    run = folder / "run"
    before = files(run / "verdicts")
    status = here("status", run, "--json")
    assert status.code == 0, status.all()
    said = json.loads(status.out)
    assert said["evaluated"] == n
    assert said["judge"].endswith(f"timeout {seconds}, libraries numpy")
    again = here("evaluate", run)
    assert again.code == 0, again.all()
    assert "; 0 judged in" in again.out
    fit = here("fit", run, *FEW)
    assert fit.code == 0, fit.all()
    document = json.loads((run / "results" / "fit.json").read_text())
    assert document["judge"]["settings"] == {"timeout": seconds, "libraries": "numpy"}
    assert document["judge"]["verifier"] == "python_tests"
    assert f"{seconds:g} s" in (run / "results" / "report.md").read_text()
    command = [sys.executable, ROOT / "analysis" / "outcomes.py", "run", "--out", "o.parquet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert pl.read_parquet(folder / "o.parquet")["outcome"].null_count() == 0
    assert files(run / "verdicts") == before


@pytest.mark.slow
def test_a_time_limit_of_the_launch_is_the_run_s(tmp_path):
    done = job("launch.py", *SMOKE, "--timeout", "5", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_all_agree(tmp_path, 5.0, 8)
    resumed = job("launch.py", "--resume", "--run", "run", *FEW, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_all_agree(tmp_path, 5.0, 8)


@pytest.mark.slow
def test_a_time_limit_of_the_site_file_is_the_run_s_also_without_the_file(tmp_path, monkeypatch):
    site = tmp_path / "site" / "inference-scaling" / "site.toml"
    site.parent.mkdir(parents=True)
    site.write_text("[evaluation]\ntimeout = 4\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "site"))
    done = job("launch.py", *SMOKE, "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_all_agree(tmp_path, 4.0, 8)
    site.write_text("[evaluation]\ntimeout = 7\n")
    assert_all_agree(tmp_path, 4.0, 8)
    again = job("launch.py", *SMOKE, "--run", "run", cwd=tmp_path)  # 7 s are for new runs
    assert again.returncode == 0, again.stderr
    assert_all_agree(tmp_path, 4.0, 8)


@pytest.mark.slow
def test_a_later_launch_may_name_another_time_limit(tmp_path):
    assert job("launch.py", *SMOKE, "--run", "run", cwd=tmp_path).returncode == 0
    first = files(tmp_path / "run" / "verdicts")
    again = job("launch.py", *SMOKE, "--run", "run", "--timeout", "2.5", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_all_agree(tmp_path, 2.5, 8)
    assert files(tmp_path / "run" / "verdicts").items() > first.items()
    # The verdicts of the first judge are still there to be asked for.
    status = job("status.py", "run", "--json", "--timeout", "3", cwd=tmp_path)
    assert json.loads(status.stdout)["evaluated"] == 8
    assert job("fit.py", "run", "--timeout", "3", cwd=tmp_path).returncode == 0
    plan = job("plan.py", "--pilot", "run", "--samples", "9", cwd=tmp_path)
    assert plan.returncode == 2
    assert (
        "fitted from verdicts of python_tests, version 2, timeout 3.0, libraries numpy; the run's"
        in plan.stderr
    )
    assert job("fit.py", "run", cwd=tmp_path).returncode == 0  # the remedy
    plan = job("plan.py", "--pilot", "run", "--samples", "9", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr


def test_a_judge_is_its_verifier_version_and_settings_off_their_default():
    usual = judge_of(choice_of("python_tests", None))
    assert usual == judge_of(choice_of("python_tests", 3.0))
    assert usual.choice.settings == ()
    assert usual == judge_of(choice_of("python_tests", libraries="numpy"))
    assert usual.settings == {"timeout": 3.0, "libraries": "numpy"}
    others = [
        judge_of(choice_of("python_tests", libraries="numpy,pandas")),
        judge_of(choice_of("python_tests", 4.0)),
        Judge(usual.choice, usual.version + 1, usual.defaults),
        Judge(JudgeChoice("another"), usual.version),
    ]
    assert len({usual.digest, *(other.digest for other in others)}) == 5
    # A setting that comes later, at its default, makes no other judge.
    later = JudgeChoice.of("python_tests", {"timeout": 3.0, "new": 1}, {"timeout": 3.0, "new": 1})
    assert Judge(later, usual.version).digest == usual.digest


def outdated_samples(run, judge):
    return read_summary(run, judge, run.slices()).outcomes.outdated


def test_verdicts_of_an_older_version_stay_and_are_reached_again(run, monkeypatch):
    evaluate_run(run, Evaluation(), workers=1)
    old = judge_of_run(run)
    assert outdated_samples(run, old) == 0
    before = files(run.verdicts_dir)
    kind = judges.KINDS["python_tests"]
    newer = judges.Kind(version=kind.version + 1, defaults=kind.defaults)
    monkeypatch.setattr(judges, "KINDS", {"python_tests": newer})
    new = judge_of_run(run)
    assert count_outcomes(run, new)["n"].sum() == 0
    assert outdated_samples(run, new) == 12
    summary = evaluate_run(run, Evaluation(), workers=1)
    assert summary.judged == summary.distinct > 0
    assert outdated_samples(run, new) == 0
    assert count_outcomes(run, new)["n"].sum() == 12
    assert files(run.verdicts_dir).items() > before.items()
    assert read_verdicts(run, old).height == read_verdicts(run, new).height


@pytest.mark.slow
def test_a_run_of_a_newer_toolkit_is_refused_in_one_line(run):
    manifest = json.loads((run.path / "manifest.json").read_text())
    for judge, says in (
        ({"verifier": "oracle", "settings": {}}, "there is no verifier 'oracle'"),
        ({"verifier": "python_tests", "settings": {"mood": 1}}, "has no setting 'mood'"),
    ):
        (run.path / "manifest.json").write_text(json.dumps(manifest | {"judge": judge}))
        done = job("status.py", run.path, cwd=run.path)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_sample_without_an_answer_has_failed(run):
    evaluate_run(run, Evaluation(), workers=1)
    judge = judge_of_run(run)
    (only,) = (s for s in run.slices() if s.name == "r000-s0000")
    answers = pl.read_parquet(map_path(run, only.name))
    task_id, seed = answers.select("task_id", "seed").row(0)
    gone = (pl.col("task_id") == task_id) & (pl.col("seed") == seed)
    nothing = pl.when(~gone).then("answer").alias("answer")
    write_map(run, only.name, read_shard(run, only).hstack(answers.select(nothing)), "2")
    row = sample_outcomes(run, judge).filter(gone).row(0, named=True)
    assert (row["outcome"], row["passed"], row["detail"]) == ("failed", False, "no answer")
    assert count_outcomes(run, judge)["n"].sum() == 12
    assert count_outcomes(run, judge)["unjudged"].sum() == 0


def old_run(name, folder):
    shutil.copytree(OLD / name, folder / "run")
    return open_run(folder / "run")


def judge_of_version_1(timeout):
    """The one that decided what 0.1.0 wrote."""
    return Judge(choice_of("python_tests", timeout), 1, (("timeout", 3.0),))


def test_what_0_1_0_decided_is_of_version_1_under_its_time_limit(tmp_path):
    run = old_run("timeout-5", tmp_path)
    assert judge_choice(run) == JudgeChoice("python_tests", (("timeout", 5.0),))
    judge = judge_of_version_1(5.0)
    outcomes = sample_outcomes(run, judge)
    assert outcomes.height == 18
    assert outcomes["outcome"].null_count() == 0
    assert outcomes["kind"].unique().to_list() == [""]
    assert outcomes["suspect"].list.len().sum() == 0
    assert count_outcomes(run, judge)["c"].to_list() == [6, 2, 6]
    assert count_outcomes(run, judge_of_version_1(3.0))["n"].sum() == 0
    assert run.problems()[0].kind == "python_tests"
    assert run.isolation()  # recorded in the manifest then


def test_a_time_limit_that_32_bits_cannot_hold_is_found_again(tmp_path):
    run = old_run("timeout-5", tmp_path)
    for path in run.verdicts_dir.iterdir():
        frame = pl.read_parquet(path)
        odd = pl.lit(0.1).cast(pl.Float32).alias("timeout")
        frame.with_columns(odd).write_parquet(path)
    assert read_verdicts(run, judge_of_version_1(0.1)).height == 6


@pytest.mark.slow
def test_a_run_of_0_1_0_is_judged_again_and_fitted(tmp_path):
    run = old_run("timeout-5", tmp_path)
    before = files(run.verdicts_dir)
    status = job("status.py", "run", cwd=tmp_path)
    assert "outdated   18 samples were decided by an older version of the judge" in status.stdout
    fit = job("fit.py", "run", cwd=tmp_path)
    assert fit.returncode == 1
    assert "version 2, timeout 5.0, libraries numpy, but of: python_tests, version 1" in fit.stderr
    evaluated = job("evaluate.py", "run", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "6 distinct answers; 6 judged" in evaluated.stdout
    assert_all_agree(tmp_path, 5.0, 18)
    assert files(run.verdicts_dir).items() > before.items()
    assert count_outcomes(run, judge_of_run(run))["c"].to_list() == [6, 2, 6]


def test_a_half_judged_run_counts_the_verdicts_of_one_version_only(run):
    """As after a kill of the first evaluation by a newer version."""
    evaluate_run(run, Evaluation(), workers=1)
    judge = judge_of_run(run)
    old = Judge(judge.choice, judge.version - 1, judge.defaults)
    verdicts = read_verdicts(run, judge)
    for path in run.verdicts_dir.iterdir():
        frame = pl.read_parquet(path).with_columns(judge=pl.lit(old.digest, pl.UInt64))
        without = frame.drop("kind", "suspect", "canonical")  # the columns of that version
        without.write_parquet(path, metadata=pl.read_parquet_metadata(path))
    first = verdicts.filter(pl.col("outcome") == "passed").row(0, named=True)
    flipped = "failed"
    new = Verdict(first["task_id"], first["answer"], flipped, "exit", "it ended", (), 0.1)
    write_verdicts(run, [new], judge)
    assert read_verdicts(run, judge)["outcome"].to_list() == [flipped]
    assert read_verdicts(run, old).height == verdicts.height
    key = (pl.col("task_id") == first["task_id"]) & (pl.col("answer") == first["answer"])
    of_this_answer = sample_outcomes(run, judge).filter(key)
    assert count_outcomes(run, judge)["n"].sum() == of_this_answer.height
    assert set(of_this_answer["outcome"]) == {flipped}
    assert outdated_samples(run, judge) == 12 - of_this_answer.height
    assert evaluate_run(run, Evaluation(), workers=1).judged == verdicts.height - 1


@pytest.mark.slow
def test_a_run_of_0_1_0_is_resumed_and_extended(tmp_path):
    run = old_run("timeout-5", tmp_path)
    whole = samples(run.path)
    shard = next(run.samples_dir.glob("*.parquet"))
    shard.unlink()
    resumed = job("launch.py", "--resume", "--run", "run", *FEW, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert samples(run.path).equals(whole)
    more = ("--preset", "smoke", "--launcher", "inline", "--limit", "3", "--samples", "8")
    extended = job("launch.py", *more, "--run", "run", cwd=tmp_path)
    assert extended.returncode == 0, extended.stderr
    assert samples(run.path).filter(pl.col("seed") < 6).equals(whole)
    assert samples(run.path).height == 24
    assert_all_agree(tmp_path, 5.0, 24)


@pytest.mark.slow
def test_an_adaptive_run_of_0_1_0_goes_on(tmp_path):
    run = old_run("adaptive", tmp_path)
    flags = ("--adaptive", "--stop-r", "2", "--stop-min", "4", "--stop-cap", "16")
    base = ("--preset", "smoke", "--launcher", "inline", "--limit", "4")
    done = job("launch.py", *base, *flags, "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rule = run.stopping_rule()
    assert rule is not None
    assert rule.cap == 16
    assert job("status.py", "run", cwd=tmp_path).returncode == 0


def test_a_decided_verdict_of_another_judge_is_none_of_this_one(run):
    evaluate_run(run, Evaluation(), workers=1)
    usual, patient = judge_of_run(run), judge_of_run(run, 9.0)
    task_id, answer = read_verdicts(run, usual).select("task_id", "answer").row(0)
    slow = Verdict(task_id, answer, "timed_out", "time", "timed out", (), 9.0)
    write_verdicts(run, [slow], patient)
    assert read_verdicts(run, patient)["outcome"].to_list() == ["timed_out"]
    assert "timed_out" not in read_verdicts(run, usual)["outcome"].to_list()


@pytest.mark.slow
def test_fit_names_the_judges_whose_verdicts_there_are(tmp_path):
    old_run("timeout-5", tmp_path)
    done = job("fit.py", "run", "--timeout", "2", cwd=tmp_path)
    assert done.returncode == 1
    assert "version 2, timeout 2.0, libraries numpy, but of: " in done.stderr
    assert "python_tests, version 1, timeout 5.0: evaluate again, or take" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["status.py", "fit.py", "evaluate.py"])
def test_a_time_limit_that_is_none_is_refused(name, tmp_path):
    old_run("timeout-5", tmp_path)
    before = files(tmp_path)
    done = job(name, "run", "--timeout", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--timeout 0.0: must be over 0" in done.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("libraries", "says"),
    [
        ("numpy,2d", "'2d' is no name of a library"),
        ("none,numpy", "'none' is no name of a library"),
        ("numpy;pandas", "'numpy;pandas' is no name"),
        ("scipy.stats", "'scipy.stats' is no name"),
        ("import", "'import' is no name"),
        ("", "'' is no name"),
        ("json", "json is of the standard library"),
    ],
)
def test_libraries_that_cannot_be_are_refused(libraries, says):
    with pytest.raises(UsageError, match=re.escape(f"--libraries {libraries}: {says}")):
        choice_of("python_tests", libraries=libraries)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["status.py", "fit.py", "evaluate.py"])
def test_refused_libraries_are_one_line_and_nothing_is_changed(name, tmp_path):
    old_run("timeout-5", tmp_path)
    before = files(tmp_path)
    done = job(name, "run", "--libraries", "numpy;pandas", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: --libraries numpy;pandas: 'numpy;pandas' is no name")
    assert len(done.stderr.splitlines()) == 1
    assert files(tmp_path) == before


def test_libraries_are_one_setting_however_they_are_written():
    wanted = judge_of(choice_of("python_tests", libraries="numpy,pandas"))
    for text in ("pandas,numpy", " numpy, pandas,pandas", "numpy,pandas"):
        assert judge_of(choice_of("python_tests", libraries=text)) == wanted
    assert wanted.line() == "python_tests, version 2, timeout 3.0, libraries numpy,pandas"
    assert library_names(wanted.settings["libraries"]) == ("numpy", "pandas")
    alone = choice_of("python_tests", libraries="none")
    assert dict(alone.settings) == {"libraries": "none"}
    assert library_names(judge_of(alone).settings["libraries"]) == ()


def test_a_library_that_is_not_installed_is_refused_before_anything_is_judged(run):
    record_judge(run, choice_of("python_tests", libraries="numpy,no_such_library"))
    done = job("evaluate.py", run.path, cwd=run.path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "--libraries: not installed on this node: no_such_library; install them beside the "
        "toolkit, or choose other libraries"
    )
    assert not list(run.verdicts_dir.iterdir())


@pytest.mark.slow
def test_libraries_of_the_launch_are_the_run_s_and_others_stand_beside(tmp_path):
    done = job("launch.py", *SMOKE, "--libraries", "numpy,scipy", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "libraries numpy,scipy" in done.stdout
    run = open_run(tmp_path / "run")
    assert judge_choice(run) == JudgeChoice("python_tests", (("libraries", "numpy,scipy"),))
    assert recorded_config(run)["evaluation"]["libraries"] == "numpy,scipy"
    resumed = job("launch.py", "--resume", "--run", "run", *FEW, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert judge_of_run(run).settings["libraries"] == "numpy,scipy"
    before = files(run.verdicts_dir)
    for command in ("evaluate.py", "status.py", "fit.py"):
        other = job(command, "run", "--libraries", "none", cwd=tmp_path)
        assert other.returncode == 0, other.stderr
    assert json.loads((run.results_dir / "fit.json").read_text())["judge"]["settings"] == {
        "timeout": 3.0,
        "libraries": "none",
    }
    assert "| libraries | none |" in (run.results_dir / "report.md").read_text()
    assert files(run.verdicts_dir).items() > before.items()
    assert judge_of_run(run).settings["libraries"] == "numpy,scipy"
    again = job("launch.py", *SMOKE, "--libraries", "none", "--run", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert judge_of_run(run).settings["libraries"] == "none"


def test_libraries_come_from_a_flag_a_preset_or_the_site_file_in_this_order(tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text('[evaluation]\nlibraries = "numpy,scipy"\n')
    site = {"evaluation": {"libraries": "scipy"}}
    flags = {"backend": "synthetic", "limit": 2}
    for config, says in (
        (resolve(flags | {"libraries": "none"}, preset, site), "none"),
        (resolve(flags, preset, site), "numpy,scipy"),
        (resolve(flags, base=site), "scipy"),
        (resolve(flags), "numpy"),
    ):
        assert plan_launch(config, tmp_path).judge.settings["libraries"] == says


@pytest.mark.slow
def test_ingested_samples_are_judged_as_their_ingestion_says(tmp_path):
    line = '{"task_id": "HumanEval/53", "completion": "    return x + y\\n"}\n'
    (tmp_path / "s.jsonl").write_text(line)
    flags = ("s.jsonl", "--run", "run", "--timeout", "6", "--libraries", "numpy")
    assert job("ingest.py", *flags, cwd=tmp_path).returncode == 0
    assert job("evaluate.py", "run", cwd=tmp_path).returncode == 0
    assert_all_agree(tmp_path, 6.0, 1)


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_map_is_a_cache_and_is_made_anew(run, left):
    evaluate_run(run, Evaluation(), workers=1)
    judge = judge_of_run(run)
    path = map_path(run, "r000-s0000")
    path.write_bytes(path.read_bytes()[:left])
    assert count_outcomes(run, judge)["n"].sum() == 6  # of the other slice
    summary = evaluate_run(run, Evaluation(), workers=1)
    assert summary.complete
    assert summary.judged == 0
    assert count_outcomes(run, judge)["n"].sum() == 12
