"""References of another task, frozen in a run: whose they are, and which are refused."""

import dataclasses

import pytest

from toolkit.errors import CorruptShard, UsageError
from toolkit.problems.humaneval import python_problem
from toolkit.records import JudgeChoice
from toolkit.runs.damage import damaged_records
from toolkit.runs.run import create_or_open
from toolkit.runs.second_judge import (
    REFERENCES,
    freeze_second_judge,
    second_judge,
    second_judges,
)
from toolkit.verifiers.judges import choice_of, judge_of, judge_of_run

PROMPT = "import math\n\ndef f(x):\n    '''Root.'''\n"
MOVED = "\ndef f(x):\n    import math\n    '''Root.'''\n"
OWN = choice_of("python_tests")


def problem(name, test="def check(f): pass", prompt=PROMPT):
    return python_problem(name, prompt, test, "f", "    return x\n")


STRONGER = [problem(name, "def check(f): assert f(4) == 2") for name in "cba"]


@pytest.fixture
def run(tmp_path):
    problems = [problem("a"), problem("b", prompt=MOVED)]
    return create_or_open(
        tmp_path / "run",
        {"model": "m"},
        problems=problems,
        judge={"verifier": "python_tests", "settings": {}},
    )


def test_the_references_of_the_runs_problems_are_frozen_in_their_order(run):
    frozen = freeze_second_judge(run, "plus+", STRONGER, OWN)
    assert second_judge(run, "plus+") == frozen
    assert second_judges(run) == ["plus+"]
    assert [p.task_id for p in frozen.problems] == ["a", "b"]
    assert [p.prompt for p in frozen.problems] == [PROMPT, MOVED]
    assert all("f(4)" in p.reference for p in frozen.problems)


def test_its_judge_is_another_one_than_the_runs(run):
    own = judge_of_run(run)
    freeze_second_judge(run, "plus", STRONGER, OWN)
    second = judge_of_run(run, name="plus")
    assert judge_of_run(run) == own
    assert second.digest != own.digest
    assert second.settings.keys() == own.settings.keys() | {REFERENCES}
    assert judge_of_run(run, 9.0, name="plus").settings["timeout"] == 9.0
    weaker = [dataclasses.replace(p, reference=problem("x").reference) for p in STRONGER]
    freeze_second_judge(run, "other", weaker, OWN)
    assert judge_of_run(run, name="other").digest not in (own.digest, second.digest)


def test_a_setting_that_no_judge_has_is_still_refused():
    with pytest.raises(UsageError, match="has no setting 'reference'"):
        judge_of(JudgeChoice("python_tests", (("reference", "x"),)))


def test_the_same_references_again_change_nothing(run):
    freeze_second_judge(run, "plus", STRONGER, OWN)
    (path,) = run.judges_dir.iterdir()
    before = path.stat()
    assert freeze_second_judge(run, "plus", STRONGER[::-1], OWN) == second_judge(run, "plus")
    assert path.stat() == before


@pytest.mark.parametrize(
    ("name", "problems", "says"),
    [
        ("plus", STRONGER[:2], "--task plus: has no problem 'a', which the run has"),
        (
            "plus",
            [*STRONGER[:2], problem("a", prompt="def f(x): # cube\n")],
            "--task plus: asks something else in 'a' than the run did",
        ),
        ("figures", STRONGER, "--task figures: cannot name a directory"),
        ("../plus", STRONGER, "--task ../plus: cannot name a directory"),
    ],
)
def test_a_task_that_does_not_fit_is_refused_and_nothing_is_written(run, name, problems, says):
    before = sorted(run.path.rglob("*"))
    with pytest.raises(UsageError, match=says):
        freeze_second_judge(run, name, problems, OWN)
    assert sorted(run.path.rglob("*")) == before


def test_other_references_of_a_known_name_are_refused(run):
    freeze_second_judge(run, "plus", STRONGER, OWN)
    with pytest.raises(UsageError, match="the run has other references or settings of this name"):
        freeze_second_judge(run, "plus", [problem("a"), problem("b")], OWN)


def test_a_name_that_the_run_does_not_have_is_named_with_the_remedy(run):
    freeze_second_judge(run, "plus", STRONGER, OWN)
    with pytest.raises(
        UsageError, match=r"there is: plus; `python jobs/evaluate.py .* --task mine`"
    ):
        judge_of_run(run, name="mine")


def test_a_damaged_file_is_named_with_the_remedy(run):
    freeze_second_judge(run, "plus", STRONGER, OWN)
    assert not list(damaged_records(run))
    (run.judges_dir / "plus.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptShard, match=r"delete it: `python jobs/evaluate.py .* --task plus`"):
        second_judge(run, "plus")
    (damage,) = damaged_records(run)
    assert "plus.parquet" in str(damage)
