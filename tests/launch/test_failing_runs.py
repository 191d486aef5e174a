"""Launches that fail on a real Slurm, each in its own way, and what status says of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_jobs import ROOT, job

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SCRIPT = ROOT / "tests" / "slurm" / "cluster.sh"
TINY = (
    *("--preset", "smoke", "--launcher", "slurm", "--limit", "2", "--samples", "4"),
    *("--slice-samples", "4", "--array", "2", "--eval-cpus", "1", "--eval-mem", "2G"),
)
ONLY_SAMPLE = "[[ $SLURM_JOB_NAME == sample* ]] || exec true"
"""The later stages have nothing to add: they end at once, and well."""
NO_ACCOUNT = "Invalid account or account/partition combination specified"
GATED = "You are trying to access a gated repo. Make sure to have access to it"
GATED_VLLM = f"""
from dataclasses import dataclass
@dataclass
class EngineArgs: pass
def LLM(*a, **k): raise OSError('{GATED}')
"""


@pytest.fixture(scope="module")
def strict_cluster(tmp_path_factory):
    """A small Slurm of its own, in which the kernel ends what uses more memory than it may."""
    if os.geteuid() != 0 or not shutil.which("slurmctld", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("needs root and an installed Slurm")
    if not os.access("/sys/fs/cgroup/memory", os.W_OK):
        pytest.skip("needs the memory cgroups of version 1")
    folder = Path(f"/tmp/slurm-strict-{os.getpid()}")
    settings = {"CLUSTER_DIR": str(folder), "CLUSTER_MEMORY": "cgroup"}
    env = os.environ | settings
    subprocess.run([SCRIPT, "up", "3"], check=True, timeout=300, env=env)
    said = subprocess.run([SCRIPT, "env"], check=True, capture_output=True, text=True, env=env)
    found = dict(x.removeprefix("export ").split("=", 1) for x in said.stdout.splitlines())
    yield os.environ | found
    subprocess.run([SCRIPT, "down", "--purge"], check=True, timeout=120, env=env)


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny_model):
    """What the launches fail of: name -> flags."""
    folder = tmp_path_factory.mktemp("broken")
    for name, text in (
        ("missing", "raise ImportError('libcudart.so.12: cannot open shared object file')\n"),
        ("gated", GATED_VLLM),
    ):
        (folder / name).mkdir()
        (folder / name / "vllm.py").write_text(text)
    (folder / "bin").mkdir()
    (folder / "bin" / "sbatch").write_text(
        f"#!/bin/sh\necho 'sbatch: error: {NO_ACCOUNT}' >&2; exit 1\n"
    )
    (folder / "bin" / "sbatch").chmod(0o755)
    vllm = ("--backend", "vllm", "--model", tiny_model, "--gres", "", "--setup", ONLY_SAMPLE)
    path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    return {
        "memory": ("--slurm", "mem=30M", "--setup", ONLY_SAMPLE),
        "setup": ("--setup", "module load nothing-of-this-name"),
        "import": (*vllm, f"export PYTHONPATH={folder}/missing:{path}"),
        "model": (*vllm, f"export PYTHONPATH={folder}/gated:{path}"),
        "evaluation": ("--setup", "[[ $SLURM_JOB_NAME != evaluate* ]] || kill -9 $$"),
        "next": (
            *("--adaptive", "--stop-min", "4", "--stop-cap", "8"),
            *("--setup", f"[[ $SLURM_JOB_NAME != next* ]] || export PATH={folder}/bin:$PATH"),
        ),
        "killed": ("--synthetic-rate", "0.02", "--setup", ONLY_SAMPLE),
        "scancel": ("--synthetic-rate", "0.02", "--setup", ONLY_SAMPLE),
        "cancel": ("--slurm", "begin=now+1hour"),
        "refused": ("--partition", "nowhere"),
    }


EXPECTED = {
    # run: its failures as (stage, tasks, kind, words of the cause, words of the remedy)
    "memory": [("sample", [0, 1], "memory", "more memory than it may: it was given 30M", "--mem")],
    "setup": [
        (stage, tasks, "setup", "setup line failed: module load nothing-of-this-name", "--setup")
        for stage, tasks in (("sample", [0, 1]), ("fit", []))
    ],
    "refused": [("launch", [], "refused", "sbatch refused the stage sample: ", "--partition")],
    "import": [("sample", [0, 1], "import", "vllm cannot be imported (libcudart", "pip install")],
    "model": [("sample", [0, 1], "model", "gated repo", "--resume")],
    "evaluation": [
        ("evaluate", [], "killed", "signal 9, without a word", "--eval-mem"),
        ("fit", [], "nothing to fit", "no sample has a verdict", "what failed before"),
    ],
    "next": [("next", [], "refused", NO_ACCOUNT, "--partition")],
    "killed": [("sample", [0], "killed", "signal 9, without a word", "--mem")],
    "scancel": [("sample", [0, 1], "cancelled", "cancelled by its user", "--resume")],
    "cancel": [
        ("sample", [0, 1], "cancelled", "by `jobs/cancel.py`", "--resume"),
        ("fit", [], "cancelled", "by `jobs/cancel.py`", "--resume"),
    ],
}


def launch_all(folder, env, flags):
    """Three launches at a time: most of a launch is the start of Python."""
    waiting, running = list(flags.items()), {}
    while waiting or running:
        while waiting and len(running) < 3:
            name, own = waiting.pop(0)
            command = [sys.executable, ROOT / "jobs" / "launch.py", *TINY, "--run", name, *own]
            running[name] = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        name, process = next(iter(running.items()))
        said, _ = process.communicate(timeout=300)
        assert process.returncode == (1 if name == "refused" else 0), said
        del running[name]


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def squeue(env, *flags):
    command = ["squeue", "--noheader", *flags]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return done.stdout.split()


def recorded_jobs(run):
    lines = (run / "launches.jsonl").read_text().splitlines()
    return {stage: job for line in lines for stage, job in json.loads(line)["jobs"].items()}


def sampling_processes(run, env):
    """The Python of each array task of a run that samples by now."""
    array = recorded_jobs(run)["sample"]
    found = []
    for log in sorted(run.glob(f"slurm/{array}_*_log.out")):
        task = log.name.removesuffix("_0_log.out")
        if re.search(r"slices? to sample", log.read_text()):
            # srun and the engine have the same words in their command or environment.
            said = subprocess.run(
                ["pgrep", "--full", f"^{sys.executable} .*_submit {run}/slurm"],
                env=env,
                capture_output=True,
                text=True,
            )
            words = f"SLURM_ARRAY_TASK_ID={task.partition('_')[2]}".encode()
            for pid in map(int, said.stdout.split()):
                if words in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
                    break
    return found


def end_by_hand(folder, env):
    """What people and the kernel do to jobs."""
    wait_for(lambda: len(sampling_processes(folder / "scancel", env)) == 2, "two array tasks")
    subprocess.run(["scancel", recorded_jobs(folder / "scancel")["sample"]], env=env, check=True)
    wait_for(lambda: len(sampling_processes(folder / "killed", env)) == 2, "two more")
    os.kill(sampling_processes(folder / "killed", env)[0], signal.SIGKILL)
    assert job("cancel.py", "cancel", cwd=folder, env=env).returncode == 0


def test_status_explains_every_failure(strict_cluster, broken, tmp_path):
    env = strict_cluster
    launch_all(tmp_path, env, broken)
    end_by_hand(tmp_path, env)
    jobs = recorded_jobs(tmp_path / "killed")

    def only_the_survivor():
        left = squeue(env, "--array", "--format=%i")
        return left and all(x.partition("_")[0] in jobs.values() for x in left)

    wait_for(only_the_survivor, "the end of all others")
    # Accounting hears of the end some time after the queue does.
    wait_for(lambda: not unfinished(env, tmp_path, broken), "accounting", 60)
    for name, expected in EXPECTED.items():
        shown = job("status.py", name, cwd=tmp_path, env=env)
        told = json.loads(job("status.py", name, "--json", cwd=tmp_path, env=env).stdout)
        assert shown.returncode == 1, (name, shown.stdout)
        found = [(f["stage"], f["tasks"], f["kind"]) for f in told["failures"]]
        assert found == [x[:3] for x in expected], (name, shown.stdout)
        lines = [x for x in shown.stdout.splitlines() if x.startswith("failed ")]
        assert len(lines) == len(expected), (name, shown.stdout)
        for line, (stage, tasks, _, cause, remedy) in zip(lines, expected, strict=True):
            who = f"{stage} tasks 0-1" if len(tasks) == 2 else f"{stage} task 0" if tasks else stage
            assert line.startswith(f"failed     {who}: "), line
            assert cause in line
            assert remedy in line.partition(cause)[2], line
    assert job("cancel.py", "killed", cwd=tmp_path, env=env).returncode == 0


def unfinished(env, folder, names):
    """The jobs that accounting believes to run, though the queue has them no more."""
    ids = [j for name in names if name != "killed" for j in recorded_jobs(folder / name).values()]
    command = ["sacct", "-XPn", "--format=State", f"--jobs={','.join(ids)}"]
    said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return re.findall("RUNNING|PENDING|COMPLETING", said)
