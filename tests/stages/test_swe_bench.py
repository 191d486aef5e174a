"""SWE-bench's harness judges: from samples to predictions, from its reports to verdicts and fit.

The reports are built here in the form in which the harness writes them.
"""

import json
import signal

import pytest

from toolkit.commands import evaluate as command
from toolkit.config import Config, Engine, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.launch.accounting import Accounts
from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.launch.status import read_status
from toolkit.runs.damage import damaged_records
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.predictions import predictions
from toolkit.runs.run import open_run
from toolkit.runs.verdicts import read_verdicts
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.fit import fit_run, with_all_verdicts
from toolkit.stages.harness_reports import import_reports
from toolkit.stages.ingest import ingest
from toolkit.stages.predictions import SAMPLES_FILE, export_predictions
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.judges import judge_of_run

NAMES = ("a__b-1", "a__b-2", "c__d-7")
EMPTY_LISTS = {
    f"{name}_ids": []
    for name in ("completed", "incomplete", "empty_patch", "resolved", "unresolved", "error")
}


def patch(number):
    """A small patch; its last line is a context line that looks empty."""
    return f"--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-0\n+{number}\n \n"


def said(number):
    return f"I change one line.\n\n```diff\n{patch(number)}```\nThat is all."


COMPLETIONS = {
    "a__b-1": [said(1), said(2), "I do not know.", said(1)],
    "a__b-2": [said(3), f"<patch>\n{patch(3)}</patch>", said(4), said(5)],
    "c__d-7": ["none", "", "no", "```diff\nnothing\n```"],
}
"""Distinct patches: 2, 3 and none."""


@pytest.fixture
def stop():
    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)}
    yield StopRequest()
    for number, handler in before.items():
        signal.signal(number, handler)


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(tmp_path, stop):
    """Sampled by the replay backend."""
    rows = [{"instance_id": name, "problem_statement": "It fails."} for name in NAMES]
    replayed = ({"task_id": n, "completion": c} for n in NAMES for c in COMPLETIONS[n])
    config = Config(
        sampling=Sampling(backend="replay", model="org/Small Model-1B"),
        problem_set=ProblemSet(
            task="swe-bench-lite", problems=str(jsonl(tmp_path / "rows.jsonl", rows))
        ),
        quantity=Quantity(samples=4, slice_seeds=2),
        engine=Engine(replay_file=str(jsonl(tmp_path / "made.jsonl", replayed))),
    )
    plan = plan_launch(config, tmp_path, tmp_path / "run")
    made = freeze_launch(plan)
    assert run_sampling(made, tasks_of(plan)[0], config, stop)
    return open_run(made.path)


def export(run, folder):
    """The predictions by the name of their file: name -> instance -> patch."""
    evaluate_run(run, Evaluation(), workers=1)
    export_predictions(run, folder, judge_of_run(run))
    return {
        path.stem: {row["instance_id"]: row["model_patch"] for row in rows_of(path)}
        for path in sorted(folder.glob("*.jsonl"))
        if path.name != SAMPLES_FILE
    }


def report(folder, name, **lists):
    """The harness's report of a run."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.try1.json"
    document = {**EMPTY_LISTS, **{f"{k}_ids": v for k, v in lists.items()}, "schema_version": 2}
    path.write_text(json.dumps(document, indent=4))
    return path


def instance(folder, name, instance_id, text, resolved=None, log=""):
    """The harness's folder of one instance."""
    place = folder / "try1" / name / instance_id
    place.mkdir(parents=True)
    (place / "patch.diff").write_text(text)
    (place / "run_instance.log").write_text(log)
    if resolved is not None:
        failed = [] if resolved else ["test_a", "test_b"]
        tests = {
            "FAIL_TO_PASS": {"success": ["test_c"], "failure": failed},
            "FAIL_TO_FAIL": {"success": [], "failure": []},
        }
        told = {"patch_successfully_applied": True, "resolved": resolved, "tests_status": tests}
        (place / "report.json").write_text(json.dumps({instance_id: told}, indent=4))
    return place


