"""Why a task failed, from logs and from answers of sacct as a real Slurm has given them."""

import json
import os
import re
import shutil

import pytest
from run_jobs import ROOT

from toolkit.launch.accounting import Accounts, parse_attempts, read_accounts
from toolkit.launch.causes import Evidence, cause_of
from toolkit.launch.failures import read_failures
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.queue import QueuedJob
from toolkit.launch.status import read_status
from toolkit.resolve import resolve
from toolkit.runs.history import Launch, append_launch, record_cancellation, record_job
from toolkit.verifiers.judges import judge_of_run

START = """submitit INFO (2026-11-26 08:10:19,571) - Starting with JobEnvironment(job_id=34_0, hostname=n1, local_rank=0(1), node=0(1), global_rank=0(1))
submitit INFO (2026-11-26 08:10:19,571) - Loading pickle: run/slurm/34_0_submitted.pkl
2026-11-26T08:10:20Z n1 begins: {stage}
2026-11-26T08:10:24Z n1 1 of 1 slices to sample
"""
DONE = """submitit INFO (2026-11-26 08:10:42,496) - Job completed successfully
submitit INFO (2026-11-26 08:10:42,496) - Exiting after successful completion
"""
TRACEBACK = """submitit ERROR (2026-11-26 08:10:24,067) - Submitted job triggered an exception
Traceback (most recent call last):
  File "submitit/core/submission.py", line 69, in process_job
    raise error
{frames}toolkit.errors.{kind}: {said}
2026-11-26T08:10:24Z n1 failed: {kind}: {said}
srun: error: node1: task 0: Exited with exit code 1
"""
FRAMES = "".join(f'  File "x.py", line {i}, in f\n    g()\n' for i in range(150))
REQUEUED = """slurmstepd-node1: error: *** JOB 38 ON node1 CANCELLED AT 2026-11-26T08:13:29 DUE TO JOB REQUEUE ***
slurmstepd-node1: error: *** STEP 38.0 ON node1 CANCELLED AT 2026-11-26T08:13:29 DUE TO JOB REQUEUE ***
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
srun: error: node1: task 0: Terminated
"""
OOM = """slurmstepd-node1: error: Detected 1 oom-kill event(s) in StepId=1.0. Some of your processes may have been killed by the cgroup out-of-memory handler.
srun: error: node1: task 0: Out Of Memory
"""
POLLED = """slurmstepd-node1: error: StepId=13.0 exceeded memory limit (71929856 > 62914560), being killed
slurmstepd-node1: error: Exceeded job memory limit
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
slurmstepd-node1: error: *** STEP 13.0 ON node1 CANCELLED AT 2026-11-26T08:08:26 ***
srun: error: node1: task 0: Killed
"""
TIME = """slurmstepd-node1: error: *** JOB 33 ON node1 CANCELLED AT 2026-11-26T08:10:32 DUE TO TIME LIMIT ***
"""
CANCELLED = """srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
slurmstepd-node1: error: *** JOB 5 ON node1 CANCELLED AT 2026-11-26T08:03:54 ***
srun: forcing job termination
slurmstepd-node1: error: *** STEP 5.0 ON node1 CANCELLED AT 2026-11-26T08:03:54 ***
srun: error: node1: task 0: Terminated
"""
KILLED = """srun: error: node1: task 0: Killed
srun: Force Terminated StepId=28.0
"""
NO_PYTHON = """slurmstepd-node1: error: execve(): /home/me/.venv/bin/python: No such file or directory
srun: error: node1: task 0: Exited with exit code 2
"""
NO_SUBMITIT = """/usr/bin/python3: Error while finding module specification for 'submitit.core._submit' (ModuleNotFoundError: No module named 'submitit')
srun: error: node1: task 0: Exited with exit code 1
"""

ROW = "7|sample|{state}|{code}|{seconds}|billing=1,cpu=1,gres/gpu=2,mem=60M,node=1|node1|2026-11-26T08:03:45"
STEP = "7.0|python|{state}|{code}|3|cpu=1,mem=60M,node=1|node1|2026-11-26T08:03:45"


