"""Array tasks with several engines, on the real Slurm with four fake GPUs a node, and locally."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_jobs import ROOT, assert_each_sample_once, job

from toolkit.backends.processes import all_processes, descendants
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import read_facts

pytestmark = pytest.mark.slow

FOUR = ("--array", "1", "--engines-per-task", "4", "--gpus", "a100:4")


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def command_of(process):
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def tasks_of(run):
    """The processes of the sampling tasks of a run; a forked engine looks like its task."""
    mark = str(run.slurm_dir).encode()
    own = {
        p.pid: p for p in all_processes() if mark in command_of(p) and p.name.startswith("python")
    }
    return [p for p in own.values() if p.parent not in own]


def facts_of(run):
    return [read_facts(path) for path in run.samples_dir.glob("*.parquet")]


@pytest.mark.slurm
def test_four_engines_on_four_gpus_of_a_node_and_one_is_killed(cluster, tmp_path):
    run = Run(tmp_path / "run")
    work = ("--preset", "smoke", "--limit", "4", "--samples", "60", "--slice-samples", "6")
    where = ("--launcher", "slurm", "--run", "run", *FOUR, "--synthetic-rate", "4")
    command = [sys.executable, str(ROOT / "jobs" / "launch.py"), *work, *where]
    said = tmp_path / "said"
    with said.open("wb") as file:
        launch = subprocess.Popen(command, cwd=tmp_path, env=cluster, stdout=file)
    # The array may be at work before the jobs after it are submitted.
    wait_for(lambda: len(run.done()) >= 2, "the first shards")
    (task,) = tasks_of(run)
    engines = descendants(task.pid)
    os.kill(engines[1].pid, signal.SIGKILL)
    assert len(engines) == 4
    assert launch.wait(120) == 0
    assert "engines    4 in each sampling array task, 4 in all" in said.read_text()
    queue = ("squeue", "--noheader")
    wait_for(
        lambda: (
            not subprocess.run(queue, env=cluster, capture_output=True, text=True).stdout.strip()
        ),
        "the end of the jobs",
    )
    assert_each_sample_once(run.path, problems=4, n=60)
    assert not list(run.partial_dir.glob("*"))
    assert {(f.origin.slot, f.origin.gpus) for f in facts_of(run)} == {
        (slot, str(slot)) for slot in range(4)
    }
    status = job("status.py", "run", "--json", cwd=tmp_path, env=cluster)
    assert status.returncode == 0, status.stdout
    told = json.loads(status.stdout)
    assert (told["spent"]["tasks"], told["spent"]["engines"]) == (1, 4)
    # Four GPUs were held from the job's start to its end, whatever the engines did.
    assert told["cost"]["on_gpus"]
    log = "".join(path.read_text() for path in run.slurm_dir.glob("*_0_log.out"))
    assert log.count("starting it again") == 1


@pytest.mark.vllm
@pytest.mark.repeats
@pytest.mark.parametrize("launcher", ["slurm", "local"])
def test_the_core_of_one_of_two_vllm_engines_is_killed(launcher, tmp_path, tiny_model, request):
    """Each core is a process of its own, as on a GPU. The GPUs are fake: vLLM computes on the CPU."""
    environment = request.getfixturevalue("cluster") if launcher == "slurm" else os.environ
    environment = environment | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "SLURM_TMPDIR": str(tmp_path),
        **({} if launcher == "slurm" else {"CUDA_VISIBLE_DEVICES": "4,7"}),
    }
    run = Run(tmp_path / "run")
    work = ("--limit", "4", "--samples", "120", "--slice-samples", "6", "--slice-seeds", "6")
    pace = ("--max-tokens", "100", "--max-num-seqs", "2", "--top-p", "1", "--replicates", "100")
    where = ("--launcher", launcher, "--run", "run", "--array", "1", "--engines-per-task", "2")
    asked = ("--gpus", "2", "--cpus", "2", "--mem-gib", "8", "--cpu-kv-cache-gib", "1")
    judged = ("--eval-cpus", "2", "--eval-mem-gib", "4", "--wait")
    command = ("--model", tiny_model, *work, *pace, *where, *asked, *judged)
    launch = subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "launch.py"), *map(str, command)],
        cwd=tmp_path,
        env=environment,
    )
    try:
        wait_for(run.done, "the first shard", 600)
        (task,) = tasks_of(run)
        cores = [p.pid for p in descendants(task.pid) if p.name.startswith("VLLM::EngineCor")]
        os.kill(min(cores), signal.SIGKILL)  # of the one that is up: the other has just begun
        assert launch.wait(900) == 0
    finally:
        launch.kill()
        launch.wait()
    assert_each_sample_once(run.path, problems=4, n=120)
    assert "killed by SIGKILL" in log_of(run)
    assert log_of(run).count("starting it again") == 1
    gpus = {"0", "1"} if launcher == "slurm" else {"4", "7"}
    assert {a.origin.gpus for f in facts_of(run) for a in f.attempts()} == gpus
    assert not [p for p in all_processes() if p.name.startswith("VLLM::") and belongs(p, tmp_path)]


def belongs(process, folder):
    try:
        return str(folder).encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return False


def log_of(run):
    return "".join(path.read_text() for path in run.slurm_dir.glob("*_0_log.out"))
