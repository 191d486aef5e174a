"""A problem's own time limit counts where the judge's is shorter."""

from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, JudgeChoice, answer_digest
from toolkit.verifiers.judges import judge_of
from toolkit.verifiers.python_tests import PythonTests, time_limits

SLEEPS = "import time\n\ndef f():\n    time.sleep(1.5)\n    return 1\n"
TEST = "def check(f):\n    assert f() == 1\n"


def test_the_longer_limit_counts():
    problems = [python_problem("a", "", TEST, "f"), python_problem("b", "", TEST, "f", timeout=9.0)]
    assert time_limits(problems, 3.0) == {"a": 3.0, "b": 9.0}
    assert time_limits(problems, 20.0) == {"a": 20.0, "b": 20.0}


def test_a_program_is_judged_under_the_limit_of_its_problem():
    problems = [
        python_problem("a", "", TEST, "f", whole=True),
        python_problem("b", "", TEST, "f", timeout=30.0, whole=True),
    ]
    judge = judge_of(JudgeChoice("python_tests", (("timeout", 0.5),)))
    pairs = [(p, Answer(p.task_id, answer_digest(SLEEPS), SLEEPS)) for p in problems]
    with PythonTests().judging(problems, judge, workers=1, isolation="strongest") as judging:
        outcomes = {v.task_id: v.outcome for v in judging.judge(pairs)}
    assert outcomes == {"a": "timed_out", "b": "passed"}