def outcomes(run):
    found = sample_outcomes(run, judge_of_run(run))
    return {name: found.filter(task_id=name)["outcome"].to_list() for name in NAMES}


@pytest.mark.slow
def test_from_samples_to_the_fit(run, tmp_path):
    judge, folder = judge_of_run(run), tmp_path / "out"
    summary = evaluate_run(run, Evaluation(), workers=1)
    assert (summary.waiting, summary.judged, summary.complete) == (5, 0, False)
    assert "5 wait for the verdicts of SWE-bench's harness" in summary.line()
    with pytest.raises(
        ToolkitError, match="7 samples wait for the verdicts of SWE-bench's harness"
    ):
        fit_run(run, judge=judge)
    status = read_status(run, judge, Accounts())
    assert (status.waiting, status.evaluated, status.complete) == (7, 5, False)
    assert status.pass_at_k == {"1": 0, "4": 0}  # of c__d-7: its samples hold no patch
    assert "waiting    7 samples wait for the verdicts of SWE-bench's harness" in status.text()

    exported = export(run, folder)
    assert list(exported.values()) == [
        {"a__b-1": patch(1), "a__b-2": patch(3)},
        {"a__b-1": patch(2), "a__b-2": patch(4)},
        {"a__b-2": patch(5)},
    ]
    first, second, third = exported
    assert first.startswith("Small-Model-1B-000-")
    rows = rows_of(folder / f"{first}.jsonl")
    assert all(row.keys() == {"instance_id", "model_name_or_path", "model_patch"} for row in rows)
    assert {row["model_name_or_path"] for row in rows} == {first}
    samples = rows_of(folder / SAMPLES_FILE)
    assert [row["predictions"] for row in samples[:4]] == [first, second, None, first]
    assert [row["outcome"] for row in samples] == [
        None,
        None,
        "failed",
        *[None] * 5,
        *["failed"] * 4,
    ]

    # Half of the instances, then the rest, from a report of each kind.
    half = report(tmp_path / "reports", first, resolved=["a__b-1"], incomplete=["a__b-2", "c__d-7"])
    assert import_reports(run, [half], judge).outcomes == {"passed": 1}
    assert outcomes(run)["a__b-1"] == ["passed", None, "failed", "passed"]
    counts = with_all_verdicts(run, judge, count_outcomes(run, judge), "it")
    assert counts["n"].to_list() == [0, 0, 4]
    again = export(run, tmp_path / "again")
    assert sum(map(len, again.values())) == 4
    instance(tmp_path / "logs", first, "a__b-2", patch(3), resolved=False)
    instance(tmp_path / "logs", second, "a__b-1", patch(2), resolved=False)
    instance(tmp_path / "logs", second, "a__b-2", patch(4), resolved=True)
    instance(tmp_path / "logs", "another-model", "a__b-2", "x", resolved=True)
    instance(tmp_path / "logs", third, "a__b-2", patch(5), log=">>>>> Patch Apply Failed:\nno")
    whole = report(tmp_path / "reports", third, error=["a__b-2"])
    found = import_reports(run, [whole, tmp_path / "logs"], judge)
    assert found.outcomes == {"failed": 3, "passed": 1}
    assert outcomes(run) == {
        "a__b-1": ["passed", "failed", "failed", "passed"],
        "a__b-2": ["failed", "failed", "passed", "failed"],
        "c__d-7": ["failed"] * 4,
    }
    details = set(sample_outcomes(run, judge)["detail"])
    assert {"not resolved; 2 of 3 FAIL_TO_PASS fail", "the patch does not apply"} <= details
    assert evaluate_run(run, Evaluation(), workers=1).complete
    fitted = fit_run(run, judge=judge, replicates=100)
    assert fitted.complete
    assert fitted.pass_at_k[1] == pytest.approx((2 / 4 + 1 / 4 + 0) / 3)
    status = read_status(run, judge, Accounts())
    assert (status.waiting, status.complete) == (0, True)
    assert not list(damaged_records(run))


