"""A Python file of the user's takes and judges answers: what it is told, may say, and cannot do."""

import json
import re
import signal
from pathlib import Path

import pytest

from toolkit.config import Config, Engine, Evaluation, ProblemSet, Quantity, Sampling
from toolkit.errors import UsageError
from toolkit.launch.doctor_judge import examine_judge
from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.problems.task import read_task
from toolkit.records import Answer, answer_digest
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.run import open_run
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest
from toolkit.verifiers import extract_process
from toolkit.verifiers.base import check_node, open_verifier
from toolkit.verifiers.extract_process import ExtractFailed, Extractor
from toolkit.verifiers.judge_source import read_source
from toolkit.verifiers.judges import choice_of_task, judge_of, judge_of_run, with_files_of

ROWS = [
    {"task_id": f"t/{n}", "question": f"What divides {n}?", "number": n, "solution": str(n // 2)}
    for n in (4, 6, 10)
]
FILE = """
import re

VERSION = 1


def extract(problem, text):
    found = re.findall("[0-9]+|boom", text)
    return found[-1] if found else None


def judge(problem, answer):
    value = int(answer)
    return 1 < value < problem["number"] and problem["number"] % value == 0, str(value)
"""
TOML = """
problems = "rows.jsonl"
[prompt]
template = "{question}"
stop = ["What"]
[judge]
kind = "file"
file = "check.py"
seconds = 10
"""
EXTRACT, JUDGE = "def extract(problem, text):\n    ", "def judge(problem, answer):\n    "


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "task.toml").write_text(TOML)
    (tmp_path / "check.py").write_text(FILE)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


@pytest.fixture
def stop():
    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)}
    yield StopRequest()
    for number, handler in before.items():
        signal.signal(number, handler)


def task_in(folder, source=None, toml=TOML):
    if source is not None:
        (folder / "check.py").write_text(source)
    (folder / "task.toml").write_text(toml)
    task = read_task(str(folder / "task.toml"))
    return task.problems(task.data), choice_of_task(task)


def judge(folder, *texts, source=None, toml=TOML):
    """The verdicts on the answers in these completions of the first problem; None: no answer."""
    problems, choice = task_in(folder, source, toml)
    verifier = open_verifier(choice)
    answers = [verifier.extract(problems[0], text, "chat") for text in texts]
    pairs = [(problems[0], Answer("t/4", answer_digest(a), a)) for a in answers if a is not None]
    with verifier.judging(problems, judge_of(choice), workers=1, isolation="strongest") as judging:
        found = {v.answer: v for v in judging.judge(pairs)}
    return [None if a is None else found[answer_digest(a)] for a in answers]


def judging(body, imports=""):
    """A file whose `judge` has this body; the answer is the text."""
    return f"{imports}\nVERSION = 1\n{EXTRACT}return text\n{JUDGE}{body}\n"


def test_the_file_takes_the_answer_and_says_what_it_is(folder):
    right, wrong, none, broken = judge(folder, "1 or 02", "It is 3.", "no idea", "boom")
    assert (right.outcome, right.canonical, right.kind, right.detail) == ("passed", "2", "", "")
    assert (wrong.outcome, wrong.kind, wrong.canonical) == ("failed", "wrong_answer", "3")
    assert none is None
    assert broken.outcome == "error"
    assert broken.detail.startswith("judge: ValueError: invalid literal")


ASKED = {"task_id": "t/4", "question": "What divides 4?", "number": 4}
WORDS = [
    ("return True", "passed", ""),
    ("return False", "failed", "judge says no"),
    ("return False, None", "failed", "judge says no"),
    (f"return problem == {ASKED}", "passed", ""),
    ("return None", "error", "judge gave NoneType, not True or False"),
    ("return 1", "error", "judge gave int, not True or False"),
    ("return True, 7", "error", "judge gave int as the canonical form"),
    ("raise SystemExit(0)", "error", "SystemExit: 0"),
    ("return judge(problem, answer)", "error", "RecursionError"),
    ("import os; os._exit(0)", "error", "told no verdict"),
    ("import os; os.kill(os.getpid(), 11)", "error", "SIGSEGV"),
    ("bytearray(3 << 30)", "failed", "MemoryError"),
    ("while True: pass", "timed_out", "timed out"),
    ("open('/etc/shadow')", "error", "No such file"),
    ("import nowhere", "error", "ModuleNotFoundError"),
    ("return fractions.Fraction(1, 2) == 0.5", "passed", ""),
]


