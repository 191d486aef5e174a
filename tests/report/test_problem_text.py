"""One problem in a terminal: what is said, and that nothing of a model reaches the terminal."""

import pytest
from made_runs import PASSED, made_run
from run_here import here

from toolkit.problems.humaneval import python_problem
from toolkit.records import Problem, Sample
from toolkit.report.problem_text import shown

ASSERT = ("failed", "wrong_answer", "test line 2: assert f(2) == 4", ())
HOSTILE = "x = 1\x1b[2J\x1b]0;owned\x07\r\x9b1A \u202e\u200b\tend\n"


def asked(name):
    return python_problem(name, "def f(n):\n", "def check(f):\n    assert f(2) == 4\n", "f")


def says(text):
    if "right" in text:
        return PASSED
    if "broken" in text:
        return ("error", "", "the worker has ended", ())
    if "later" in text:
        return None
    return ("failed", "exception", "E: \x1b[31m" + text, ()) if "raise" in text else ASSERT


@pytest.fixture
def run(tmp_path):
    texts = ["right", "wrong 1", "wrong 2", "raise", "broken", "later", "wrong 2", HOSTILE]
    samples = [
        Sample("a/1", i, text, 5, "length" if text == "raise" else "stop")
        for i, text in enumerate(texts)
    ]
    samples += [Sample("a/2", 0, "right", 5, "stop"), Sample("a/3", 0, "later", 5, "stop")]
    asks = [asked(f"a/{i}") for i in range(1, 5)]
    return made_run(tmp_path / "run", asks, samples, says)


def told(run, name):
    done = here("browse", run.path, "--problem", name)
    assert done.code == 0, done.all()
    return done.out.splitlines()


def test_reasons_are_counted_and_one_completion_is_shown(run):
    assert told(run, "a/1") == [
        "a/1: 1 of 6 samples passed, 7 distinct answers",
        "failures: wrong answer 4, exception 1",
        "errors of the judge, which are no failures: 1",
        "not judged, or beyond where sampling stopped: 1",
        "cut at max_tokens: 1",
        "",
        "why its samples fail, the most frequent reason first:",
        "      4  wrong answer: test line 2: assert f(2) == 4",
        "      1  exception: E: \\x1b[31mraise",
        "      1  error: the worker has ended",
        "",
        "one of them, seed 2 (wrong answer):",
        "  | wrong 2",
    ]
    assert not run.results_dir.exists() or not list(run.results_dir.glob("browse.html"))


def test_a_problem_without_failures_verdicts_or_samples(run):
    assert told(run, "a/2")[0] == "a/2: 1 of 1 sample passed, 1 distinct answer"
    assert "one of them, seed 0 (passed):" in told(run, "a/2")
    assert told(run, "a/3")[:2] == [
        "a/3: 1 sample, 1 distinct answer",
        "not judged, or beyond where sampling stopped: 1",
    ]
    assert told(run, "a/4") == ["a/4: no samples yet"]


def test_a_number_says_what_was_compared(tmp_path):
    number = Problem("n", "How many?", "number", '{"answer": "17"}')
    samples = [Sample("n", 0, "I think\nit is 1,000.0", 3, "stop")]
    run = made_run(
        tmp_path / "n", [number], samples, lambda text: ASSERT, answer_of=lambda text: "1000"
    )
    here("browse", run.path)
    out = told(run, "n")
    assert "judged of it: 1000" in out
    assert out[-1].endswith("/results/browse.html#n")


def test_nothing_that_a_model_writes_moves_the_cursor(tmp_path):
    ends = HOSTILE + "y" * 5000 + "\n" * 100 + "last"
    run = made_run(tmp_path / "h", [asked("a/1")], [Sample("a/1", 0, ends, 5, "stop")], says)
    out = "\n".join(told(run, "a/1"))
    assert out.isprintable() or set(out) - set(map(chr, range(32, 127))) <= {"\n", "\t"}
    assert "x = 1\\x1b[2J\\x1b]0;owned\\x07\\r\\x9b1A \\u202e\\u200b\tend" in out
    assert "more lines" in out
    assert len(out) < 2000
    assert shown("\ud800 \u2028") == "\\ud800 \\u2028"
    assert shown("ä é 漢 ∀\t\n") == "ä é 漢 ∀\t\n"


def test_what_is_wrong_is_said_in_one_line(run, tmp_path):
    done = here("browse", run.path, "--problem", "a/11")
    assert done.code == 2
    (error,) = done.errors
    assert "--problem a/11" in error
    assert "it has 4, such as a/1" in error
    done = here("browse", run.path, "--problem", "a/1", "--output", tmp_path / "page.html")
    assert done.code == 2
    assert "leave --output out" in done.errors[0]
    assert not (tmp_path / "page.html").exists()
