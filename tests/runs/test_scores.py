"""Scores of samples: what is refused at the edge, what is kept, and what a selection makes of it."""

import gzip
import json
import math
import runpy
import sys

import numpy as np
import polars as pl
import pytest
from run_here import here
from run_jobs import ROOT, files
from shared_data import shared

from toolkit.config import Evaluation
from toolkit.errors import UsageError
from toolkit.runs.ballots import read_ballots
from toolkit.runs.damage import damaged_records
from toolkit.runs.run import open_run
from toolkit.runs.scores import add_scores, read_scores, score_names
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.ingest import ingest
from toolkit.stats.selectors import select
from toolkit.verifiers.judges import judge_of_run

QUESTIONS = [
    {
        "task_id": name,
        "prompt": "What is it?",
        "test": "def check(f):\n    assert f() == 4\n",
        "entry_point": "f",
    }
    for name in "ab"
]
BODIES = ["return 4", "return 4", "return 2 + 2", "return 5"]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Two problems with four samples each; nothing is judged."""
    folder = tmp_path_factory.mktemp("sampled")
    problems = write(folder / "p.jsonl", QUESTIONS)
    rows = [
        {"task_id": name, "solution": f"def f():\n    {body}\n"} for name in "ab" for body in BODIES
    ]
    return ingest(write(folder / "s.jsonl", rows), folder / "run", problems_source=str(problems))


def table(path, rows, columns=("task_id", "seed", "score", "name")):
    pl.DataFrame(rows, schema=list(columns), orient="row").write_parquet(path)
    return path


ALL = [(name, seed, seed / 4, "reward") for name in "ab" for seed in range(4)]


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        ([("a", 0, 1.0)], ("task_id", "seed", "score"), "lacks the column name"),
        ([("a", 4, 1.0, "r")], None, "no sample 4 of 'a'"),
        ([("c", 0, 1.0, "r")], None, "no sample 0 of 'c'"),
        ([("a", 0, math.nan, "r")], None, "row 1: task_id = 'a', seed = 0, score = nan"),
        ([("a", 0, 1.0, "r"), ("a", -1, 1.0, "r")], None, "row 2: task_id = 'a', seed = -1"),
        ([("a", 0, None, "r")], None, "score = None"),
        ([("a", 0, 1.0, "r"), ("a", 0, 2.0, "r")], None, "more than one score 'r'"),
        ([("a", 0, 1.0, "../r")], None, "cannot name a file"),
        ([("a", 0, 1.0, "logprob")], None, "is that of the log-probabilities"),
    ],
)
def test_wrong_scores_are_refused_and_nothing_is_written(rows, columns, says, sampled, tmp_path):
    source = table(
        tmp_path / "scores.parquet", rows, columns or ("task_id", "seed", "score", "name")
    )
    before = files(sampled.path)
    done = here("ingest", "--scores", source, "--run", sampled.path)
    assert done.code == 2
    (line,) = done.errors
    assert says in line
    assert str(source) in line
    assert files(sampled.path) == before


def test_what_is_no_parquet_and_what_is_nothing_is_said(sampled, tmp_path):
    other = tmp_path / "scores.csv"
    other.write_text("task_id,seed\n")
    done = here("ingest", "--scores", other, "--run", sampled.path)
    assert (done.code, "cannot be read as parquet" in done.errors[0]) == (2, True)
    done = here("ingest", "--run", sampled.path)
    assert (done.code, "nothing to ingest" in done.errors[0]) == (2, True)


def test_scores_are_kept_and_added_to(sampled, tmp_path):
    first = table(tmp_path / "first.parquet", [*ALL[:5], ("a", 0, -1.0, "other")])
    done = here("ingest", "--scores", first, "--run", sampled.path)
    assert done.code == 0, done.errors
    assert "5 scores of reward" in done.out
    whole = table(tmp_path / "whole.parquet", ALL)
    assert add_scores(sampled, whole) == {"reward": 8}
    assert score_names(sampled) == ["other", "reward"]
    assert read_scores(sampled, "reward").rows() == [row[:3] for row in ALL]
    changed = table(tmp_path / "changed.parquet", [("a", 1, 9.0, "reward")])
    with pytest.raises(UsageError, match=r"has the score 0\.25 of 'reward' already, not 9"):
        add_scores(sampled, changed)
    with pytest.raises(UsageError, match="no scores 'third'; there is: other, reward"):
        read_scores(sampled, "third")
    with pytest.raises(UsageError, match="no sample has a log-probability"):
        read_scores(sampled, "logprob")
    (sampled.scores_dir / "other.parquet").write_bytes(b"no parquet")
    (damage,) = damaged_records(sampled)
    assert "other.parquet: cannot be read" in str(damage)
    assert "delete it, and ingest the scores again" in str(damage)
    (sampled.scores_dir / "other.parquet").unlink()


def selection(monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", ["selection.py", *map(str, flags)])
    return runpy.run_path(str(ROOT / "analysis" / "selection.py"))["main"]()


@pytest.mark.slow
def test_a_run_is_selected_from(sampled, tmp_path, capsys, monkeypatch):
    """Three of four are right, as two texts; the wrong one has the best score."""
    add_scores(sampled, table(tmp_path / "whole.parquet", ALL))
    assert evaluate_run(sampled, Evaluation(), workers=1).complete
    ballots = read_ballots(sampled, judge_of_run(sampled), "reward")
    groups = ballots.of["a"].groups.tolist()
    assert (groups[0] == groups[1], len(set(groups))) == (True, 3)
    assert selection(monkeypatch, sampled.path, "--score", "reward", "--out", tmp_path / "s") == 0
    assert "2 problems, 8 samples with a verdict" in capsys.readouterr().out
    found = json.loads((tmp_path / "s.json").read_text())["selectors"]
    right = {name: [by_k["right"] for by_k in each.values()] for name, each in found.items()}
    assert right["oracle"] == pytest.approx([0.75, 1, 1])
    assert right["best"] == pytest.approx([0.75, 0.5, 0])
    assert right["majority"][-1] == 1
    # 4 of 4: two texts of weights 0 + .25 and .5, and the wrong one of .75
    assert right["weighted"][-1] == 0
    assert (tmp_path / "s.png").stat().st_size > 4000


GRADED = "math-graded/open/qwen_math_cot_100x8.jsonl.gz"


@pytest.mark.slow
def test_graded_answers_of_others_by_a_vote(tmp_path):
    """8 MATH samples a problem. Their grader's verdicts; votes by our canonical forms."""
    pytest.importorskip("math_verify")
    with gzip.open(shared(GRADED), "rt") as file:
        rows = [json.loads(line) for line in file]
    numbers = {text: i for i, text in enumerate(dict.fromkeys(r["problem"] for r in rows))}
    golds = {r["problem"]: r["gold"] for r in rows}
    problems = write(
        tmp_path / "p.jsonl",
        [
            {"idx": str(i), "problem": text, "solution": f"\\boxed{{{golds[text]}}}"}
            for text, i in numbers.items()
        ],
    )
    samples = write(
        tmp_path / "s.jsonl",
        [{"task_id": f"math/{numbers[r['problem']]}", "completion": r["response"]} for r in rows],
    )
    run = ingest(samples, tmp_path / "run", task="math", problems_source=str(problems))
    assert evaluate_run(run, Evaluation(), workers=2).complete
    ballots = read_ballots(open_run(run.path), judge_of_run(run))
    found = select(list(ballots.of.values()), np.array([1, 8]), replicates=100)
    grades = np.array([r["correct"] for r in rows]).reshape(-1, 8)
    one_problem = 1 / len(grades) + 1e-9  # of one answer we think otherwise than their grader
    assert found["oracle"][1].right == pytest.approx(grades.mean(), abs=one_problem)
    assert found["oracle"][8].right == pytest.approx(grades.any(axis=1).mean(), abs=one_problem)
    texts = np.array([str(r["pred"]) for r in rows]).reshape(-1, 8)
    votes = [right_by_vote(*pair) for pair in zip(texts, grades, strict=True)]
    assert found["majority"][8].right == pytest.approx(np.mean(votes), abs=one_problem)
    assert found["majority"][1].right == pytest.approx(found["oracle"][1].right)
    assert found["majority"][8].share < 1


def right_by_vote(texts, right):
    """The answers as their extraction wrote them; equal winners count by their share."""
    names, votes = np.unique(texts, return_counts=True)
    return np.mean([right[texts == name].mean() for name in names[votes == votes.max()]])