def test_importing_twice_changes_nothing(run, tmp_path):
    judge, (first, *_) = judge_of_run(run), export(run, tmp_path / "out")
    path = report(tmp_path / "reports", first, resolved=["a__b-1"], unresolved=["a__b-2"])
    assert import_reports(run, [path], judge).line() == "imported 2 verdicts: 1 failed, 1 passed"
    before = {p: p.read_bytes() for p in run.verdicts_dir.iterdir()}
    assert import_reports(run, [path, path], judge).line() == "imported 0 verdicts; 2 known before"
    assert {p: p.read_bytes() for p in run.verdicts_dir.iterdir()} == before
    # A harness that says something else later is told of, and the first word stays.
    path = report(tmp_path / "reports", first, resolved=["a__b-1", "a__b-2"])
    found = import_reports(run, [path], judge)
    assert (found.known, found.differing) == (2, 1)
    assert outcomes(run)["a__b-2"][0] == "failed"


def test_an_error_of_the_harness_is_no_failure_and_gives_way_to_a_verdict(run, tmp_path):
    judge, (first, *_) = judge_of_run(run), export(run, tmp_path / "out")
    path = report(tmp_path / "reports", first, error=["a__b-1"], unresolved=["a__b-2"])
    document = json.loads(path.read_text()) | {"infra_failure_ids": ["a__b-2"]}
    path.write_text(json.dumps(document))
    failed = instance(tmp_path / "infra", first, "a__b-2", patch(3), resolved=False)
    assert import_reports(run, [path, failed / "report.json"], judge).outcomes == {"error": 2}
    assert read_verdicts(run, judge)["outcome"].to_list() == ["error", "error"]
    assert evaluate_run(run, Evaluation(), workers=1).waiting == 5
    assert first in export(run, tmp_path / "again")
    instance(tmp_path / "logs", first, "a__b-1", patch(1), log="Test timed out after 9 seconds.")
    instance(tmp_path / "logs", first, "a__b-2", patch(3), log="Error: no such container")
    assert import_reports(run, [tmp_path / "logs"], judge).outcomes == {"timed_out": 1}
    assert (
        import_reports(run, [path], judge).line() == "imported 1 verdict: 1 error; 1 known before"
    )
    assert outcomes(run)["a__b-1"][0] == "timed_out"


def refusals(tmp_path, first, second):
    """(paths, what is said of them)."""
    reports = tmp_path / "reports"
    known = report(reports, first, resolved=["a__b-1"])
    (tmp_path / "report.json").write_text("{}")
    for name, text in (("list", "[]"), ("text", "resolved"), ("other", '{"resolved_ids": 3}')):
        (reports / f"{first}.{name}.json").write_text(text)
    wrong = instance(tmp_path / "wrong", first, "a__b-1", patch(9), resolved=True)
    other = instance(tmp_path / "other", first, "a__b-1", patch(1), resolved=False)
    silent = instance(tmp_path / "silent", second, "a__b-1", patch(2))
    (silent / "report.json").write_text('{"a__b-1": {"resolved": "yes"}}')
    (tmp_path / "none").mkdir()
    return [
        ([tmp_path / "no.json"], "no such file or directory"),
        ([tmp_path / "none"], "holds no report of predictions that this run has exported"),
        ([report(reports, "gpt-4", resolved=["a__b-1"])], "has exported no predictions 'gpt-4'"),
        ([tmp_path / "report.json"], "this run has exported no predictions"),
        ([report(reports, second, resolved=["c__d-7"])], "c__d-7 is not among the predictions"),
        (
            [report(tmp_path / "more", second, unresolved=["x__y-1"])],
            "x__y-1 is not among the predictions",
        ),
        ([reports / f"{first}.list.json"], "not a JSON object"),
        ([reports / f"{first}.text.json"], "not JSON"),
        ([reports / f"{first}.other.json"], "it has no list 'resolved_ids'"),
        ([wrong / "report.json"], "is not the patch that this run has exported"),
        ([known, other / "report.json"], "a__b-1 has failed, but"),
        ([silent / "report.json"], "does not say whether a__b-1 is resolved"),
    ]


