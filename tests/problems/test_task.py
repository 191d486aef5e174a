"""Tasks as TOML files: the built-in ones, a user's, and what is said of one that cannot be used."""

import json
import re

import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.models.hub_cache import COMMIT
from toolkit.problems.phrase import Phrasing, fill
from toolkit.problems.task import read_task, task_names

OWN = """
about    = "sums"
problems = "sums.jsonl"

[prompt]
template = "Question: {question}\\nAnswer:"
stop     = ["Question:"]

[judge]
kind    = "number"
answer  = "last_number"
"""
ROWS = [
    {"task_id": "a", "question": "1+1?", "answer": 2, "hint": "small"},
    {"task_id": 7, "question": "2+2?", "answer": "4", "solution": "It is 4."},
]


def write(folder, text=OWN, rows=ROWS, name="sums.toml"):
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / name).write_text(text)
    return str(folder / name)


def load(path):
    task = read_task(path)
    return task.problems(task.data)


def test_a_user_s_task_is_two_files(tmp_path):
    first, second = load(write(tmp_path))
    assert (first.task_id, second.task_id) == ("a", "7")
    assert first.kind == "number"
    assert json.loads(first.reference) == {"answer": "2"}
    assert second.solution == "It is 4."
    assert first.phrased.text == "Question: 1+1?\nAnswer:"
    assert first.phrased.messages == (("user", "Question: 1+1?\nAnswer:"),)
    assert first.phrased.stop == ("Question:",)


def test_a_template_may_name_other_fields_and_hold_braces(tmp_path):
    text = OWN.replace("Question: {question}", "{question} ({hint}) in \\\\boxed{} {x}")
    rows = [ROWS[0], ROWS[0] | {"task_id": "b", "hint": "{question}"}]
    first, second = load(write(tmp_path, text, rows))
    assert first.phrased.text == "1+1? (small) in \\boxed{} {x}\nAnswer:"
    # What is filled in is not filled again.
    assert second.phrased.text == "1+1? ({question}) in \\boxed{} {x}\nAnswer:"


def test_examples_stand_before_the_question_or_are_turns_of_a_chat():
    shots = ({"question": "q1", "answer": "a1"}, {"question": "q2", "answer": "a2"})
    prompt = Phrasing("Q: {question}\nA:", shots, ("Q:",), system="s").prompt({"question": "q"})
    assert prompt.text == "Q: q1\nA: a1\n\nQ: q2\nA: a2\n\nQ: q\nA:"
    assert prompt.messages == (
        ("system", "s"),
        ("user", "Q: q1\nA:"),
        ("assistant", "a1"),
        ("user", "Q: q2\nA:"),
        ("assistant", "a2"),
        ("user", "Q: q\nA:"),
    )


def test_a_chat_of_its_own_has_no_examples():
    shots = ({"question": "q1", "answer": "a1"},)
    prompt = Phrasing("{question}\n", shots, chat="Do {question}").prompt({"question": "q"})
    assert prompt.messages == (("user", "Do q"),)
    assert prompt.text == "q1\na1\n\nq\n"


