"""A command of the user's decides: what it is told, what it may say, what it reaches."""

import json
import re
import sys

import pytest
from run_jobs import ROOT, files, job

from toolkit.errors import UsageError
from toolkit.problems.task import read_task
from toolkit.records import Answer, answer_digest
from toolkit.verifiers.base import check_node, open_verifier
from toolkit.verifiers.judges import choice_of_task, judge_of

ROWS = [
    {"task_id": f"t/{n}", "question": f"What divides {n}?", "number": n, "solution": str(n // 2)}
    for n in (4, 6, 10)
]
CHECK = """
import json, sys
answer, problem = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
value = int(answer)
right = 1 < value < problem["number"] and problem["number"] % value == 0
print(json.dumps({"passed": right, "canonical": str(value), "detail": f"{value} does not divide"}))
"""
TOML = """
problems = "rows.jsonl"
[prompt]
template = "{question}"
[judge]
kind = "command"
command = "python3 check.py {answer} {problem}"
seconds = 10
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "task.toml").write_text(TOML)
    (tmp_path / "check.py").write_text(CHECK)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def judge(folder, *texts, **changes):
    """The verdicts on these answers to the first problem; changes: of the task's file."""
    text = TOML
    for key, value in changes.items():
        old = next(line for line in TOML.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(old, f"{key} = {json.dumps(value)}")
    (folder / "task.toml").write_text(text)
    task = read_task(str(folder / "task.toml"))
    choice = choice_of_task(task)
    verifier, problems = open_verifier(choice), task.problems(task.data)
    answers = [verifier.extract(problems[0], text, "chat") for text in texts]
    pairs = [(problems[0], Answer("t/4", answer_digest(text), text)) for text in answers]
    with verifier.judging(problems, judge_of(choice), workers=2, isolation="strongest") as judging:
        found = {v.answer: v for v in judging.judge(pairs)}
    return [found[answer_digest(text)] for text in answers]


def shell(folder, script):
    """A checker that is a script of the shell."""
    (folder / "check.sh").write_text(script)
    return "sh check.sh {answer} {problem}"


def test_the_command_gets_answer_and_problem_and_says_what_they_are(folder):
    right, wrong, none = judge(folder, " 02", "3", "two")
    assert (right.outcome, right.canonical, right.kind, right.detail) == ("passed", "2", "", "")
    assert (wrong.outcome, wrong.kind, wrong.canonical) == ("failed", "wrong_answer", "3")
    assert wrong.detail == "the command: 3 does not divide"
    assert (none.outcome, none.canonical) == ("failed", "")
    assert "status 1" in none.detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("exit 0", "passed"),
        ("exit 1", "failed"),
        ("exit 77", "failed"),
        ("echo fine", "passed"),
        ("""echo '{"passed": true}'""", "passed"),
        ("""echo '{"passed": true}'; exit 1""", "failed"),
        ("""echo '{"passed": false}'""", "failed"),
        ("""echo '{"passed": "yes"}'""", "failed"),
        ("""echo '{"canonical": 7, "detail": []}'""", "passed"),
        ("echo '[1]'", "passed"),
        ("kill -9 $$", "failed"),
        ("while :; do :; done", "timed_out"),
        ("sleep 99", "timed_out"),
        ("grep -q '^2$' $1", "passed"),
        ("test -e $2 && ! test -e rows.jsonl", "passed"),
        ("cat /etc/shadow", "failed"),
        ("echo x > check.sh; echo x > $0", "failed"),
    ],
)
def test_what_a_command_may_say(folder, script, outcome):
    (verdict,) = judge(folder, "2", command=shell(folder, script), seconds=1)
    assert verdict.outcome == outcome
    assert bool(verdict.detail) == (outcome != "passed")


def test_a_command_reads_what_it_names_and_nothing_else_beside_its_task(folder):
    look = f"cat {folder}/rows.jsonl"
    (verdict,) = judge(folder, "2", command=shell(folder, look))
    assert verdict.outcome == "failed"
    inside = folder / "judge"
    inside.mkdir()
    (inside / "check.py").write_text("import helper\nhelper.check()\n")
    (inside / "helper.py").write_text("def check(): pass\n")
    command = "python3 judge/check.py {answer}"
    (verdict,) = judge(folder, "2", command=command)
    assert verdict.outcome == "passed"
    (inside / "helper.py").write_text("def check(): raise SystemExit(1)\n")
    (verdict,) = judge(folder, "2", command=command)
    assert verdict.outcome == "failed"


def test_answers_find_nothing_of_one_another(folder):
    script = "test -e seen -o -e /tmp/seen && exit 1; touch seen /tmp/seen"
    verdicts = judge(folder, *map(str, range(8)), command=shell(folder, script))
    assert [v.outcome for v in verdicts] == ["passed"] * 8


def test_a_changed_checker_is_another_judge(folder):
    task = read_task(str(folder / "task.toml"))
    first = judge_of(choice_of_task(task))
    check_node(first)
    assert judge_of(choice_of_task(task)).digest == first.digest
    (folder / "check.py").write_text(CHECK + "# more\n")
    assert judge_of(choice_of_task(task)).digest != first.digest
    with pytest.raises(UsageError, match="is not as it was at the launch"):
        check_node(first)


def test_a_moved_task_is_the_same_judge(folder):
    (folder / "old").mkdir()
    for name in ("task.toml", "check.py"):
        (folder / name).rename(folder / "old" / name)
    first = judge_of(choice_of_task(read_task(str(folder / "old/task.toml"))))
    (folder / "old").rename(folder / "new")
    with pytest.raises(UsageError, match="if the task has moved, launch again with --task"):
        check_node(first)
    moved = choice_of_task(read_task(str(folder / "new/task.toml")))
    assert judge_of(moved).digest == first.digest
    assert first.choice.placed_as(moved) == moved
    check_node(judge_of(first.choice.placed_as(moved)))
    (folder / "new/check.py").write_text(CHECK + "# more\n")
    other = choice_of_task(read_task(str(folder / "new/task.toml")))
    assert first.choice.placed_as(other) == first.choice


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "command is missing; write one"),
        ("python3 check.py", "has no {answer}, the file with the answer; add it"),
        ("python3 'check.py {answer}", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_is_refused(folder, command, says):
    (folder / "task.toml").write_text(TOML.replace("python3 check.py {answer} {problem}", command))
    before = files(folder)
    done = job("launch.py", "--task", "task.toml", "--backend", "synthetic", cwd=folder)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files(folder) == before


@pytest.mark.parametrize("program", ["no-such-program", "./check.py"])
def test_a_program_that_is_absent_is_one_line(folder, program):
    (folder / "task.toml").write_text(TOML.replace("python3 check.py", program))
    task = read_task(str(folder / "task.toml"))
    with pytest.raises(UsageError, match="is no program on this node"):
        check_node(judge_of(choice_of_task(task)))


def test_a_program_that_the_system_does_not_start_is_no_failure_of_the_answer(folder):
    program = folder / "check"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    (verdict,) = judge(folder, "2", command="check {answer}")
    assert verdict.outcome == "error"
    assert "cannot be started" in verdict.detail


def test_the_python_of_a_command_is_that_of_the_toolkit(folder):
    (folder / "check.py").write_text(f"import sys\nassert sys.prefix == {sys.prefix!r}\n")
    (verdict,) = judge(folder, "2", command="python3 check.py {answer}")
    assert verdict.outcome == "passed"


def test_the_checker_that_the_page_shows_is_one(folder):
    page = (ROOT / "docs" / "own-judge.md").read_text()
    (shown,) = re.findall(r"`check.py`[^`\n]*:\n\n```python\n(.*?)```", page, re.DOTALL)
    (folder / "check.py").write_text(shown)
    assert TOML.partition("[judge]")[2].split("seconds")[0].replace(" ", "") in page.replace(
        " ", ""
    )
    right, wrong = judge(folder, "2", "3")
    assert (right.outcome, right.canonical, wrong.outcome) == ("passed", "2", "failed")


@pytest.mark.slow
def test_a_task_with_a_command_runs_from_the_doctor_to_its_report(folder):
    done = job("doctor.py", "--task", "task.toml", "--backend", "synthetic", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 3 known solutions pass" in done.stdout
    flags = ("--backend", "synthetic", "--launcher", "inline", "--samples", "6", "--run", "run")
    flags += ("--replicates", "100")
    done = job("launch.py", "--task", "task.toml", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "judge      command, version 1" in done.stdout
    fitted = json.loads((folder / "run/results/fit.json").read_text())
    assert fitted["judge"]["settings"]["command"] == "python3 check.py {answer} {problem}"
    moved = folder / "moved"
    moved.mkdir()
    for name in ("task.toml", "check.py", "rows.jsonl"):
        (folder / name).rename(moved / name)
    done = job("launch.py", "--task", "moved/task.toml", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "run/manifest.json").read_text())
    assert manifest["judge"]["settings"]["folder"] == str(moved)
