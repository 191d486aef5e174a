"""The readers of published data sets, on rows as they are published, and on the real files."""

import base64
import gzip
import json
import pickle
import zlib

import polars as pl
import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.problems.code_contests import read_code_contests
from toolkit.problems.coding_competitions import read_apps, read_google
from toolkit.problems.gsm8k import read_gsm8k
from toolkit.problems.livecodebench import read_livecodebench
from toolkit.problems.math_problems import last_box, read_math
from toolkit.problems.minif2f import BROKEN, read_minif2f_lean, read_minif2f_metamath

GSM = {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}
CONTEST = {
    "name": "1575_A. Another Sorting Problem",
    "description": "Sort.",
    "public_tests": {"input": ["1\n"], "output": ["1\n"]},
    "private_tests": {"input": ["2\n"], "output": ["2\n"]},
    "generated_tests": {"input": [], "output": []},
    "solutions": {"language": [2, 3], "solution": ["int main(){}", "print(input())"]},
    "time_limit": {"seconds": 10, "nanos": 500000000},
    "input_file": "",
    "output_file": "",
}
CASES = [{"input": "1\n", "output": "2", "testtype": "stdin"}]
LCB = {
    "question_id": "abc300_a",
    "question_content": "Add one.",
    "public_test_cases": json.dumps(CASES),
    "private_test_cases": json.dumps(CASES),
}


def packed(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def write(folder, *rows, name="data.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reference(problem):
    return json.loads(problem.reference)


def test_gsm8k_keeps_the_number_and_drops_the_calculator_s_notes(tmp_path):
    (problem,) = read_gsm8k(write(tmp_path, GSM))
    assert (problem.task_id, problem.kind) == ("gsm8k/0", "number")
    assert reference(problem) == {"answer": "1004"}
    assert problem.solution == "2+2=4\n#### 1004"


def test_parquet_and_jsonl_read_alike(tmp_path):
    plain = write(tmp_path, GSM, GSM | {"question": "Again?"})
    pl.DataFrame([GSM, GSM | {"question": "Again?"}]).write_parquet(tmp_path / "d.parquet")
    assert read_gsm8k(plain) == read_gsm8k(tmp_path / "d.parquet")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{\{1,2\}}", r"\{1,2\}"),
        (r"is $\boxed 9$.", "9"),
        (r"\fbox{7}", "7"),
        (r"\boxed{1", None),
        ("nothing", None),
    ],
)
def test_the_last_box_of_a_solution_is_the_answer(text, box):
    assert last_box(text) == box


def test_math_takes_the_final_answer_from_either_place(tmp_path):
    rows = (
        {"problem": "a", "solution": r"\boxed{2}", "idx": 7},
        {"problem": "b", "solution": r"\boxed{2.0}", "answer": "2", "unique_id": "test/b.json"},
        {"question": "c", "answer": r"It is \boxed{3}."},
    )
    found = read_math(write(tmp_path, *rows))
    assert [p.task_id for p in found] == ["math/7", "math/test/b.json", "math/2"]
    assert [reference(p)["answer"] for p in found] == ["2", "2", "3"]


def test_code_contests_has_all_tests_and_a_longer_limit_where_published(tmp_path):
    image = CONTEST | {"name": "b", "description": "See <image>."}
    by_file = CONTEST | {"name": "c", "input_file": "in.txt"}
    (problem,) = read_code_contests(write(tmp_path, CONTEST, image, by_file))
    tests = [{"input": "1\n", "output": "1\n"}, {"input": "2\n", "output": "2\n"}]
    assert reference(problem) == {"tests": tests, "timeout": 10.5}
    assert problem.solution == "print(input())"


def test_live_code_bench_reads_hidden_tests_in_both_forms(tmp_path):
    rows = (LCB, LCB | {"question_id": "b", "private_test_cases": packed(json.dumps(CASES))})
    found = read_livecodebench(write(tmp_path, *rows))
    assert [p.task_id for p in found] == ["livecodebench/abc300_a", "livecodebench/b"]
    assert [len(reference(p)["tests"]) for p in found] == [2, 2]
    assert found[0].prompt.endswith("reads standard input and writes standard output.")


METHOD = LCB | {
    "public_test_cases": json.dumps(
        [{"input": '[1, 2]\n"x"', "output": "[3]", "testtype": "functional"}]
    ),
    "private_test_cases": "[]",
    "starter_code": "class Solution:\n    def f(self, a, b):\n        ",
    "metadata": '{"func_name": "f"}',
}


def test_live_code_bench_asks_for_methods_with_their_beginning(tmp_path):
    (problem,) = read_livecodebench(write(tmp_path, METHOD))
    tests = [{"input": [[1, 2], "x"], "output": [3]}]
    assert reference(problem) == {"tests": tests, "function": "f"}
    assert "class Solution:\n    def f(self, a, b):" in problem.prompt