def test_what_is_no_report_of_this_run_s_patches_is_refused_whole(run, tmp_path):
    judge, (first, second, *_) = judge_of_run(run), export(run, tmp_path / "out")
    good = tmp_path / "good"
    instance(good, first, "a__b-2", patch(3), resolved=True)
    for paths, says in refusals(tmp_path, first, second):
        with pytest.raises(UsageError, match=says) as refused:
            import_reports(run, [good, *paths], judge)
        assert "\n" not in str(refused.value)
        assert not list(run.verdicts_dir.glob("*")), says


def test_the_same_patches_are_exported_to_the_same_files(run, tmp_path):
    first, again = (export(run, tmp_path / name) for name in ("one", "two"))
    assert first == again
    assert set(predictions(run)) == set(first)
    record = run.predictions_dir / f"{next(iter(first))}.parquet"
    record.write_bytes(b"damaged")
    (damage,) = damaged_records(run)
    assert "--export-predictions DIR` makes it anew" in str(damage)
    with pytest.raises(CorruptShard):
        import_reports(run, [tmp_path], judge_of_run(run))
    record.unlink()
    export(run, tmp_path / "three")
    assert set(predictions(run)) == set(first)


def test_the_job_exports_and_imports(run, tmp_path, monkeypatch, capsys):
    def evaluate(*flags):
        monkeypatch.setattr("sys.argv", ["evaluate.py", str(run.path), *map(str, flags)])
        return command.main(), capsys.readouterr().out

    status, said_then = evaluate()
    assert status == 1
    assert "5 wait for the verdicts of SWE-bench's harness" in said_then
    assert f"next: `python jobs/evaluate.py {run.path} --export-predictions DIR`" in said_then
    status, told = evaluate("--export-predictions", tmp_path / "out")
    assert status == 1
    assert f"{tmp_path / 'out'}: 5 predictions in 3 files" in told
    lists = {n: sorted(a) for n, a in predictions(run).items()}
    paths = [report(tmp_path / "reports", n, resolved=ids) for n, ids in lists.items()]
    status, told = evaluate("--import-report", *paths)
    assert status == 0
    assert "imported 5 verdicts: 5 passed" in told
    status, told = evaluate("--export-predictions", tmp_path / "none")
    assert status == 0
    assert "0 predictions in 0 files" in told
    assert count_outcomes(run, judge_of_run(run))["c"].to_list() == [3, 4, 0]
    assert not (run.results_dir / "fit.json").exists()
    with pytest.raises(UsageError, match="no time limit"):
        evaluate("--export-predictions", tmp_path / "out", "--timeout", "3")


def test_other_runs_are_judged_here(tmp_path):
    problems = jsonl(tmp_path / "p.jsonl", [{"question": "1+1?", "answer": "#### 2"}])
    made = jsonl(tmp_path / "made.jsonl", [{"task_id": "gsm8k/0", "completion": "2"}])
    run = ingest(made, tmp_path / "run", task="gsm8k", problems_source=str(problems))
    for refused in (
        lambda: export_predictions(run, tmp_path / "out", judge_of_run(run)),
        lambda: import_reports(run, [tmp_path], judge_of_run(run)),
    ):
        with pytest.raises(UsageError, match="are judged here, by number; leave the flag out"):
            refused()
    assert not (tmp_path / "out").exists()


def test_predictions_of_many_samples_are_made_in_several_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.stages.predictions.FILES_AT_ONCE", 2)
    rows = [{"instance_id": name, "problem_statement": "It fails."} for name in NAMES]
    problems = jsonl(tmp_path / "rows.jsonl", rows)
    made = [{"task_id": n, "completion": said(k)} for n in NAMES[:2] for k in range(7)]
    run = ingest(
        jsonl(tmp_path / "made.jsonl", made),
        tmp_path / "run",
        task="swe-bench-lite",
        problems_source=str(problems),
    )
    exported = export(run, tmp_path / "out")
    assert [set(found.values()) for found in exported.values()] == [{patch(k)} for k in range(7)]
