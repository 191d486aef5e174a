"""MBPP and MBPP+: the published forms, their tests as `check`, and how a model is asked."""

import json

import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.problems.mbpp import EXAMPLES, read_mbpp
from toolkit.records import Answer, JudgeChoice, answer_digest
from toolkit.verifiers.judges import judge_of
from toolkit.verifiers.python_tests import PythonTests, unit_tests

ROW = {
    "task_id": 11,
    "text": "Write a function to double a number.\r",
    "code": "import math\r\ndef helper(n):\r\n  return n\r\ndef double(n):\r\n  return 2 * helper(n)",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert abs(double(-1)) == 2"],
    "challenge_test_list": [],
}
PLUS = {
    "task_id": 12,
    "prompt": "Write a function to double a number.",
    "code": "def double(n):\n  return 2 * n\n",
    "test_imports": ["import math"],
    "test_list": ["assert double(2) == 4"],
    "test": "inputs = [[1], [2]]\nresults = [2, 4]\n"
    "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assert double(*inp) == exp\n",
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def verdicts(problems, texts):
    """Verdicts of one program of each problem, by the default judge, in the order of the texts."""
    judge = judge_of(JudgeChoice("python_tests"))
    pairs = [
        (p, Answer(p.task_id, answer_digest(t), t)) for p, t in zip(problems, texts, strict=True)
    ]
    with PythonTests().judging(problems, judge, workers=2, isolation="strongest") as judging:
        found = {(v.task_id, v.answer): v for v in judging.judge(pairs)}
    return [found[p.task_id, a.digest] for p, a in pairs]


def outcomes(problem, texts):
    return [v.outcome for v in verdicts([problem] * len(texts), texts)]


def test_a_row_becomes_a_problem_whose_answer_is_a_whole_program(tmp_path):
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", ROW))
    assert problem.task_id == "Mbpp/11"
    tests = unit_tests(problem.reference)
    assert (tests.entry_point, tests.whole, tests.timeout) == ("double", True, 0.0)
    assert "\r" not in problem.solution + problem.prompt
    right, wrong = problem.solution, "def double(n):\n  return n + 2\n"
    assert outcomes(problem, [right, wrong, "def other(n):\n  return 2 * n\n"]) == [
        "passed",
        "failed",
        "failed",
    ]


def test_setup_code_stands_before_the_tests(tmp_path):
    row = ROW | {"test_setup_code": "x = helper(3)\r\n", "test_list": ["assert double(x) == 6"]}
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", row))
    assert outcomes(problem, [problem.solution]) == ["passed"]


def test_a_function_may_be_called_check_as_the_test_is(tmp_path):
    row = ROW | {
        "code": "def check(n):\n  return n == 1",
        "test_list": ["assert check(1) == True", "assert check(2) == False"],
    }
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", row))
    wrong = "def check(n):\n  return True"
    none = "def other(n):\n  return n == 1"
    found = verdicts([problem] * 3, [problem.solution, wrong, none])
    assert [(v.outcome, v.kind, v.suspect) for v in found] == [
        ("passed", "", ()),
        ("failed", "wrong_answer", ()),
        ("failed", "no_function", ()),
    ]


def test_tests_of_evalplus_get_into_check(tmp_path):
    (problem,) = read_mbpp(write(tmp_path / "plus.jsonl", PLUS))
    assert problem.task_id == "Mbpp/12"
    assert outcomes(problem, [problem.solution, "def double(n):\n  return 2\n"]) == [
        "passed",
        "failed",
    ]


def test_a_json_array_is_read_as_lines_are(tmp_path):
    array = tmp_path / "sanitized-mbpp.json"
    array.write_text(json.dumps([ROW, PLUS]))
    assert read_mbpp(array) == read_mbpp(write(tmp_path / "mbpp.jsonl", ROW, PLUS))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task_id": None}, "line 1: field 'task_id' is None, not a number or a name"),
        ({"test_list": "x"}, "line 1: field 'test_list' is no list of texts"),
        ({"test_list": []}, "line 1: field 'test_list' has no test"),
        ({"test_list": ["assert ("]}, "line 1: field 'test_list': no Python"),
        ({"test_list": ["assert 1", "assert double(1)"]}, "its tests call no function in common"),
        ({"code": 3}, "line 1: field 'code' is int, not a string"),
        ({"base_input": []}, "give evalplus's MbppPlus-OriginFmt.jsonl instead"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, says):
    with pytest.raises(UsageError, match=says):
        read_mbpp(write(tmp_path / "mbpp.jsonl", ROW | change))


def test_a_base_model_is_asked_with_examples_and_no_example_asks_for_itself(tmp_path):
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", ROW))
    text = problem.phrased.text
    assert (text.count("[BEGIN]"), text.count("[DONE]")) == (4, 3)
    assert text.endswith("assert abs(double(-1)) == 2\n[BEGIN]\n")
    assert problem.phrased.stop == ("[DONE]",)
    assert "double" in problem.phrased.messages[0][1]
    (second,) = read_mbpp(write(tmp_path / "m.jsonl", ROW | {"task_id": 2}))
    assert second.phrased.text.count("[DONE]") == 2
    assert EXAMPLES[0][1] not in second.phrased.text


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("chat", "Sure:\n```python\ndef double(n):\n    return 2 * n\n```\nIt doubles."),
        ("completion", "def double(n):\n    return 2 * n\n"),
        ("completion", "def double(n):\n    return 2 * n\nThat is all.\nBye."),
        ("verbatim", "def double(n):\n    return 2 * n\n"),
        ("solution", "def double(n):\n    return 2 * n\n"),
    ],
)
def test_a_program_is_taken_from_every_style(tmp_path, style, text):
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", ROW))
    program = PythonTests().extract(problem, text, style)
    assert program.strip() == "def double(n):\n    return 2 * n"


