"""HumanEval+: both published forms, the mended oracle, and limits that are data."""

import gzip
import hashlib
import json

import polars as pl
import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.problems.humaneval import python_problem
from toolkit.problems.humaneval_plus import MENDED_ORACLE, read_humaneval_plus
from toolkit.problems.time_limits import FACTOR, LEAST, MEASURED, digest_of_test, time_limit
from toolkit.records import Answer, JudgeChoice, answer_digest
from toolkit.verifiers.judges import judge_of
from toolkit.verifiers.python_tests import PythonTests, unit_tests

FILES = ("HumanEvalPlus-OriginFmt", "HumanEvalPlus", "HumanEvalPlus-Mini")
ROW = {
    "task_id": "a/0",
    "prompt": 'def halves(xs):\n    """Half of each."""\n',
    "entry_point": "halves",
    "canonical_solution": "    return [x / 2 for x in xs]\n",
    "base_input": [[[1, 2]]],
    "plus_input": [[[]], [[3.5, 1e308]]],
    "atol": 0,
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judged(problems, texts):
    """task_id -> outcome of one program of each problem, with the default judge."""
    judge = judge_of(JudgeChoice("python_tests"))
    pairs = [
        (p, Answer(p.task_id, answer_digest(t), t)) for p, t in zip(problems, texts, strict=True)
    ]
    with PythonTests().judging(problems, judge, workers=2, isolation="strongest") as judging:
        return {v.answer: v for v in judging.judge(pairs)}


def outcomes(path, bodies):
    """The outcome of each body as an answer to the one problem of a file."""
    (problem,) = read_humaneval_plus(path)
    texts = [problem.prompt + body for body in bodies]
    found = judged([problem] * len(texts), texts)
    return [found[answer_digest(text)].outcome for text in texts]


def test_inputs_become_a_test_by_the_reference(tmp_path):
    path = write(tmp_path / "plus.jsonl", ROW)
    close = "    return [x * (0.5 + 1e-9) for x in xs]\n"
    whole = "    return [x // 2 for x in xs]\n"
    calls_itself = "    return [xs[0] / 2, *halves(xs[1:])] if xs else []\n"
    spoils = "    xs.clear()\n    return []\n"
    bodies = [ROW["canonical_solution"], close, whole, calls_itself, spoils]
    assert outcomes(path, bodies) == ["passed", "passed", "failed", "passed", "failed"]


def test_the_reference_is_not_the_program_of_the_same_name(tmp_path):
    """A reference that calls itself must not call the program."""
    recursive = "    return [xs[0] / 2, *halves(xs[1:])] if xs else []\n"
    path = write(tmp_path / "plus.jsonl", ROW | {"canonical_solution": recursive})
    assert outcomes(path, ["    return [0.5]\n", recursive]) == ["failed", "passed"]


def test_a_zero_may_be_any_zero(tmp_path):
    row = ROW | {
        "prompt": "def find_zero(xs):\n",
        "entry_point": "find_zero",
        "base_input": [[[-6, 5, -1]]],
        "plus_input": [],
        "atol": 1e-4,
    }
    path = write(tmp_path / "zero.jsonl", row)
    bodies = [f"    return {x}\n" for x in ("2.0", "3.0", "2.5", "-1e9", "'2'", "[2.0]")]
    assert outcomes(path, bodies) == ["passed", "passed", *["failed"] * 4]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plus_input": "[]"}, "line 1: field 'plus_input' is no list of lists of arguments"),
        ({"base_input": [1]}, "line 1: field 'base_input' is no list of lists of arguments"),
        ({"atol": None}, "line 1: field 'atol' is NoneType, not a number"),
        ({"entry_point": "a b"}, "line 1: field 'entry_point' is not a Python name"),
        ({"prompt": 1}, "line 1: field 'prompt' is int, not a string"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, says):
    with pytest.raises(UsageError, match=says):
        read_humaneval_plus(write(tmp_path / "plus.jsonl", ROW | change))


def test_a_limit_belongs_to_a_problem_with_its_test():
    digest, (task_id, _) = next(iter(MEASURED.items()))
    assert len(digest) == 16
    assert time_limit(task_id, "another test") is None
    assert all(seconds * FACTOR > LEAST for _, seconds in MEASURED.values())
    assert digest_of_test("a") != digest_of_test("b")


def test_a_limit_is_a_part_of_the_reference_where_there_is_one():
    plain = python_problem("a", "", "t", "f")
    limited = python_problem("a", "", "t", "f", timeout=36.0)
    assert json.loads(plain.reference) == {"test": "t", "entry_point": "f"}
    assert unit_tests(limited.reference).timeout == 36.0


def test_the_file_of_the_hub_is_the_first_form(tmp_path):
    """As others have published it: the SHA-256 of three fields of the commit that the task pins."""
    path = shared("humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz")
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    fields = {r["task_id"]: {f: r[f] for f in ("test", "entry_point", "prompt")} for r in rows}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    assert digest == "501296e748fefaf91530cf8957fe1a9541e6949d07c87cd2375ced5aa43de93f"
    pl.DataFrame(rows).write_parquet(tmp_path / "test.parquet")
    assert read_humaneval_plus(tmp_path / "test.parquet") == read_humaneval_plus(path)


@pytest.mark.parametrize("name", FILES)
def test_each_form_has_164_problems_with_the_limits_that_were_measured(name):
    problems = read_humaneval_plus(shared(f"humanevalplus/{name}.jsonl.gz"))
    assert [p.task_id for p in problems] == [f"HumanEval/{i}" for i in range(164)]
    tests = {p.task_id: unit_tests(p.reference) for p in problems}
    limits = {task_id: t.timeout for task_id, t in tests.items() if t.timeout}
    heavy = {f"HumanEval/{i}" for i in (15, 36, 59, 83, 94, 130, 139)}
    assert limits.keys() == ({"HumanEval/15"} if name.endswith("Mini") else heavy)
    assert all(limit > 3 for limit in limits.values())
    if name.endswith("OriginFmt"):
        with gzip.open(shared(f"humanevalplus/{name}.jsonl.gz"), "rt") as lines:
            rows = [json.loads(line) for line in lines]
        changed = {r["task_id"] for r in rows if r["test"] != tests[r["task_id"]].test}
        assert changed == {"HumanEval/32"}
        assert MENDED_ORACLE in tests["HumanEval/32"].test


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n.endswith("Mini") else pytest.mark.repeats) for n in FILES],
)
def test_all_reference_solutions_pass_by_the_default_judge(name):
    problems = read_humaneval_plus(shared(f"humanevalplus/{name}.jsonl.gz"))
    found = judged(problems, [p.prompt + p.solution for p in problems])
    assert len(found) == 164
    assert not [(v.task_id, v.detail) for v in found.values() if v.outcome != "passed"]
