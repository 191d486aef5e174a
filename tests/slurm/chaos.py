"""A run through random faults on the real cluster, and what must be true afterwards.

    python tests/slurm/chaos.py [--faults 50] [--launches 100] [--seed 1]     `make chaos`

Ten array tasks sample a known law at a realistic pace on the preemptible partition. Meanwhile tasks,
engines and slurmds are killed, tasks requeued and cancelled, nodes taken down, jobs preempted, the
disk filled, the controller stopped, shards and partial files corrupted. Then the jobs of evaluation
and fit are killed. Then `launch.py --resume`, as a user would, until the run is complete: every
(task_id, seed) exactly once, all verdicts there, the results those of an undisturbed run.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from run_jobs import assert_each_sample_once, heed_signals, job, samples
from slurm.engine_faults import engine_faults
from slurm.interrupted import interrupted_launches

CLUSTER = Path(__file__).with_name("cluster.sh")
PROBLEMS, TASKS, SLICE = 20, 10, 15
DISK_MIB = 96


class Chaos:
    """The faults, each a method; `folder` holds the run, on a small disk where that may be."""

    def __init__(self, env: dict[str, str], folder: Path, seed: int) -> None:
        self.env, self.run, self.random = env, folder / "run", random.Random(seed)
        self.done: collections.Counter[str] = collections.Counter()
        self.faults: tuple[Callable[[], bool], ...] = (
            self.kill_a_task,
            self.kill_an_engine,
            self.kill_a_slurmd,
            self.requeue_a_task,
            self.cancel_a_task,
            self.take_a_node_down,
            self.preempt,
            self.fill_the_disk,
            self.corrupt_a_shard,
            self.corrupt_a_partial_file,
            self.stop_the_controller,
        )
        self.deck: list[Callable[[], bool]] = []

    def slurm(self, *command: object) -> str:
        words = [str(c) for c in command]
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout

    def strike(self) -> None:
        """One random fault that is possible now; of each kind one before any comes again."""
        if not self.deck:
            self.deck = self.random.sample(self.faults, len(self.faults))
        for fault in self.deck:
            if fault():
                self.done[fault.__name__] += 1
                self.deck.remove(fault)
                return
        self.deck = []

    def running(self) -> list[str]:
        """Array tasks that sample now, such as 12_3."""
        return self.sampling("--states=R")

    def sampling(self, *flags: str) -> list[str]:
        """Array tasks that sample or will, by their jobs' names."""
        listed = self.slurm("squeue", "-rh", *flags, "--format=%i %j").splitlines()
        return [line.split()[0] for line in listed if line.split()[1].startswith("sample-")]

    def kill_a_task(self) -> bool:
        return self.kill_one_of([p for p in self.pythons() if parent(p) not in self.pythons()])

    def kill_an_engine(self) -> bool:
        """The process in which a task's engine runs is the task's child, and looks like it."""
        return self.kill_one_of([p for p in self.pythons() if parent(p) in self.pythons()])

    def pythons(self) -> list[str]:
        """The processes of the sampling tasks and of their engines."""
        found = self.slurm("pgrep", "-f", f"submitit.core._submit {self.run}/slurm").split()
        return [p for p in found if "python" in self.slurm("ps", "-o", "comm=", p)]

    def kill_one_of(self, processes: list[str]) -> bool:
        with contextlib.suppress(ProcessLookupError):
            if processes:
                os.kill(int(self.random.choice(processes)), signal.SIGKILL)
                return True
        return False

    def kill_a_slurmd(self) -> bool:
        node = f"node{self.random.randint(1, TASKS)}"
        found = self.slurm("pgrep", "-f", f"slurmd -N {node}$").split()
        for process in found:
            os.kill(int(process), signal.SIGKILL)
        time.sleep(2)
        subprocess.run([CLUSTER, "start-node", node], env=self.env, check=True, timeout=60)
        return bool(found)

    def requeue_a_task(self) -> bool:
        tasks = self.running()
        return bool(tasks) and not self.slurm("scontrol", "requeue", self.random.choice(tasks))

    def cancel_a_task(self) -> bool:
        tasks = self.running()
        return bool(tasks) and not self.slurm("scancel", self.random.choice(tasks))

    def take_a_node_down(self) -> bool:
        node = f"NodeName=node{self.random.randint(1, TASKS)}"
        self.slurm("scontrol", "update", node, "State=DOWN", "Reason=chaos")
        time.sleep(2)
        self.slurm("scontrol", "update", node, "State=RESUME")
        return True

    def preempt(self) -> bool:
        if not self.running():
            return False
        flags = ("--parsable", "--partition=gpu", "--exclusive", "--nodes=2", "--output=/dev/null")
        return bool(self.slurm("sbatch", *flags, "--job-name=urgent", "--wrap=sleep 2"))

    def fill_the_disk(self) -> bool:
        if not os.path.ismount(self.run.parent):
            return False
        filler = self.run.parent / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            for _ in range(DISK_MIB):
                file.write(b"x" * 2**20)
        time.sleep(2)
        filler.unlink()
        return True

    def corrupt_a_shard(self) -> bool:
        return self.truncate_one_of("samples")

    def corrupt_a_partial_file(self) -> bool:
        return self.truncate_one_of("partial")

    def truncate_one_of(self, folder: str) -> bool:
        files = sorted((self.run / folder).glob("*.parquet"))
        with contextlib.suppress(FileNotFoundError):  # a partial file goes when its shard is there
            if files:
                victim = self.random.choice(files)
                os.truncate(victim, victim.stat().st_size // 2)
                return True
        return False

    def stop_the_controller(self) -> bool:
        """It answers nobody for a while; what was asked meanwhile it then does."""
        folder = Path(self.env["SLURM_CONF"]).parents[1]
        controller = int((folder / "run" / "slurmctld.pid").read_text())
        os.kill(controller, signal.SIGSTOP)
        time.sleep(3)
        os.kill(controller, signal.SIGCONT)
        return True

    def kill_stages(self, stages: tuple[str, ...], seconds: float = 120) -> None:
        """Kill the first process of each of these stages, as soon as it works."""
        left, deadline = list(stages), time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            for process in self.pythons():
                stage = stage_of(process)
                if stage in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
                        left.remove(stage)
                        self.done[f"kill_{stage}"] += 1
            time.sleep(0.05)
        assert not left, f"never seen at work: {left}"


def stage_of(process: str) -> str:
    """The stage whose job a process belongs to; "" for one that has just ended."""
    with contextlib.suppress(OSError):
        names = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        job_name = next((n for n in names if n.startswith(b"SLURM_JOB_NAME=")), b"=")
        return job_name.decode().partition("=")[2].partition("-")[0]
    return ""


def parent(process: str) -> str:
    """Of a process that may just have ended."""
    done = subprocess.run(["ps", "-o", "ppid=", process], capture_output=True, text=True)
    return done.stdout.strip()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A tmpfs over `folder`, where this machine lets us mount one."""
    options = f"size={DISK_MIB}m"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "chaos", folder])
    try:
        yield
    finally:
        if mount.returncode == 0:
            subprocess.run(["umount", "--lazy", folder], check=True)


def survive(env: dict[str, str], folder: Path, faults: int, seed: int, n: int = 150) -> str:
    """Launch, strike, resume, compare; returns a summary, raises AssertionError on any loss."""
    work = ("--preset", "smoke", "--limit", PROBLEMS, "--samples", n, "--slice-samples", SLICE)
    flags = ("--launcher", "slurm", "--run", "run", "--array", TASKS)
    where = ("--partition", "scavenge", "--cpu-partition", "cpu")
    law = ("--synthetic-rate", 4, "--max-requeues", 50)
    chaos = Chaos(env, folder, seed)
    started = time.monotonic()
    launched = job("launch.py", *work, *law, *flags, *where, cwd=folder, env=env)
    assert launched.returncode == 0, launched.stderr
    prompt = time.monotonic() - started
    while sum(chaos.done.values()) < faults:
        time.sleep(chaos.random.uniform(0.5, 3.0))
        if not chaos.running() and not waiting(chaos):
            resume(chaos, folder)
        chaos.strike()
    struck = time.monotonic() - started
    kept = len(list((chaos.run / "samples").glob("*.parquet")))
    wait_for_empty_queue(chaos)
    shutil.rmtree(chaos.run / "verdicts")  # so that evaluation has something to do
    assert resume(chaos, folder).returncode == 0
    chaos.kill_stages(("evaluate", "fit"))
    resumes, complete = 0, False
    while not complete and resumes < 5:
        resumes += 1
        wait_for_empty_queue(chaos)
        done = resume(chaos, folder, "--wait")
        complete = done.returncode == 0
    assert complete, done.stdout + done.stderr
    calm = job("launch.py", *work, "--launcher", "inline", "--run", "calm", cwd=folder)
    assert calm.returncode == 0, calm.stderr
    check(env, folder, n)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(chaos.done.items()))
    quarantined = len(list((chaos.run / "quarantine").glob("*.parquet")))
    return (
        f"{faults} faults in {struck:.0f} s ({listed}); {kept} of {PROBLEMS * n // SLICE} shards then; "
        f"{quarantined} shards quarantined; complete after {resumes} resume(s), "
        f"{time.monotonic() - started:.0f} s; launch to prompt {prompt:.1f} s"
    )


def waiting(chaos: Chaos) -> bool:
    return bool(chaos.sampling())


def resume(chaos: Chaos, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """As a user would; refused while jobs of the run are in the queue, so cancel those first."""
    job("cancel.py", "run", cwd=folder, env=chaos.env)
    wait_for_empty_queue(chaos)
    command = ("launch.py", "--resume", "--run", "run", *flags)
    return job(*command, cwd=folder, env=chaos.env, timeout=900)


def wait_for_empty_queue(chaos: Chaos, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while chaos.slurm("squeue", "-h").strip():
        assert time.monotonic() < deadline, chaos.slurm("squeue")
        for node in chaos.slurm("sinfo", "-hN", "--states=down", "--format=%N").split():
            chaos.slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        time.sleep(1)


def check(env: dict[str, str], folder: Path, n: int) -> None:
    """Exactly once, complete, and equal to a run that nothing disturbed."""
    assert_each_sample_once(folder / "run", problems=PROBLEMS, n=n)
    assert job("status.py", "run", "--verify", cwd=folder, env=env).returncode == 0
    assert job("status.py", "run", cwd=folder, env=env).returncode == 0
    assert not list((folder / "run" / "partial").glob("*"))
    assert samples(folder / "run").equals(samples(folder / "calm"))
    found, want = (
        json.loads((folder / run / "results" / "fit.json").read_text()) for run in ("run", "calm")
    )
    assert found["complete"]
    for key in ("n_min", "unsolved", "fail_at_k", "fits", "forecast", "power_law"):
        assert found[key] == want[key], key


def main() -> None:
    """Bring the cluster up, survive; faults of launches and engines; bring it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--launches", type=int, default=100, help="launches to interrupt")
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    heed_signals()
    small = os.environ | {"CLUSTER_CONF": "MaxArraySize=13"}
    subprocess.run([CLUSTER, "up", str(TASKS)], check=True, env=small)
    lines = subprocess.run([CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    settings = dict(line.removeprefix("export ").split("=", 1) for line in lines.splitlines())
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder)):
            print(survive(os.environ | settings, Path(folder), flags.faults, flags.seed))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            print(interrupted_launches(os.environ | settings, path, flags.launches, flags.seed))
        with tempfile.TemporaryDirectory() as folder:
            print(engine_faults(os.environ | settings, Path(folder), flags.seed, faults=3))
    finally:
        subprocess.run([CLUSTER, "down", "--purge"], check=True)


if __name__ == "__main__":
    main()