def test_the_doctor_has_wrong_examples_that_define_the_function(tmp_path):
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", ROW))
    examples = PythonTests().examples(problem)
    assert outcomes(problem, examples.right) == ["passed"]
    assert "passed" not in outcomes(problem, examples.wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mbpp/mbpp", 974),
        pytest.param("mbppplus/MbppPlus-OriginFmt", 378, marks=pytest.mark.repeats),
    ],
)
def test_all_reference_solutions_pass_by_the_default_judge(name, count):
    problems = read_mbpp(shared(f"{name}.jsonl.gz"))
    assert len(problems) == count
    found = verdicts(problems, [p.solution for p in problems])
    assert not [(v.task_id, v.detail) for v in found if v.outcome != "passed"]


@pytest.mark.slow
def test_reference_solutions_in_codets_form_pass():
    """Ten tests have lost their import of `math`, a solution a comment's indentation."""
    problems = read_mbpp(shared("mbpp/mbpp_sanitized_humaneval_form.jsonl.gz"))
    assert len(problems) == 427
    found = verdicts(problems, [p.prompt + p.solution for p in problems])
    assert not [(v.task_id, v.detail) for v in found if v.outcome != "passed"]


def test_a_test_without_its_import_of_math_gets_it_out_of_the_program_s_sight(tmp_path):
    row = {
        "task_id": "MbppEval/98",
        "prompt": "def half(x):\n",
        "entry_point": "half",
        "test": "def check(candidate):\n    assert math.isclose(half(1), 0.5)\n",
        "canonical_solution": "# a comment\n return x / 2\n",
    }
    (problem,) = read_mbpp(write(tmp_path / "mbpp.jsonl", row))
    bodies = (problem.solution, "    return math.ldexp(x, -1)\n")
    found = outcomes(problem, [problem.prompt + body for body in bodies])
    assert found == ["passed", "failed"]


@pytest.mark.slow
def test_three_tests_of_evalplus_that_assert_nothing_get_their_assert():
    problems = read_mbpp(shared("mbppplus/MbppPlus-OriginFmt.jsonl.gz"))
    mended = [p for p in problems if p.task_id in ("Mbpp/737", "Mbpp/787", "Mbpp/794")]
    given = [(p, text) for p in mended for text in PythonTests().examples(p).wrong]
    found = verdicts([p for p, _ in given], [text for _, text in given])
    assert {v.outcome for v in found} == {"failed"}
    found = verdicts(mended, [p.solution for p in mended])
    assert [v.outcome for v in found] == ["passed"] * 3
