import gzip
import json

import pytest

from toolkit.errors import UsageError
from toolkit.problems.humaneval import is_full_humaneval
from toolkit.problems.load import load_problems, problems_digest, problems_label

ROW = {
    "task_id": "a/0",
    "prompt": "def f():\n",
    "test": "def check(c):\n    pass\n",
    "entry_point": "f",
}


def write(path, *rows):
    path.write_text(
        "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    )
    return str(path)


def test_humaneval_is_whole_and_in_order():
    problems = load_problems()
    assert [p.task_id for p in problems] == [f"HumanEval/{i}" for i in range(164)]
    assert is_full_humaneval(problems)
    assert not is_full_humaneval(problems[:-1])


def test_subset_by_task_ids_and_limit_keeps_the_order():
    problems = load_problems(task_ids=("HumanEval/5", "HumanEval/2", "HumanEval/9"), limit=2)
    assert [p.task_id for p in problems] == ["HumanEval/2", "HumanEval/5"]


def test_jsonl_and_gzip_read_alike(tmp_path):
    plain = write(tmp_path / "set.jsonl", ROW, "\n")
    packed = tmp_path / "set.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(ROW) + "\n").encode()))
    assert load_problems(plain) == load_problems(str(packed))
    assert problems_label(plain) == problems_label(str(packed)) == "set"


def test_digest_tells_content_not_order(tmp_path):
    other = ROW | {"task_id": "a/1"}
    ab = load_problems(write(tmp_path / "ab.jsonl", ROW, other))
    ba = load_problems(write(tmp_path / "ba.jsonl", other, ROW))
    changed = load_problems(write(tmp_path / "c.jsonl", ROW, other | {"test": "x"}))
    assert problems_digest(ab) == problems_digest(ba) != problems_digest(changed)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({k: v for k, v in ROW.items() if k != "test"}, "line 2: field 'test' is missing"),
        (ROW | {"task_id": "a/1", "prompt": 3}, "line 2: field 'prompt' is int, not a string"),
        (ROW, "line 2: field 'task_id': an earlier line has 'a/0' already"),
        (ROW | {"task_id": " "}, "line 2: field 'task_id' is empty"),
        (
            ROW | {"task_id": "b", "entry_point": "f()"},
            "line 2: field 'entry_point' is not a Python name",
        ),
        ("{oops\n", "line 2: not JSON"),
        ("[1]\n", "line 2: not a JSON object"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path, bad, says):
    with pytest.raises(UsageError, match=says):
        load_problems(write(tmp_path / "bad.jsonl", ROW, bad))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_problems(str(tmp_path / "none.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() * 99)[:-20])
    with pytest.raises(UsageError, match="cannot be read"):
        load_problems(str(tmp_path / "cut.jsonl.gz"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"task_id": "\xe9"}\n')
    with pytest.raises(UsageError, match="not UTF-8"):
        load_problems(str(tmp_path / "latin.jsonl"))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UsageError, match="has no problems"):
        load_problems(str(tmp_path / "empty.jsonl"))


def test_unknown_task_ids_are_named():
    with pytest.raises(UsageError, match="--task-ids HumanEval/999: not in"):
        load_problems(task_ids=["HumanEval/1", "HumanEval/999"])