@pytest.mark.slow
def test_what_a_judge_may_say(folder):
    lines = (f"if answer == '{n}':\n        {body}" for n, (body, _, _) in enumerate(WORDS))
    source = judging("\n    ".join(lines), "import fractions")
    toml = TOML.replace("seconds = 10", "seconds = 0.5")
    verdicts = judge(folder, *map(str, range(len(WORDS))), source=source, toml=toml)
    for verdict, (body, outcome, says) in zip(verdicts, WORDS, strict=True):
        assert (verdict.outcome, body) == (outcome, body)
        assert says in verdict.detail
        assert bool(verdict.detail) == (outcome != "passed")


def test_answers_find_nothing_of_one_another(folder):
    source = judging("seen.append(1); return len(seen) == 1", "seen = []")
    verdicts = judge(folder, *map(str, range(6)), source=source)
    assert [v.outcome for v in verdicts] == ["passed"] * 6


def test_a_long_canonical_form_is_shortened_but_stays_its_own(folder):
    source = judging("return True, 'x' * 300 + answer")
    one, other = judge(folder, "1", "2", source=source)
    assert one.canonical != other.canonical
    assert len(one.canonical) == len(other.canonical) == 200


def test_thoughts_and_what_follows_a_stop_string_are_no_answer(folder):
    problems, choice = task_in(folder)
    verifier = open_verifier(choice)
    assert verifier.extract(problems[0], "<think>9</think> 2", "chat") == "2"
    assert verifier.extract(problems[0], "<think>9", "chat") is None
    assert verifier.extract(problems[0], "2 What divides 7?", "completion") == "2"


def extractor(folder, body, **limits):
    (folder / "check.py").write_text(f"VERSION = 1\n{EXTRACT}{body}\n{JUDGE}return True\n")
    return Extractor(read_source(folder / "check.py"), folder / "check.py", **limits)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise KeyError(text)", "KeyError: 'x'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("return 7", "gave int, not a text or None"),
        ("return 'x' * 2_000_000", "gave 2000000 characters"),
        ("return bytes(5 << 30)", "MemoryError"),
        ("import os; os._exit(3)", "its process ended with status 3"),
        ("import os; os.kill(os.getpid(), 11)", "its process was ended by signal 11"),
        ("return 'y' if problem['wait'] is False else 9 ** 9 ** 9", "took over 0.2 s of CPU time"),
        ("import time; time.sleep(9 if problem['wait'] else 0); return 'y'", "took over 1.5 s"),
    ],
)
def test_an_extract_that_fails_does_so_for_its_text_only(folder, body, why):
    limits = {"wall_seconds": 1.5} if "sleep" in body else {"cpu_seconds": 0.2}
    extract = extractor(folder, body, **limits).extract
    with pytest.raises(ExtractFailed, match=re.escape(why)):
        extract('{"wait": true}', "x")
    if "wait" in body:
        assert extract('{"wait": false}', "x") == "y"


def test_an_extract_may_print_and_keeps_nothing_of_the_job_s_descriptors(folder):
    body = "import sys; print('x' * 100_000); return sys.stdin.read() + text[::-1]"
    extract = extractor(folder, body).extract
    assert extract("{}", "a\ud800\x00é") == "é\x00\ud800a"


def test_a_job_gives_up_on_an_extract_that_costs_hours(folder, monkeypatch):
    monkeypatch.setattr(extract_process, "MOST_LOST_SECONDS", 0.05)
    extract = extractor(folder, "while True: pass", cpu_seconds=0.1).extract
    with pytest.raises(UsageError, match="mend it, and launch again with --task"):
        extract("{}", "x")


def test_a_file_that_cannot_be_executed_is_one_line(folder):
    (folder / "check.py").write_text(FILE + "\n1 / 0\n")
    extract = Extractor(read_source(folder / "check.py"), Path("check.py")).extract
    with pytest.raises(UsageError, match=r"check\.py: cannot be executed: ZeroDivisionError"):
        extract("{}", "x")


