"""Groups of problems: each problem in one, with all its slices and files of verdicts."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_slices import make_run

from toolkit.errors import CorruptShard
from toolkit.runs import outcomes
from toolkit.runs.outcomes import count_outcomes, judged_answers
from toolkit.runs.problem_groups import group_files, group_problems
from toolkit.runs.slices import plan_round, planned_samples
from toolkit.runs.summary import read_summary
from toolkit.runs.verdicts import read_batch, verdict_files
from toolkit.verifiers.judges import judge_of_run


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60), min_size=1),
    st.integers(1, 25),
    st.integers(1, 25),
    st.integers(1, 200),
)
def test_each_problem_is_in_one_group_with_all_its_slices(wanted, size, seeds, most):
    slices = plan_round(0, wanted, {}, slice_samples=size, slice_seeds=seeds)
    groups = group_problems(slices, most)
    if sum(wanted.values()) <= most or len(wanted) == 1:
        assert [(g.task_ids, g.slices) for g in groups] == [(None, tuple(slices))]
        return
    task_ids = [task_id for group in groups for task_id in group.task_ids]
    assert sorted(task_ids) == sorted(wanted)
    for group in groups:
        held = [s for s in slices if any(r.task_id in group.task_ids for r in s.ranges)]
        assert list(group.slices) == held
        samples = sum(wanted[task_id] for task_id in group.task_ids)
        assert samples <= most or len(group.task_ids) == 1
    # No group could take in the next one whole.
    sums = [sum(wanted[task_id] for task_id in group.task_ids) for group in groups]
    first = [next(t for t in planned_samples(slices) if t in g.task_ids) for g in groups]
    assert all(sums[i] + wanted[first[i + 1]] > most for i in range(len(groups) - 1))


def test_without_slices_there_is_one_group():
    assert group_problems([], 5)[0].slices == ()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sixteen problems with two samples each, in eight slices; nobody changes it for good."""
    return make_run(tmp_path_factory.mktemp("groups"), 8, 4, 5)


def test_a_group_has_the_files_that_hold_verdicts_of_its_problems(run):
    (whole,) = group_files(run, run.slices())
    assert whole.files is None
    groups = group_files(run, run.slices(), 6)
    assert [len(group.task_ids) for group in groups] == [3, 3, 3, 3, 3, 1]
    for group in groups:
        holding = [
            path
            for path in verdict_files(run)
            if group.task_ids & set(read_batch(path)["task_id"].to_list())
        ]
        assert list(group.files) == holding
        assert 0 < len(holding) < 5


def test_a_damaged_file_of_no_group_is_noticed(run):
    """Nobody reads the verdicts of problems without samples; evaluation must still mend the file."""
    first = run.slices()[0]
    theirs = [seeds.task_id for seeds in first.ranges]
    frame = pl.concat(map(read_batch, verdict_files(run)))
    others = frame.filter(~pl.col("task_id").is_in(theirs))
    path = run.verdicts_dir / "v-others.parquet"
    others.drop("outcome").write_parquet(path)
    try:
        with pytest.raises(CorruptShard, match="v-others"):
            group_files(run, [first], 2)
    finally:
        path.unlink()


def test_groups_say_together_what_one_says(run, monkeypatch):
    judge, slices = judge_of_run(run), run.slices()
    key = ["task_id", "answer"]

    def said():
        (run.results_dir / "shards.parquet").unlink(missing_ok=True)
        summary = read_summary(run, judge, slices)
        answers = judged_answers(run, judge, slices).sort(key).rows()
        return count_outcomes(run, judge).rows(), answers, summary.outcomes

    counts, answers, known = said()
    grouped = []
    monkeypatch.setattr(
        outcomes,
        "group_files",
        lambda *given: grouped.append(group_files(*given, 6)) or grouped[-1],
    )
    again_counts, again_answers, again = said()
    assert [len(groups) for groups in grouped] == [6, 6, 6]
    assert (again_counts, again_answers) == (counts, answers)
    assert again.counts.equals(known.counts)
    assert (again.taxonomy, again.outdated) == (known.taxonomy, known.outdated)
    assert sum(n for _, n, *_ in counts) == 32
