import gzip
import json

import pytest
from run_jobs import ROOT

from toolkit.config import Evaluation
from toolkit.errors import RunMismatch, UsageError
from toolkit.launch.status import read_status
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.shards import read_shard
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.fit import fit_run
from toolkit.stages.ingest import describe_counts, ingest
from toolkit.verifiers.judges import judge_of_run

ROWS = [{"task_id": f"HumanEval/{i % 3}", "completion": f"    return {i}\n"} for i in range(8)]


def write(path, rows):
    path.write_text(
        "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    )
    return path


def test_seeds_follow_the_files_order_and_text_is_untouched(tmp_path):
    source = tmp_path / "s.jsonl.gz"
    source.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in ROWS).encode()))
    run = ingest(source, tmp_path / "run", problems_source="humaneval", model="m")
    rows = [row for s in run.slices() for row in read_shard(run, s).rows()]
    expected = [(f"HumanEval/{i % 3}", i // 3, f"    return {i}\n") for i in range(8)]
    assert sorted(r[:3] for r in rows) == sorted(expected)
    assert [p.task_id for p in run.problems()] == ["HumanEval/0", "HumanEval/1", "HumanEval/2"]
    assert run.prompt_style() == "verbatim"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            {"task_id": "HumanEval/999", "completion": ""},
            "line 9: field 'task_id': 'HumanEval/999' is not one",
        ),
        ({"task_id": "HumanEval/1"}, "line 9: field 'completion' is missing"),
        ({"task_id": "HumanEval/1", "completion": None}, "line 9: field 'completion' is NoneType"),
        (
            {"task_id": "HumanEval/1", "completion": "\ud800"},
            "line 9: field 'completion': has half",
        ),
        ("{\n", "line 9: not JSON"),
    ],
)
def test_nothing_is_half_written_on_a_bad_line(tmp_path, bad, says):
    source = write(tmp_path / "s.jsonl", [*ROWS, bad])
    with pytest.raises(UsageError, match=says):
        ingest(source, tmp_path / "run", problems_source="humaneval", model="")
    assert not (tmp_path / "run").exists()


def test_the_same_file_again_writes_only_what_is_missing(tmp_path):
    source = write(tmp_path / "s.jsonl", ROWS)
    run = ingest(source, tmp_path / "run", problems_source="humaneval", model="")
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("*") if p.is_file()}
    ingest(source, tmp_path / "run", problems_source="humaneval", model="")
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("*") if p.is_file()} == before


def test_another_file_into_the_same_run_is_refused(tmp_path):
    run = ingest(
        write(tmp_path / "s.jsonl", ROWS), tmp_path / "run", problems_source="humaneval", model="m"
    )
    before = sorted(run.path.rglob("*"))
    with pytest.raises(RunMismatch, match="completions"):
        ingest(
            write(tmp_path / "t.jsonl", ROWS[:5]), run.path, problems_source="humaneval", model="m"
        )
    assert sorted(run.path.rglob("*")) == before


def test_counts_in_words():
    assert describe_counts([50] * 164) == "8200 samples of 164 problems, n = 50"
    assert describe_counts([3, 50]) == "53 samples of 2 problems, n = 3 to 50"


CHAT = "Sure!\n```python\ndef truncate_number(number):\n    return number % 1.0\n```"
EMBEDDED = ROOT / "tests" / "data" / "embedded_answers.jsonl"


def shard_rows(run):
    return [row for s in run.slices() for row in read_shard(run, s).rows(named=True)]


@pytest.mark.slow
def test_nobody_knows_how_many_tokens_an_ingested_sample_has(tmp_path):
    run = ingest(write(tmp_path / "s.jsonl", ROWS), tmp_path / "run")
    assert {row["n_tokens"] for row in shard_rows(run)} == {None}
    assert evaluate_run(run, Evaluation(), workers=1).complete
    assert count_outcomes(run, judge_of_run(run))["tokens"].to_list() == [None] * 3
    document = fit_run(run, judge=judge_of_run(run), replicates=100)
    assert document.tokens is None
    assert "| tokens | not known |" in (run.results_dir / "report.md").read_text()
    assert "\ntokens     unknown" in read_status(run, judge_of_run(run)).text()
    assert json.loads(read_status(run, judge_of_run(run)).json())["speed"]["tokens"] is None


def test_a_solution_is_a_whole_program(tmp_path):
    right = "import math\n\n\ndef truncate_number(number):\n    return math.modf(number)[0]\n"
    rows = [{"task_id": "HumanEval/2", "solution": text} for text in (right, "    return 1\n")]
    run = ingest(write(tmp_path / "s.jsonl", rows), tmp_path / "run")
    assert run.prompt_style() == "solution"
    assert evaluate_run(run, Evaluation(), workers=1).complete
    assert sample_outcomes(run, judge_of_run(run))["passed"].to_list() == [True, False]


def test_completions_of_a_chat_are_taken_by_their_style(tmp_path, caplog):
    source = write(tmp_path / "s.jsonl", [{"task_id": "HumanEval/2", "completion": CHAT}])
    run = ingest(source, tmp_path / "run", style="chat")
    assert evaluate_run(run, Evaluation(), workers=1).complete
    assert sample_outcomes(run, judge_of_run(run))["passed"].to_list() == [True]
    assert "hold no answer" not in caplog.text
    with pytest.raises(RunMismatch, match="prompt_style"):
        ingest(source, tmp_path / "run")


def test_answers_of_a_chat_that_are_taken_verbatim_are_warned_of(tmp_path, caplog):
    ingest(EMBEDDED, tmp_path / "run")
    assert "of 33 samples looked at, 32 hold no answer that can be read" in caplog.text
    assert "with --style chat 26 can; ingest again with that" in caplog.text


@pytest.mark.parametrize(
    ("rows", "style", "says"),
    [
        (
            [{"task_id": "HumanEval/2", "solution": "x"}, *ROWS],
            None,
            "line 2: has 'completion' where the lines before have 'solution'",
        ),
        ([{"task_id": "HumanEval/2", "solution": "x"}], "chat", "--style chat: a solution is a wh"),
    ],
)
def test_solutions_are_neither_mixed_nor_extracted(tmp_path, rows, style, says):
    with pytest.raises(UsageError, match=says):
        ingest(write(tmp_path / "s.jsonl", rows), tmp_path / "run", style=style)
    assert not (tmp_path / "run").exists()


def test_another_task_is_ingested_with_its_judge(tmp_path):
    row = {
        "task_id": 11,
        "text": "Write a function to double a number.",
        "code": "def double(n):\n  return 2 * n",
        "test_list": ["assert double(2) == 4"],
    }
    problems = write(tmp_path / "mbpp.jsonl", [row])
    rows = [{"task_id": "Mbpp/11", "completion": row["code"]}]
    run = ingest(
        write(tmp_path / "s.jsonl", rows),
        tmp_path / "run",
        task="mbpp",
        problems_source=str(problems),
    )
    assert evaluate_run(run, Evaluation(), workers=1).complete
    assert sample_outcomes(run, judge_of_run(run))["passed"].to_list() == [True]
