"""Samples with their verdicts: kinds, suspicions, counts by the rule, the taxonomy."""

import polars as pl
import pytest

from toolkit.problems.humaneval import python_problem
from toolkit.records import FAILURE_KINDS, Sample, SeedRange, Slice, Verdict
from toolkit.runs.answers import write_map
from toolkit.runs.outcomes import COUNT_COLUMNS, count_outcomes, sample_outcomes
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import create_or_open
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import read_shard, write_shard
from toolkit.runs.taxonomy import read_taxonomy
from toolkit.runs.verdicts import write_verdicts
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.judges import choice_of, judge_of

JUDGE = judge_of(choice_of("python_tests"))
WHOLE = Slice("r000-s0000", (SeedRange("a", 0, 6), SeedRange("b", 0, 6)))
VERDICTS = {
    1: Verdict("a", 1, "passed", "", "", (), 0.1),
    2: Verdict("a", 2, "passed", "", "", ("frames",), 0.1),
    3: Verdict("a", 3, "failed", "exception", "ValueError: no", (), 0.1),
    4: Verdict("b", 4, "failed", "exception", "MyError", (), 0.1),
    5: Verdict("b", 5, "failed", "wrong_answer", "test line 2: assert x", (), 0.1),
    6: Verdict("b", 6, "passed", "", "", ("frames", "equality"), 0.1),
    7: Verdict("b", 7, "failed", "", "an older verifier does not tell", (), 0.1),
}
ANSWERS = {"a": [2, 2, 1, 3, 2, 1], "b": [4, 5, None, 7, 6, 9]}
"""Which answer each sample gives. Answer 9 has no verdict; the third sample of b has no answer."""


def make_run(folder, rule=None, tokens=2):
    problems = [python_problem(name, "def f():", "def check(f): pass", "f", "") for name in "abc"]
    run = create_or_open(folder / "run", {"model": "m"}, problems=problems)
    freeze_round(run.path, 0, [WHOLE], rule)
    samples = [
        Sample(task_id, seed, "x", tokens, "length" if seed >= 3 else "stop")
        for task_id, seed in WHOLE.sample_keys()
    ]
    write_shard(run, WHOLE, samples, ShardFacts())
    answers = pl.Series("answer", ANSWERS["a"] + ANSWERS["b"], dtype=pl.UInt64)
    write_map(run, WHOLE.name, read_shard(run, WHOLE).with_columns(answers), "2")
    write_verdicts(run, VERDICTS.values(), JUDGE)
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def test_each_sample_has_its_verdict_and_why_its_completion_ended(run):
    found = sample_outcomes(run, JUDGE)
    assert found.columns == [
        *("task_id", "seed", "answer", "outcome", "kind", "passed", "detail", "suspect"),
        *("canonical", "finish_reason"),
    ]
    rows = {(row["task_id"], row["seed"]): row for row in found.iter_rows(named=True)}
    assert found.height == len(rows) == 12
    assert rows["a", 0]["suspect"] == ["frames"]
    assert (rows["a", 2]["suspect"], rows["a", 2]["kind"]) == ([], "")
    assert rows["a", 3]["kind"] == "exception"
    assert [row["finish_reason"] for row in rows.values()] == 2 * (3 * ["stop"] + 3 * ["length"])
    nothing = rows["b", 2]
    assert (nothing["outcome"], nothing["kind"], nothing["passed"]) == (
        "failed",
        "no_answer",
        False,
    )
    assert (nothing["detail"], nothing["suspect"]) == ("no answer", [])
    unjudged = rows["b", 5]
    verdict = ("outcome", "kind", "passed", "detail", "suspect")
    assert {unjudged[name] for name in verdict} == {None}
    assert found.schema["kind"] == pl.Enum(FAILURE_KINDS)


def test_counts_tell_how_many_of_the_passes_are_suspect(run):
    found = count_outcomes(run, JUDGE)
    assert found.schema == COUNT_COLUMNS
    assert found.rows() == [
        ("a", 6, 5, 3, 3, 12, 0, 6),
        ("b", 5, 1, 1, 4, 12, 1, 6),
        ("c", 0, 0, 0, 0, 0, 0, 0),
    ]


def test_unknown_tokens_stay_unknown(tmp_path):
    """Of samples that were made elsewhere. A problem without samples has none."""
    run = make_run(tmp_path, tokens=None)
    assert count_outcomes(run, JUDGE)["tokens"].to_list() == [None, None, 0]
    assert read_shard(run, WHOLE)["n_tokens"].null_count() == 12


def test_under_a_rule_only_suspect_passes_up_to_the_look_count(tmp_path):
    """Problem a stops at its first look, with two passes that are suspect; b goes on."""
    run = make_run(tmp_path, StoppingRule(2, (2, 4, 6)))
    found = count_outcomes(run, JUDGE).select("task_id", "n", "c", "suspect").rows()
    assert found == [("a", 2, 2, 2), ("b", 4, 0, 0), ("c", 0, 0, 0)]


def test_a_run_without_samples_has_the_same_columns(tmp_path):
    problem = python_problem("a", "def f():", "def check(f): pass", "f", "")
    run = create_or_open(tmp_path / "run", {"model": "m"}, problems=[problem])
    assert count_outcomes(run, JUDGE).rows() == [("a", 0, 0, 0, 0, 0, 0, 0)]
    assert count_outcomes(run, JUDGE).schema == COUNT_COLUMNS


def test_the_taxonomy_counts_kinds_cuts_exceptions_and_suspicions(run):
    found = read_taxonomy(run, JUDGE)
    assert list(found.kinds.items()) == [
        ("passed", 6),
        ("exception", 2),
        ("failed", 1),
        ("no_answer", 1),
        ("wrong_answer", 1),
    ]
    assert found.samples == 11
    assert found.cut == {"passed": 3, "exception": 1, "failed": 1}
    assert found.exceptions == {"MyError": 1, "ValueError": 1}
    assert found.suspect_passes == 4
    assert found.suspect == {"frames": 4, "equality": 1}
    assert found.suspect_problems == {"a": 3, "b": 1}
    assert found.suspect_line() == "4 passes are suspect: frames 4, equality 1"


def test_the_taxonomy_of_another_judge_is_empty(run):
    found = read_taxonomy(run, judge_of(choice_of("python_tests", 9.0)))
    assert found.kinds == {"passed": 0, "no_answer": 1}
    assert (found.suspect_passes, found.suspect_line()) == (0, "")
