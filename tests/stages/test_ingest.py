import gzip
import json

import pytest

from toolkit.errors import RunMismatch, UsageError
from toolkit.runs.shards import read_shard
from toolkit.stages.ingest import describe_counts, ingest

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