def test_a_field_that_the_problem_lacks_stays_as_it_is():
    assert fill(r"{a} {b} \frac{1}{2}", {"a": "{b}"}) == r"{b} {b} \frac{1}{2}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN + "[other]\nx = 1\n", "other: unknown key; valid: about, format"),
        (OWN.replace('kind    = "number"', ""), r"\[judge\] kind is missing; valid: python"),
        (OWN + "seconds = 0\n", r"\[judge\] seconds = 0: must be a number over 0"),
        (OWN + "x = [1]\n", r"\[judge\] x: must be a text"),
        (OWN.replace("template", "templat"), r"\[prompt\] templat: unknown key; valid: template"),
        (OWN.replace("{question}", "question"), "template: names no field of a; write {question}"),
        (OWN.replace('["Question:"]', '"Q"'), r"\[prompt\] stop: must be a list"),
        (OWN.replace("stop     =", "style = 'x'\nstop ="), "must be chat or completion"),
        (OWN.replace("stop     =", "shots = 'n.jsonl'\nstop ="), "shots: no such file"),
        ('format = "x"\n' + OWN, "format = 'x': not known; valid: own, humaneval, "),
        ("[judge]\nkind = 'math'\n", r"\[prompt\] template is missing"),
        ("prompt = 3\n[judge]\nkind = 'math'\n", r"prompt: must be a table"),
        (OWN + "[hub]\nfile = 'x'\n", r"\[hub\] repository is missing"),
        ("about = ", "not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        load(write(tmp_path, text))
    assert str(tmp_path / "sums.toml") in str(caught.value) or "n.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"task_id": "b", "question": "x"}, "line 2: field 'answer' is missing"),
        ({"task_id": "b", "answer": "1"}, "line 2: field 'question' is missing"),
        (ROWS[0], "line 2: field 'task_id': an earlier row has 'a' already"),
        (ROWS[0] | {"task_id": True}, "line 2: field 'task_id' is bool"),
        (ROWS[0] | {"task_id": "b", "solution": 4}, "field 'solution' is not a string"),
    ],
)
def test_a_bad_problem_is_named_with_its_field(tmp_path, row, says):
    with pytest.raises(UsageError, match=says):
        load(write(tmp_path, rows=[ROWS[0], row]))


@pytest.mark.parametrize(
    ("kind", "row", "says"),
    [
        ("stdin", {}, "field 'tests' is missing"),
        ("stdin", {"tests": []}, "field 'tests': has no tests"),
        ("stdin", {"tests": [{"input": "1"}]}, "None' is not a string"),
        ("stdin", {"tests": [{"input": "", "output": ""}], "timeout": 0}, "number of seconds"),
        ("proof", {}, "field 'statement' is missing"),
    ],
)
def test_a_problem_without_what_its_judge_needs_is_refused(tmp_path, kind, row, says):
    text = OWN.replace('"number"', f'"{kind}"')
    rows = [{"task_id": "a", "question": "x"} | row]
    with pytest.raises(UsageError, match=says):
        load(write(tmp_path, text, rows))


def test_a_wrong_name_lists_the_tasks_with_a_line_each():
    with pytest.raises(UsageError) as caught:
        read_task("gsm9k")
    first, *lines = str(caught.value).splitlines()
    assert first == "--task gsm9k: no such task; give a TOML file, or one of:"
    assert [line.split()[0] for line in lines] == task_names()
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", task_names())
def test_each_built_in_task_reads_and_says_what_it_is(name):
    task = read_task(name)
    assert task.name == name
    assert task.about
    assert len(task.about) < 100
    if task.hub:  # what is fetched is one file for ever
        assert COMMIT.fullmatch(task.hub.revision)
        assert re.fullmatch(r"[0-9a-f]{64}", task.hub.sha256)


def test_gsm8k_is_asked_as_the_field_does():
    problem = read_task("gsm8k").problems(shared("gsm8k/test.jsonl.gz"))[0]
    text = problem.phrased.text
    assert text.count("Question: ") == text.count("\nAnswer:") == 9
    assert text.endswith("at the farmers' market?\nAnswer:")
    assert "must have been 21 - 15 = 6. The answer is 6.\n\nQuestion: If there are" in text
    assert problem.phrased.stop == ("Question:",)
    (message,) = problem.phrased.messages
    assert "####" in message[1]


@pytest.mark.parametrize(
    ("name", "data"), [("math", "math/test.jsonl.gz"), ("math500", "math/math500.jsonl.gz")]
)
def test_math_is_asked_as_minerva_was(name, data):
    problem = read_task(name).problems(shared(data))[0]
    text = problem.phrased.text
    assert text.count("Problem:\n") == 5
    assert text.count(r"\boxed{") == 4
    assert "The final answer is $[2,5)$. I hope it is correct.\n\nProblem:" in text
    assert problem.phrased.stop == ("Problem:",)
    (message,) = problem.phrased.messages
    assert message[1].endswith(r"put your final answer within \boxed{}.")