def sacct(state, code="0:0", step="", step_code="0:0", seconds=120):
    rows = [ROW.format(state=state, code=code, seconds=seconds)]
    return [*rows, STEP.format(state=step, code=step_code)] if step else rows


def failing(kind, said, frames=""):
    return START + TRACEBACK.format(kind=kind, said=said, frames=frames)


def plain(log):
    return START + log


NO_VLLM = (
    "vllm cannot be imported (libcudart.so.12: cannot open shared object file); on a GPU node run "
    "`pip install -e '.[vllm]'`, for the CPU build run `make install`"
)
FULL = (
    "/run/samples/r000-s0000.parquet: cannot be written: No space left on device; make room or mend "
    "the permissions, then launch again to sample what is missing"
)
GATED = "vLLM cannot start with meta-llama/Llama-3-8B: You are trying to access a gated repo."
WEAK = "this node cannot confine programs: no user namespaces; see docs/isolation.md, or use --isolation weak"

CASES = {
    # kind of case: stage, log, answer of sacct, kind, words of the cause, words of the remedy
    "memory, Slurm's poll": ("sample", plain(POLLED), None, "memory", "more memory", "--mem"),
    "memory, the job": (
        "evaluate",
        None,
        sacct("OUT_OF_MEMORY", "0:125"),
        "memory",
        "60M",
        "--eval-mem",
    ),
    "memory, only the step": (
        *("sample", plain(OOM), sacct("FAILED", "1:0", "OUT_OF_MEMORY", "0:125")),
        *("memory", "used more memory than it may: it was given 60M", "--mem"),
    ),
    "memory, no accounting": ("fit", plain(OOM), None, "memory", "more memory", "--eval-mem"),
    "memory of a GPU": (
        *(
            "sample",
            failing(
                "EngineFailure", "vLLM died: torch.OutOfMemoryError: CUDA out of memory. Tried"
            ),
        ),
        *(None, "gpu memory", "CUDA out of memory", "--max-num-seqs"),
    ),
    "time limit": (
        "sample",
        TIME,
        sacct("TIMEOUT", seconds=7200),
        "time limit",
        "limit after 120 min",
        "--time",
    ),
    "time limit, no accounting": (
        "evaluate",
        plain(TIME),
        None,
        "time limit",
        "limit",
        "--eval-time",
    ),
    "node failure": (
        *("sample", plain("srun: error: Node failure on node3\n"), sacct("NODE_FAIL")),
        *("node failure", "its node failed (node1)", "--resume"),
    ),
    "preempted": ("sample", None, sacct("PREEMPTED"), "preempted", "higher priority", "--resume"),
    "cancelled by its user": (
        *("sample", plain(CANCELLED), sacct(f"CANCELLED by {os.getuid()}")),
        *("cancelled", "cancelled by its user, ", "--resume"),
    ),
    "cancelled by another": (
        "fit",
        None,
        sacct("CANCELLED by 54321"),
        "cancelled",
        "by 54321",
        "--resume",
    ),
    "cancelled, no accounting": (
        "sample",
        plain(CANCELLED),
        None,
        "cancelled",
        "cancelled",
        "--resume",
    ),
    "setup": (
        *("sample", "setup line failed: module load nothing\n", sacct("FAILED", "1:0")),
        *("setup", "setup line failed: module load nothing", "--setup"),
    ),
    "python missing": (
        "sample",
        NO_PYTHON,
        sacct("FAILED", "2:0"),
        "python",
        "/home/me/.venv/bin/python cannot",
        "nodes",
    ),
    "submitit missing": (
        "sample",
        NO_SUBMITIT,
        None,
        "import",
        "No module named 'submitit'",
        "install",
    ),
    "vllm missing": (
        *("sample", failing("UsageError", NO_VLLM, FRAMES), sacct("FAILED", "1:0")),
        *("import", "vllm cannot be imported (libcudart.so.12", "pip install -e '.[vllm]'"),
    ),
    "disk full": (
        "sample",
        failing("ToolkitError", FULL),
        None,
        "disk full",
        "No space left on device",
        "make room",
    ),
    "quota": (
        "fit",
        failing("ToolkitError", "run: Disk quota exceeded"),
        None,
        "disk full",
        "quota",
        "raise the quota",
    ),
    "engine": (
        *("sample", failing("EngineFailure", "vLLM died: EngineDeadError: see above"), None),
        *("engine", "vLLM died: EngineDeadError", "engine's own words"),
    ),
    "gated model": (
        "sample",
        failing("EngineFailure", GATED),
        None,
        "model",
        "gated repo",
        "--resume",
    ),
    "isolation": (
        "evaluate",
        failing("IsolationUnavailable", WEAK),
        None,
        "isolation",
        "no user namespaces",
        "weak",
    ),
    "evaluation killed": (
        "evaluate",
        "",
        sacct("FAILED", "0:9"),
        "killed",
        "signal 9",
        "--eval-mem",
    ),
    "killed, told by srun": ("sample", plain(KILLED), None, "killed", "signal 9", "--mem"),
    "killed, told by the step": (
        *("fit", plain(""), sacct("FAILED", "9:0", "CANCELLED", "0:9")),
        *("killed", "signal 9", "--eval-mem"),
    ),
    "crash": (
        *("sample", plain("srun: error: node1: task 0: Segmentation fault\n"), None),
        *("crash", "signal 11 (Segmentation fault)", "--resume"),
    ),
    "exit code": ("fit", "", sacct("FAILED", "3:0"), "exit", "exit code 3", "--resume"),
    "next round refused": (
        *(
            "next",
            failing("ToolkitError", "sbatch refused the job: sbatch: error: invalid account"),
            None,
        ),
        *("refused", "invalid account", "--partition"),
    ),
    "nothing to fit": (
        *(
            "fit",
            failing(
                "ToolkitError", "no sample has a verdict yet: sample and evaluate first, then fit"
            ),
        ),
        *(
            sacct("FAILED", "1:0"),
            "nothing to fit",
            "no sample has a verdict",
            "what failed before",
        ),
    ),
    "bug": (
        "fit",
        failing("KeyError", "'task_id'"),
        None,
        "bug",
        "KeyError: 'task_id'",
        "report it",
    ),
    "before our code": (
        *(
            "sample",
            "Traceback (most recent call last):\n  File ...\nModuleNotFoundError: No module named 'polars'\n",
        ),
        *(None, "import", "No module named 'polars'", "install"),
    ),
    "vanished": ("sample", None, None, "vanished", "gone without a log", "--resume"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 4}
    return freeze_launch(plan_launch(resolve(flags), tmp_path_factory.mktemp("runs")))


@pytest.fixture
def run(template, tmp_path, monkeypatch):
    """A run of which nothing is sampled, and a cluster whose queue is empty."""
    shutil.rmtree(template.slurm_dir)
    template.slurm_dir.mkdir()
    (template.path / "launches.jsonl").unlink(missing_ok=True)
    for name in ("squeue", "sacct"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return template


def launched(run, time="2026-11-26T08:00:00+00:00", **jobs):
    append_launch(run, Launch(time, "slurm", jobs))


def leave(run, name, log):
    (run.slurm_dir / f"{name}_submitted.pkl").touch()
    if log is not None:
        (run.slurm_dir / f"{name}_0_log.out").write_text(log)


def accounts_of(lines):
    found = {}
    for attempt in parse_attempts(lines or []):
        found.setdefault(attempt.task, []).append(attempt)
    return Accounts(found)


@pytest.mark.parametrize("case", CASES)
def test_status_says_why_in_one_line_with_a_remedy(case, run):
    stage, log, answer, kind, cause, remedy = CASES[case]
    launched(run, **{stage: "7"})
    leave(run, "7", log and log.replace("{stage}", stage))
    accounts = accounts_of(answer)
    lacking = {"sample", "evaluate"}
    (found,) = read_failures(run, lacking, [], accounts)
    assert (found.stage, found.kind, found.job, found.tasks) == (stage, kind, "7", [])
    assert cause in found.cause
    assert remedy in found.remedy
    assert "\n" not in found.line()
    assert found.log == ("" if log is None else "slurm/7_0_log.out")
    if stage == "evaluate":
        return  # status shows it where samples wait for verdicts, and here are none
    status = read_status(run, judge_of_run(run), accounts)
    assert [x for x in status.text().splitlines() if x.startswith("failed")] == [
        f"failed     {found.line()}"
    ]
    (told,) = json.loads(status.json())["failures"]
    assert (told["stage"], told["kind"], told["job"]) == (stage, kind, "7")
    assert (told["cause"], told["remedy"]) == (found.cause, found.remedy)
    only_again = "launch again to sample what is missing" in status.text()
    assert only_again == found.again


def test_ten_kinds_and_more_are_told_apart():
    assert len({case[3] for case in CASES.values()}) >= 18


def test_array_tasks_with_the_same_cause_are_one_line(run):
    launched(run, sample="12", evaluate="13")
    for i in range(10):
        said = FULL.replace("s0000", f"s000{i}")
        leave(run, f"12_{i}", failing("ToolkitError", said).format(stage="sample"))
    leave(run, "12_10", failing("UsageError", NO_VLLM).format(stage="sample"))
    leave(run, "12_12", failing("UsageError", NO_VLLM).format(stage="sample"))
    leave(run, "12_11", (START + DONE).format(stage="sample"))
    full, missing = read_failures(run, {"sample"}, [], Accounts())
    assert (full.tasks, missing.tasks) == (list(range(10)), [10, 12])
    assert full.line().startswith("sample tasks 0-9: /run/samples/r000-s0000.parquet: cannot be")
    assert full.line().endswith("(slurm/12_0_0_log.out)")
    assert missing.line().startswith("sample tasks 10, 12: vllm cannot be imported")


def test_what_is_in_the_queue_or_made_good_has_not_failed(run):
    launched(run, sample="12", evaluate="13", fit="14")
    log = failing("UsageError", NO_VLLM).format(stage="sample")
    leave(run, "12_0", log)
    leave(run, "12_1", log)
    leave(run, "13", log)
    leave(run, "14", log)
    waiting = QueuedJob("12_1", "sample", "PENDING", "", "BeginTime", 1)
    found = read_failures(run, {"sample"}, [waiting], Accounts())
    assert [(f.stage, f.tasks) for f in found] == [("sample", [0]), ("fit", [])]
    (run.results_dir / "fit.json").write_text("{}")
    assert read_failures(run, set(), [], Accounts()) == []
    os.utime(run.results_dir / "fit.json", (1, 1))
    assert [f.stage for f in read_failures(run, set(), [], Accounts())] == ["fit"]
    (run.results_dir / "fit.json").unlink()
    launched(run, evaluate="15", fit="16")
    leave(run, "15", (START + DONE).format(stage="evaluate"))
    leave(run, "16", (START + DONE).format(stage="fit"))
    assert read_failures(run, {"evaluate"}, [], Accounts()) == []


def test_only_the_newest_attempt_counts(run):
    launched(run, sample="7")
    first = plain(POLLED).format(stage="sample") + REQUEUED
    leave(run, "7", first + (START + DONE).format(stage="sample"))
    assert read_failures(run, {"sample"}, [], Accounts()) == []
    leave(run, "7", first + failing("UsageError", NO_VLLM).format(stage="sample"))
    assert [f.kind for f in read_failures(run, {"sample"}, [], Accounts())] == ["import"]
    # The setup fails before submitit says that it starts.
    leave(run, "7", first + "setup line failed: module load cuda\n")
    assert [f.kind for f in read_failures(run, {"sample"}, [], Accounts())] == ["setup"]
    both = sacct("NODE_FAIL") + sacct("COMPLETED")
    assert read_failures(run, {"sample"}, [], accounts_of(both)) == []


def test_a_queue_that_is_not_known_makes_no_failures(run):
    launched(run, sample="7", fit="8")
    leave(run, "7", START.format(stage="sample"))
    assert read_failures(run, {"sample"}, None, Accounts()) == []
    leave(run, "7", failing("UsageError", NO_VLLM).format(stage="sample"))
    assert [f.kind for f in read_failures(run, {"sample"}, None, Accounts())] == ["import"]
    running = accounts_of([ROW.format(state="RUNNING", code="0:0", seconds=5)])
    assert read_failures(run, {"sample"}, None, running) == []


def test_a_pending_job_that_was_cancelled_leaves_no_trace_but_ours(run):
    launched(run, sample="7", fit="8")
    record_cancellation(run, ["8", "7"])
    found = read_failures(run, {"sample"}, [], Accounts())
    assert {(f.kind, f.cause) for f in found} == {("cancelled", "cancelled by `jobs/cancel.py`")}


def test_a_local_process_is_known_by_its_log(run):
    append_launch(run, Launch("2026-11-26T08:00:00+00:00", "local"))
    dead = "999999999"
    leave(run, dead, failing("UsageError", NO_VLLM).format(stage="evaluate"))
    leave(run, "999999998", (START + DONE).format(stage="sample"))
    (found,) = read_failures(run, {"evaluate"}, [], Accounts())
    assert (found.stage, found.kind, found.job) == ("evaluate", "import", dead)
    killed = START.format(stage="sample").replace("hostname=n1", f"hostname={os.uname().nodename}")
    leave(run, dead, killed)
    (found,) = read_failures(run, {"sample"}, [], Accounts())
    assert found.kind == "killed"
    assert "--array" in found.remedy
    leave(run, dead, killed.replace(os.uname().nodename, "elsewhere"))
    assert read_failures(run, {"sample"}, [], Accounts()) == []


def test_answers_that_got_no_verdict_are_said_though_the_task_ended_well(run):
    launched(run, evaluate="7")
    said = "8 samples are 3 distinct answers; 3 judged in 1.2 s (2/s); 2 undecided (not the model's fault)"
    leave(run, "7", START.format(stage="evaluate") + f"2026-11-26T08:10:24Z n1 {said}\n" + DONE)
    (found,) = read_failures(run, {"evaluate"}, [], Accounts())
    assert (found.kind, found.cause[:24]) == ("undecided", "2 answers got no verdict")
    assert f"python jobs/evaluate.py {run.path}" in found.remedy


ANSWER = """\
38|sample-x|REQUEUED|0:0|3|billing=1,cpu=1,mem=100M,node=1|node1|2026-11-26T08:13:26
38.batch|batch|CANCELLED|0:15|3|cpu=1,mem=100M,node=1|node1|2026-11-26T08:13:26
38.0|sleep|CANCELLED|0:15|3|cpu=1,mem=100M,node=1|node1|2026-11-26T08:13:26
38|sample-x|FAILED|5:0|1|billing=1,cpu=1,mem=100M,node=1|node1|2026-11-26T08:13:29
38.batch|batch|FAILED|5:0|1|cpu=1,mem=100M,node=1|node1|2026-11-26T08:13:42
39_0|sample-x|COMPLETED|0:0|3|billing=1,cpu=1,gres/gpu:a100=2,mem=100M,node=1|node1|2026-11-26T08:13:29
39_[1-3%1]|sample-x|PENDING|0:0|0||None assigned|2026-11-26T08:13:29
5|fit|CANCELLED by 0|0:0|9|billing=1,cpu=1,mem=200M,node=1|node1|2026-11-26T08:03:45
"""


def test_an_answer_of_sacct_is_read(run):
    requeued, failed, array, cancelled = parse_attempts(ANSWER.splitlines())
    assert (requeued.task, requeued.state, requeued.signal) == ("38", "REQUEUED", 15)
    assert (failed.state, failed.exit_code, failed.signal) == ("FAILED", 5, 0)
    assert (array.task, array.submission, array.gpus, array.memory) == ("39_0", "39", 2, "100M")
    assert (cancelled.state, cancelled.by, cancelled.seconds) == ("CANCELLED", 0, 9)


def test_accounting_is_asked_once_and_jobs_of_others_are_left_out(run, tmp_path):
    launched(run, sample="38", **{"sample-2": "39"}, fit="5")
    (tmp_path / "sacct").write_text(
        f"#!/bin/sh\necho \"$@\" >>{tmp_path}/asked\ncat <<'END'\n"
        + ANSWER.replace("|fit|", "|somebody's|").replace("39_0|", "39_1|")
        + "39_0|sample-x|COMPLETED|0:0|3||node1|2020-11-26T08:13:29\nEND\n"
    )
    found = read_accounts(run)
    assert {task: [x.state for x in known] for task, known in found.attempts.items()} == {
        "38": ["REQUEUED", "FAILED"],
        "39_1": ["COMPLETED"],
    }
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "--duplicates" in asked
    assert "--jobs=38,39,5" in asked


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            "echo 'Slurm accounting storage is disabled' >&2; exit 1",
            "`sacct` failed: Slurm accounting storage is disabled",
        ),
        ("exec sleep 60", "`sacct` gave no answer in 1 s"),
    ],
)
def test_a_silent_accounting_is_one_line_and_the_rest_is_shown(
    answer, says, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("toolkit.launch.accounting.ANSWER_SECONDS", 1.0)
    launched(run, sample="7")
    leave(run, "7", failing("UsageError", NO_VLLM).format(stage="sample"))
    (tmp_path / "sacct").write_text(f"#!/bin/sh\n{answer}\n")
    lines = read_status(run, judge_of_run(run)).text().splitlines()
    (line,) = [x for x in lines if x.startswith("accounts")]
    assert line.startswith(f"accounts   not known: {says}")
    assert [x for x in lines if x.startswith("failed     sample: vllm cannot be imported")]
    assert [x for x in lines if x.startswith("sampled    0/8 samples")]


def test_a_run_without_jobs_asks_nobody(run, tmp_path):
    for name in ("squeue", "sacct"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    append_launch(run, Launch("2026-11-26T08:00:00+00:00", "local"))
    read_status(run, judge_of_run(run))
    assert not (tmp_path / "asked").exists()


def test_the_path_in_a_remedy_is_one_word(run):
    found = cause_of(Evidence("sample", None), run.path / "a b")
    assert "--run '" in found.remedy


def test_the_page_lists_every_kind():
    table = (ROOT / "docs" / "failures.md").read_text().partition("## When a run fails")[2]
    listed = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            listed |= set(re.findall(r"`([^`]+)`", line.split("|")[1]))
    source = "".join(
        (ROOT / "toolkit" / "launch" / f"{n}.py").read_text() for n in ("causes", "failures")
    )
    made = set(re.findall(r'Cause\(\s*"([a-z ]+)"', source))
    assert made - listed == set()


def test_a_launch_that_was_refused_or_killed_is_said(run):
    launched(run, sample="7")
    leave(run, "7", failing("UsageError", NO_VLLM).format(stage="sample"))
    begun = Launch("2026-11-26T09:00:00+00:00", "slurm", launch="0a1b2c3d")
    append_launch(run, begun)
    (killed, old) = read_failures(run, {"sample"}, [], Accounts())
    assert (killed.stage, killed.kind, killed.again) == ("launch", "interrupted", True)
    assert killed.cause == f"launched at {begun.time}: killed before it had submitted all its jobs"
    assert old.kind == "import"
    record_job(run, "0a1b2c3d", "sample", "9")
    record_job(run, "0a1b2c3d", "fit", "10")
    found = read_failures(run, {"sample"}, [], Accounts())
    assert [(f.stage, f.kind) for f in found] == [("sample", "vanished"), ("fit", "vanished")]
    said = f"{run.path}: sbatch refused the stage sample: invalid partition; nothing is submitted"
    record_cancellation(run, ["9", "10"], "0a1b2c3d", said)
    (refused, old) = read_failures(run, {"sample"}, [], Accounts())
    assert (refused.kind, refused.again, old.kind) == ("refused", False, "import")
    assert refused.cause.endswith("sbatch refused the stage sample: invalid partition")
    assert f"--run {run.path} --partition NAME`" in refused.remedy
    text = read_status(run, judge_of_run(run)).text()
    assert f"failed     launch: {refused.cause}; {refused.remedy}" in text
