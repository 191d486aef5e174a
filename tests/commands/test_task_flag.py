"""--task on the jobs: which problems, which prompt, which judge, and the same runs as before."""

import json

import polars as pl
import pytest
from run_here import job
from run_jobs import ROOT, files
from shared_data import shared

from toolkit.config import ProblemSet
from toolkit.launch.identity import run_identity
from toolkit.problems.task import task_names
from toolkit.resolve import resolve
from toolkit.runs.history import recorded_config
from toolkit.runs.run import identity_digest, open_run
from toolkit.stages.task import load_task

OLD = ROOT / "tests" / "data" / "runs-0.1.0"
ROWS = [
    {"task_id": f"sums/{n}", "question": f"What is {n} + {n}?", "answer": 2 * n}
    for n in range(1, 5)
]
TOML = """
problems = "sums.jsonl"
[prompt]
template = "Question: {question}\\nAnswer:"
stop = ["Question:"]
style = "completion"
[judge]
kind = "number"
"""
PROGRAM = "print(2 * int(input()))\n"
SYNTHETIC = (
    *("--task", "sums.toml", "--backend", "synthetic", "--launcher", "inline"),
    *("--replicates", "100"),
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sums.toml").write_text(TOML)
    write(tmp_path, ROWS)
    return tmp_path


def write(folder, rows):
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def refused(done):
    """What is said of a usage error, without the job's name."""
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr.partition(": ")[2].rstrip()


@pytest.mark.slow
def test_a_wrong_name_lists_the_tasks_with_a_line_each(tmp_path):
    said = refused(job("launch.py", "--task", "gsm9k", "--dry-run", cwd=tmp_path)).splitlines()
    assert said[0] == "--task gsm9k: no such task; give a TOML file, or one of:"
    assert [line.split()[0] for line in said[1:]] == task_names()
    assert not files(tmp_path)


@pytest.mark.slow
def test_a_user_s_task_runs_to_its_report(folder):
    done = job("launch.py", *SYNTHETIC, "--samples", "8", "--run", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "problems   4 of sums, n = 8 each" in done.stdout
    assert "judge      number, version 1, answer last_number" in done.stdout
    assert "completion prompts" in done.stdout
    manifest = open_run(folder / "run").manifest()
    assert manifest["judge"] == {"verifier": "number", "settings": {}}
    assert manifest["task"]["name"] == "sums"
    assert len(manifest["task"]["sha256"]) == 64
    counts = json.loads((folder / "run/results/fit.json").read_text())
    assert counts["judge"]["verifier"] == "number"
    # The run holds all it needs: neither of the two files is read again.
    (folder / "sums.toml").unlink()
    (folder / "sums.jsonl").unlink()
    again = job("launch.py", "--resume", "--run", "run", "--samples", "12", cwd=folder)
    assert again.returncode == 0, again.stderr
    problem = open_run(folder / "run").problems()[0]
    assert problem.phrased.text == "Question: What is 1 + 1?\nAnswer:"
    assert problem.phrased.stop == ("Question:",)


@pytest.mark.slow
def test_what_the_model_gets_is_shown_exactly(folder):
    show = ("launch.py", *SYNTHETIC, "--dry-run", "--show-prompt")
    done = job(*show, "sums/2", cwd=folder)
    asked = "Question: What is 2 + 2?\nAnswer:"
    assert done.stdout == f'[text]\n{asked}\n\n[stop]\n["Question:"]\n'
    done = job(*show, "sums/2", "--prompt-style", "chat", "--chat-arg", "think=false", cwd=folder)
    arguments = "[chat template's arguments]\n" + '{"think": false}'
    assert done.stdout == f"[user]\n{asked}\n\n{arguments}\n\n[stop]\n[]\n"
    said = refused(job(*show, "sums/9", cwd=folder))
    assert said == "--show-prompt sums/9: no such problem; valid: sums/1 ... sums/4"
    said = refused(job("launch.py", *SYNTHETIC, "--show-prompt", "sums/2", cwd=folder))
    assert "give --dry-run as well" in said
    assert {p.name for p in files(folder)} == {"sums.toml", "sums.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("kind = 'nothing'", "[judge] kind = 'nothing': not known; valid: python_tests"),
        ("kind = 'number'\nspeed = 1", "[judge] speed: unknown setting; valid: answer"),
        ("kind = 'number'\nanswer = 1", "[judge] answer = 1: must be a str"),
        ("kind = 'number'\nanswer = 'x'", "the rule 'x' is unknown; valid: boxed"),
        ("kind = 'number'\nseconds = 5", "[judge] timeout: unknown setting; valid: answer"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_before_anything_is_written(folder, change, says):
    (folder / "sums.toml").write_text(TOML.replace('kind = "number"', change))
    before = files(folder)
    for name in ("launch.py", "doctor.py"):
        said = refused(job(name, "--task", "sums.toml", "--backend", "synthetic", cwd=folder))
        assert says in said
        assert "\n" not in said
    assert files(folder) == before


@pytest.mark.slow
def test_the_user_s_words_come_after_the_task_s(folder):
    (folder / "p.toml").write_text(
        "[sampling]\nbackend = 'synthetic'\nprompt_style = 'chat'\n"
        "[problem_set]\ntask = 'sums.toml'\n"
    )
    done = job("launch.py", "--preset", "p.toml", "--dry-run", cwd=folder)
    assert ", chat prompts" in done.stdout, done.stderr
    flags = ("--preset", "p.toml", "--prompt-style", "completion", "--dry-run")
    assert ", completion prompts" in job("launch.py", *flags, cwd=folder).stdout


def doctor(folder, *flags):
    """subject -> its line, and the exit code."""
    command = ("doctor.py", "--task", "sums.toml", "--backend", "synthetic", *flags)
    done = job(*command, cwd=folder)
    assert not done.stderr, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {rest[:12].strip(): f"{grade} {rest[14:]}" for grade, rest in lines}, done.returncode


@pytest.mark.slow
def test_the_doctor_judges_a_task_s_own_answers(folder):
    found, code = doctor(folder)
    assert code == 0
    assert found["solutions"] == "ok all 4 known solutions pass"
    assert found["wrong ones"].startswith("ok all 4 problems refuse")
    assert found["empty ones"].startswith("ok all 4 problems refuse an empty answer")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solution", "says"),
    [
        ("It is 3.", "sums/1: failed: 3 is not 2"),
        ("I do not know.", "sums/1: no answer"),
    ],
)
def test_the_doctor_finds_a_solution_that_does_not_pass(folder, solution, says):
    write(folder, [ROWS[0] | {"solution": solution}, *ROWS[1:]])
    found, code = doctor(folder)
    assert code == 1
    assert found["solutions"].startswith("fail 1 of 4 known solutions does not pass; mend")
    assert found["problem"].startswith(f"fail {says}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([ROWS[0], ROWS[0]], "line 2: field 'task_id': an earlier row has 'sums/1' already"),
        ([{"task_id": "a", "question": "x"}], "line 1: field 'answer' is missing"),
        ([], "has no problems"),
    ],
)
def test_the_doctor_names_a_bad_problem(folder, rows, says):
    write(folder, rows)
    assert says in refused(job("doctor.py", "--task", "sums.toml", cwd=folder))


@pytest.mark.slow
def test_the_doctor_is_green_on_all_of_gsm8k(tmp_path):
    data = shared("gsm8k/test.jsonl.gz")
    done = job(
        *("doctor.py", "--task", "gsm8k", "--problems", data, "--backend", "synthetic"),
        cwd=tmp_path,
    )
    assert "all 1319 known solutions pass" in done.stdout, done.stdout + done.stderr
    assert "all 1319 problems refuse an empty answer" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("name", sorted(p.name for p in OLD.iterdir()))
def test_the_flags_of_0_1_0_find_its_runs(name):
    run = open_run(OLD / name)
    recorded = recorded_config(run)
    config = resolve({}, base=recorded)
    chosen = config.problem_set
    assert chosen.task == ProblemSet().task
    found = load_task(chosen.task, chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids)
    identity = run_identity(config, found.problems)
    assert identity_digest(identity) == run.manifest()["digest"]


@pytest.mark.slow
def test_arguments_of_the_chat_template_are_identity_only_where_they_are_given(tmp_path):
    problems = load_task(limit=1).problems
    plain = run_identity(resolve({"backend": "synthetic"}), problems)
    assert "chat_args" not in run_identity(resolve({}), problems)
    with_it = run_identity(resolve({"chat_arg": ["enable_thinking=true"]}), problems)
    assert with_it["chat_args"] == {"enable_thinking": True}
    assert "chat_args" not in plain
    for bad, says in (("x", "must be key=value"), ("1x=2", "must be key=value")):
        done = job("launch.py", "--chat-arg", bad, "--model", "a/b", "--dry-run", cwd=tmp_path)
        assert says in refused(done)
    flags = ("--chat-arg", "a=1", "--prompt-style", "completion", "--model", "a/b", "--dry-run")
    assert "has no chat template" in refused(job("launch.py", *flags, cwd=tmp_path))


def test_all_that_a_task_asks_is_identity_and_how_it_judges_is_not(folder):
    def digest(toml=TOML, shot="", **flags):
        (folder / "sums.toml").write_text(toml)
        (folder / "shots.jsonl").write_text(shot)
        given = {"task": str(folder / "sums.toml"), "backend": "vllm"} | flags
        config = resolve({"prompt_style": "completion"} | given)
        return identity_digest(run_identity(config, load_task(given["task"]).problems))

    shown = TOML.replace("[prompt]", '[prompt]\nshots = "shots.jsonl"')
    shot = json.dumps({"question": "What is 1 + 4?", "answer": "5"}) + "\n"
    own = digest()
    others = [
        digest(TOML.replace("Question: {question}", "Q: {question}")),
        digest(shown, shot),
        digest(shown, shot.replace("5", "It is 5.")),
        digest(TOML.replace('["Question:"]', '["Question:", "Q:"]')),
        digest(stop=[]),
        digest(prompt_style="chat"),
        digest(prompt_style="chat", chat_arg=["enable_thinking=true"]),
        digest(prompt_style="chat", chat_arg=["enable_thinking=false"]),
    ]
    assert len({own, *others}) == 1 + len(others)
    for same in (
        digest(TOML + 'answer = "marker:#### | last_number"\n'),
        digest('about = "sums"\n' + TOML),
        digest(stop=["Question:"]),
        digest(opens_thought=True),
    ):
        assert same == own
    write(folder, [ROWS[0] | {"answer": 3}, *ROWS[1:]])
    assert digest() != own


def test_humaneval_by_its_name_is_the_run_that_no_task_names():
    problems = load_task(limit=2).problems
    named = resolve({"task": "humaneval", "chat_arg": None, "opens_thought": False})
    assert run_identity(named, problems) == run_identity(resolve({}), problems)


@pytest.mark.slow
def test_programs_by_standard_input_are_a_task_of_two_files(tmp_path):
    echo = {"input": "3\n", "output": "6\n"}
    rows = [
        {"task_id": "d/1", "question": "Double.", "tests": [echo], "solution": PROGRAM},
        {"task_id": "d/2", "question": "Double again.", "tests": [echo]},
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "d.toml").write_text(
        'problems = "d.jsonl"\n[prompt]\ntemplate = "{question}\\n"\n'
        '[judge]\nkind = "stdin"\nchecker = "float:1e-6"\nseconds = 2\nlibraries = "none"\n'
    )
    done = job("doctor.py", "--task", "d.toml", "--backend", "synthetic", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warn  solutions     the only known solution passes; no reference for 1 problem" in (
        done.stdout
    )
    assert "all 2 problems refuse an empty answer" in done.stdout
    show = ("--task", "d.toml", "--backend", "synthetic", "--dry-run")
    judge = "judge      stdin, version 1, timeout 2.0, checker float:1e-6, answer fenced"
    assert judge in job("launch.py", *show, cwd=tmp_path).stdout
    longer = job("launch.py", *show, "--timeout", "4", cwd=tmp_path)
    assert "timeout 4.0, checker float:1e-6" in longer.stdout


@pytest.mark.slow
def test_a_slow_solution_is_named(tmp_path):
    slow = "import time\ntime.sleep(1.2)\n" + PROGRAM
    row = {"task_id": "d/1", "question": "Double.", "solution": slow}
    (tmp_path / "d.jsonl").write_text(
        json.dumps(row | {"tests": [{"input": "3\n", "output": "6\n"}]})
    )
    (tmp_path / "d.toml").write_text(
        'problems = "d.jsonl"\n[prompt]\ntemplate = "{question}"\n'
        '[judge]\nkind = "stdin"\nseconds = 2\n'
    )
    done = job("doctor.py", "--task", "d.toml", "--backend", "synthetic", cwd=tmp_path)
    assert (
        "warn  slow ones     1 known solution takes over half of the time limit: d/1 (1."
        in done.stdout
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_doctor_judges_mathematics(tmp_path):
    data = shared("math/math500.jsonl.gz")
    flags = ("--task", "math500", "--problems", data, "--limit", "5", "--backend", "synthetic")
    done = job("doctor.py", *flags, cwd=tmp_path)
    assert "ok    solutions     all 5 known solutions pass" in done.stdout, done.stderr
    assert "ok    empty ones    all 5 problems refuse" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("humaneval+", "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz"),
        ("mbpp", "mbpp/mbpp.jsonl.gz"),
        ("mbpp+", "mbppplus/MbppPlus-OriginFmt.jsonl.gz"),
    ],
)
def test_programs_with_unit_tests_are_tasks_too(tmp_path, task, data):
    flags = ("--task", task, "--problems", shared(data), "--limit", "3", "--backend", "synthetic")
    done = job("doctor.py", *flags, cwd=tmp_path)
    assert "ok    solutions     all 3 known solutions pass" in done.stdout, done.stderr
    assert "ok    empty ones    all 3 problems refuse" in done.stdout


def test_a_parquet_file_reads_as_jsonl_does(tmp_path):
    path = shared("mbppplus/MbppPlus-OriginFmt.jsonl.gz")
    pl.read_ndjson(path).write_parquet(tmp_path / "mbpp.parquet")
    assert load_task("mbpp+", str(tmp_path / "mbpp.parquet")) == load_task("mbpp+", str(path))