def test_an_extract_that_raises_is_our_error_and_no_missing_answer(folder):
    source = f"VERSION = 1\n{EXTRACT}return text[5]\n{JUDGE}return True\n"
    short, long = judge(folder, "2", "a longer text", source=source)
    assert (short.outcome, short.detail) == (
        "error",
        "extract: IndexError: string index out of range",
    )
    assert long.outcome == "passed"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "[judge] file = 'check.py': no such file in"),
        ("VERSION = 1\ndef extract(p, t: pass", "check.py, line 2: not Python"),
        (FILE.replace("VERSION = 1", ""), "VERSION is missing"),
        (FILE.replace("VERSION = 1", "VERSION = True"), "VERSION is missing"),
        (FILE.replace("def judge", "def decide"), "has no function 'judge'"),
        (FILE.replace("def extract", "def take"), "has no function 'extract'"),
        ("from . import helper\n" + FILE, "line 1: imports a file beside it"),
        ("import helper\n" + FILE, "imports helper, which is not installed on this node"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_judge_is_one_line(folder, source, says):
    (folder / "check.py").unlink()
    (folder / "helper.py").write_text("")
    if source is not None:
        data = source if isinstance(source, bytes) else source.encode()
        (folder / "check.py").write_bytes(data)
    with pytest.raises(UsageError, match=re.escape(says)) as refused:
        check_node(judge_of(task_in(folder)[1]))
    assert "\n" not in str(refused.value)


def test_a_setting_that_names_no_file_is_one_line(folder):
    with pytest.raises(UsageError, match="file is missing; name the judge's Python file"):
        task_in(folder, toml=TOML.replace('file = "check.py"', ""))


def test_a_changed_file_is_another_judge_and_takes_answers_anew(folder):
    choice = task_in(folder)[1]
    first, verifier = judge_of(choice), open_verifier(choice)
    assert first.settings["own_version"] == "1"
    changed = task_in(folder, FILE.replace("VERSION = 1", "VERSION = 'b'"))[1]
    assert judge_of(changed).digest != first.digest
    assert open_verifier(changed).extraction != verifier.extraction
    for use in (
        lambda: check_node(first),
        lambda: verifier.extract(task_in(folder)[0][0], "2", ""),
    ):
        with pytest.raises(UsageError, match="is not as it was at the launch; put it back, or"):
            use()
    (folder / "check.py").unlink()
    with pytest.raises(UsageError, match=r"check\.py is no longer there; put it back, or"):
        check_node(first)


def test_only_the_same_judge_is_taken_over_with_changed_files(folder):
    first = judge_of(task_in(folder)[1])
    changed = task_in(folder, FILE + "# more\n")[1]
    assert with_files_of(first, changed) == judge_of(changed)
    assert with_files_of(first, None) == first
    (folder / "other.py").write_text(FILE + "# other\n")
    other = task_in(folder, toml=TOML.replace("check.py", "other.py"))[1]
    assert with_files_of(first, other) == first


def test_a_run_whose_judge_has_changed_is_judged_again_by_a_launch(folder, stop):
    task_in(folder)
    rows = [{"task_id": row["task_id"], "completion": text} for row in ROWS for text in "2x"]
    (folder / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = Config(
        sampling=Sampling(backend="replay"),
        problem_set=ProblemSet(task=str(folder / "task.toml")),
        quantity=Quantity(samples=2),
        engine=Engine(replay_file=str(folder / "made.jsonl")),
    )
    plan = plan_launch(config, folder, folder / "run")
    run = freeze_launch(plan)
    assert run_sampling(run, tasks_of(plan)[0], config, stop)

    def passes():
        assert evaluate_run(open_run(run.path), Evaluation(), workers=1).complete
        return count_outcomes(run, judge_of_run(run))["c"].to_list()

    assert passes() == [1, 1, 1]
    strict = FILE.replace('problem["number"] % value == 0', 'problem["number"] == 10')
    (folder / "check.py").write_text(
        strict.replace("[0-9]+|boom", "[0-9x]").replace("int(", "len(")
    )
    with pytest.raises(UsageError, match="is not as it was at the launch"):
        plan_launch(config, folder, run.path, problems=run.problems())
    again = plan_launch(config, folder, run.path)
    assert not again.missing
    freeze_launch(again)
    assert passes() == [0, 0, 0]
    (folder / "check.py").write_text(strict)
    freeze_launch(plan_launch(config, folder, run.path))
    assert passes() == [0, 0, 1]
    assert judge_of_run(run).settings["own_version"] == "1"


def test_the_doctor_fails_a_judge_that_raises_on_wrong_answers(folder):
    for source, fails in ((FILE, set()), (FILE.replace("[0-9]+|boom", ".+"), {"judge", "problem"})):
        problems, choice = task_in(folder, source)
        found = list(examine_judge(problems, judge_of(choice), "strongest", 1))
        assert {f.subject for f in found if f.grade == "fail"} == fails
        assert "all 3 known solutions pass" in {f.found for f in found}
    assert any(f.found.startswith("t/4: error: judge: ValueError") for f in found)