def test_apps_has_functions_whose_values_are_in_lists_of_one(tmp_path):
    cases = {"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}
    rows = (
        {"question": "Add.", "input_output": json.dumps(cases), "solutions": '["def f(): 1"]'},
        {"question": "Say 2.", "input_output": json.dumps({"inputs": [""], "outputs": ["2"]})},
    )
    without_tests = {"question": "Untested.", "input_output": ""}
    function, program = read_apps(write(tmp_path, *rows, without_tests))
    tests = [{"input": [1, 2], "output": [3]}]
    assert reference(function) == {"tests": tests, "function": "f", "compare": "value_in_list"}
    assert function.solution == "def f(): 1"
    assert reference(program) == {"tests": [{"input": "", "output": "2"}]}


def test_google_s_tolerance_is_the_problem_s_checker(tmp_path):
    tests = [{"name": "a", "input": "1", "output": "2"}]
    row = {"task_id": "a", "statement": "s", "tests": tests, "checker": "float_tolerance 1e-6"}
    (problem,) = read_google(write(tmp_path, row))
    assert reference(problem)["compare"] == "float:1e-6"


def test_a_pickle_that_could_run_something_is_refused(tmp_path):
    row = LCB | {"private_test_cases": packed(print)}
    with pytest.raises(UsageError, match="cannot be unpacked: it is more than a text: it has the"):
        read_livecodebench(write(tmp_path, row))


@pytest.mark.parametrize(
    ("read", "row", "says"),
    [
        (read_gsm8k, {"question": "x"}, "line 1: field 'answer' is missing"),
        (read_gsm8k, {"question": "x", "answer": "4"}, "field 'answer': has no number behind"),
        (read_gsm8k, GSM | {"question": " "}, "field 'question' is empty"),
        (read_math, {"problem": "x", "solution": "2"}, r"has no answer in \\boxed"),
        (read_code_contests, CONTEST | {"public_tests": 3}, "field 'public_tests' is int"),
        (
            read_code_contests,
            CONTEST | {"private_tests": {"input": ["1"], "output": []}},
            "field 'private_tests': 1 inputs, but 0 outputs",
        ),
        (read_livecodebench, LCB | {"private_test_cases": "!"}, "cannot be unpacked"),
        (read_livecodebench, LCB | {"public_test_cases": "{"}, "is not JSON"),
        (read_livecodebench, METHOD | {"metadata": "{}"}, "field 'metadata': names no method"),
        (read_google, {"task_id": "a", "statement": "s", "tests": []}, "has no tests"),
        (
            read_google,
            {"task_id": "a", "statement": "s", "tests": [{}], "checker": "x"},
            "None' is not a string",
        ),
        (read_minif2f_lean, {"name": "a", "lean": "import Mathlib"}, "has no theorem"),
        (read_minif2f_lean, {"name": "a", "lean": "theorem a : 1 = 1"}, "ends neither in"),
        (read_minif2f_metamath, {"name": "a", "metamath": "b $p x $= ? $."}, "does not state a"),
    ],
)
def test_a_bad_row_is_named_with_its_field(tmp_path, read, row, says):
    with pytest.raises(UsageError, match=says):
        read(write(tmp_path, row))


def test_an_id_that_comes_twice_is_refused(tmp_path):
    path = write(tmp_path, CONTEST, CONTEST)
    with pytest.raises(UsageError, match="line 2: field 'task_id': an earlier row has"):
        read_code_contests(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match="cannot be read as parquet"):
        read_gsm8k(tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match="no such file"):
        read_gsm8k(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="has no problems"):
        read_gsm8k(write(tmp_path))


def test_the_statement_of_a_lean_theorem_ends_where_the_proof_begins(tmp_path):
    lean = "import Mathlib\n\ntheorem t (x : Nat) :\n  x = x := by sorry\n"
    (problem,) = read_minif2f_lean(write(tmp_path, {"name": "t", "split": "test", "lean": lean}))
    assert reference(problem) == {
        "statement": "theorem t (x : Nat) :\n  x = x := by\n",
        "header": "import Mathlib\n\n",
    }


@pytest.mark.parametrize(
    ("read", "name", "problems", "solutions"),
    [
        (read_gsm8k, "gsm8k/test.jsonl.gz", 1319, 1319),
        (read_math, "math/test.jsonl.gz", 5000, 5000),
        (read_math, "math/math500.jsonl.gz", 500, 500),
        (read_minif2f_lean, "minif2f/lean4_prover15.jsonl.gz", 244, 0),
        (read_minif2f_lean, "minif2f/lean4_yangky11.jsonl.gz", 244, 0),
        (read_minif2f_metamath, "minif2f/metamath.jsonl.gz", 244 - len(BROKEN), 0),
        (read_google, "stdin-google/problems.jsonl.gz", None, 0),
        (read_apps, "stdin-apps/apps5.jsonl.gz", 5, 5),
    ],
)
def test_the_published_files_are_read_whole(read, name, problems, solutions):
    path = shared(name)
    found = read(path)
    with gzip.open(path) as file:
        rows = sum(1 for _ in file)
    assert len(found) == (rows if problems is None else problems)
    assert sum(bool(p.solution) for p in found) == solutions
    assert all(p.prompt.strip() and reference(p) for p in found)


def test_metamath_statements_are_in_metamath_s_own_form():
    for problem in read_minif2f_metamath(shared("minif2f/metamath.jsonl.gz")):
        text = reference(problem)["statement"]
        assert text.count("$= ? $.") == 1
        assert "@" not in text
        assert text.count("${") == text.count("$}")
        assert text.count("$(") == text.count("$)")
