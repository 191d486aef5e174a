"""Two vLLM tasks on the real cluster, whose engines are killed, stopped, signalled and orphaned.

The engine core runs in a process of its own, as on a GPU. `make chaos` calls `engine_faults`.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from run_jobs import ROOT, assert_each_sample_once, job

from toolkit.backends.processes import Process, all_processes, kill, of_session

SAMPLES, SLICE = 160, 4
WORK = ("--limit", 2, "--samples", SAMPLES, "--slice-samples", SLICE, "--slice-seeds", SLICE)
PACE = ("--max-tokens", 200, "--max-num-seqs", 2, "--top-p", 1, "--max-requeues", 20)
WHERE = ("--launcher", "slurm", "--array", 2, "--gres", "", "--cpus", 1, "--mem-gib", 6)
SMALL = ("--eval-cpus", 2, "--eval-mem-gib", 4, "--cpu-kv-cache-gib", 1, "--run", "run")


class Engines:
    """The engines on this machine whose folders are on `disk`, and the faults that hit them."""

    def __init__(self, env: dict[str, str], disk: Path, seed: int) -> None:
        self.env, self.disk, self.random = env, disk, random.Random(seed)
        self.faults: dict[str, Callable[[list[Process]], None]] = {
            "core killed": lambda engine: self.hit("VLLM::", signal.SIGKILL, engine),
            "core stopped": lambda engine: self.hit("VLLM::", signal.SIGSTOP, engine),
            "guard killed": lambda engine: kill(p for p in engine if p.pid == p.session),
            "task killed": lambda engine: os.kill(self.task_of(engine), signal.SIGKILL),
            "core stopped, all signalled": self.signal_all,
        }

    def sessions(self) -> set[int]:
        """Each engine leads a session. Its command names its folder."""
        found = set()
        for process in all_processes():
            try:
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            except OSError:
                continue
            if f"{self.disk}/engine-".encode() in command:
                found.add(process.session)
        return found

    def working(self) -> list[list[Process]]:
        """The processes of each engine whose core is up."""
        engines = [of_session(session) for session in self.sessions()]
        return [e for e in engines if any(p.name.startswith("VLLM::") for p in e)]

    def hit(self, name: str, number: signal.Signals, engine: list[Process]) -> None:
        for process in engine:
            if process.name.startswith(name):
                os.kill(process.pid, number)

    def task_of(self, engine: list[Process]) -> int:
        """The parent of the guard, which leads the session."""
        (task,) = {p.parent for p in engine if p.pid == p.session}
        assert task > 1
        return task

    def signal_all(self, engine: list[Process]) -> None:
        """As Slurm does before a preemption; the task then puts itself back in the queue."""
        self.hit("VLLM::", signal.SIGSTOP, engine)
        for pid in [*(p.pid for p in engine), self.task_of(engine)]:
            os.kill(pid, signal.SIGUSR2)

    def squeue(self) -> str:
        command = ("squeue", "-h", "--format=%i")
        return subprocess.run(command, env=self.env, capture_output=True, text=True).stdout


def engine_faults(env: dict[str, str], folder: Path, seed: int, faults: int = 5) -> str:
    """Launch, hit, resume, compare; returns a summary, raises AssertionError on any loss."""
    disk = Path(tempfile.mkdtemp(prefix="disk-"))
    model = folder / "tiny-llama"
    subprocess.run([sys.executable, ROOT / "tests/tiny_model.py", model], check=True)
    env = env | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "TMPDIR": str(disk)}
    env |= {"SLURM_TMPDIR": str(folder)}
    engines = Engines(env, disk, seed)
    began = time.monotonic()
    flags = ("--model", model, *WORK, *PACE, *WHERE, *SMALL)
    launched = job("launch.py", *flags, cwd=folder, env=env)
    assert launched.returncode == 0, launched.stderr
    done = _strike(engines, folder / "run", faults)
    _wait_for(lambda: not engines.squeue().strip(), "the queue to be empty")
    resumes = 0
    while job("status.py", "run", cwd=folder, env=env).returncode != 0:
        resumes += 1
        assert resumes <= 3
        job("launch.py", "--resume", "--run", "run", "--wait", cwd=folder, env=env, timeout=900)
    assert_each_sample_once(folder / "run", problems=2, n=SAMPLES)
    _wait_for(lambda: not engines.sessions(), "the last engine to end", 30)
    assert not list(disk.glob("engine-*"))
    disk.rmdir()
    return (
        f"engines: {', '.join(done)}; complete after {resumes} resume(s), "
        f"{time.monotonic() - began:.0f} s"
    )


def _strike(engines: Engines, run: Path, faults: int) -> list[str]:
    """Each fault hits an engine that has just brought a shard, and hits in random order."""
    done: list[str] = []
    names = engines.random.sample(list(engines.faults), len(engines.faults))
    while len(done) < faults and engines.squeue().strip():
        before = len(list(run.glob("samples/*.parquet")))
        until = time.monotonic() + 900
        while len(list(run.glob("samples/*.parquet"))) == before and engines.squeue().strip():
            assert time.monotonic() < until, "no shard in 900 s"
            time.sleep(0.1)
        found = engines.working()
        if found:
            name = names[len(done) % len(names)]
            engines.faults[name](engines.random.choice(found))
            done.append(name)
    return done


def _wait_for(condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.5)
