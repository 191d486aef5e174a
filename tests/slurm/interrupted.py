"""Launches interrupted at random moments on the real cluster, and what must be true afterwards.

    python tests/slurm/interrupted.py [--count 100] [--seed 1]

A launch makes five jobs, three of them arrays. It is interrupted by SIGINT, SIGHUP or SIGKILL, to
its process or to its whole process group, before its run exists, between two of its sbatch calls,
or in the middle of one. After each, within 15 s, the jobs in squeue equal those that status shows,
and cancel empties the queue. Every few launches of a run the last one is left alone: it completes.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from run_jobs import ROOT, assert_each_sample_once, heed_signals, job

CLUSTER = Path(__file__).with_name("cluster.sh")
WORK = ("--preset", "smoke", "--launcher", "slurm", "--samples", 36, "--slice-samples", 8)
JOBS = ("sample", "sample-2", "sample-3", "evaluate", "fit")
SLOW = ("--array", 36, "--max-parallel", 3, "--synthetic-rate", 0.2)
AGREE_SECONDS = 15.0
OF_A_RUN = 8
"""After so many launches of a run another one is made."""


class Interruptions:
    """The launches; `folder` is where they are made, and no other job of the cluster's."""

    def __init__(self, env: dict[str, str], folder: Path, seed: int) -> None:
        self.env, self.folder, self.random = env, folder, random.Random(seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.signals: collections.Counter[str] = collections.Counter()
        self.moments: collections.Counter[str] = collections.Counter()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0

    def queue(self) -> set[str]:
        """All jobs that were submitted from the folder, whoever knows them; array tasks one by one."""
        listed = subprocess.run(
            ["squeue", "-h", "--array", "--Format=JobArrayID:|,WorkDir:|"],
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        rows = (line.split("|") for line in listed.splitlines())
        return {job_id for job_id, place, *_ in rows if place == str(self.folder)}

    def shown(self, run: Path) -> set[str]:
        """The jobs that status shows; none where there is no run."""
        done = job("status.py", run.name, "--json", cwd=self.folder, env=self.env)
        if not (run / "manifest.json").exists():
            assert done.returncode == 2, done.stderr
            return set()
        assert done.stdout, done.stderr
        return {task["job"] for task in json.loads(done.stdout)["tasks"]}

    def interrupt(self, run: Path) -> None:
        """One launch, one signal at a random moment, and the checks."""
        number = self.random.choice((signal.SIGINT, signal.SIGHUP, signal.SIGKILL))
        send = self.random.choice((os.kill, os.killpg))
        moment = self.random.choice(("start", "plan", *map(str, range(len(JOBS) + 1))))
        before = lines(run)
        command = [sys.executable, str(ROOT / "jobs/launch.py"), *WORK, *SLOW, "--run", run.name]
        with subprocess.Popen(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as launch:
            self.wait_for(launch, moment, run, before)
            reached = lines(run) - before
            if launch.poll() is None:
                send(launch.pid, number)
            said = launch.communicate(timeout=200)[1]
        struck = launch.returncode not in (0, 2)
        assert launch.returncode != 2, said
        assert "Traceback" not in said or not reached, said
        self.signals[f"{number.name}{'' if send is os.kill else ' to the group'}"] += 1
        self.moments["no line" if not reached else f"{reached - 1} jobs"] += 1
        self.check(run, struck)

    def wait_for(self, launch: subprocess.Popen[str], moment: str, run: Path, before: int) -> None:
        """Until the launch has come to the moment, and a little longer."""
        if moment == "start":
            time.sleep(self.random.uniform(0, 2))
            return

        def is_there() -> bool:
            if moment == "plan":
                return (run / "launching").exists()
            return lines(run) - before > int(moment)

        while launch.poll() is None and not is_there():
            time.sleep(0.001)
        time.sleep(self.random.uniform(0, 0.06))

    def check(self, run: Path, struck: bool) -> None:
        """Queue and status agree in time, and cancel leaves nothing."""
        ended = time.monotonic()
        while True:
            began, first, shown, last = (
                time.monotonic(),
                self.queue(),
                self.shown(run),
                self.queue(),
            )
            if first == shown == last:
                break
            assert began - ended < AGREE_SECONDS, (first, shown, last)
        self.slowest = max(self.slowest, began - ended)
        submitted = {task.partition("_")[0] for task in shown}
        text = (run / "launches.jsonl").read_text() if lines(run) else ""
        unknown = [number for number in submitted if f'"{number}"' not in text]
        kind = "went on whole" if not struck else "left jobs" if shown else "left none"
        self.outcomes[kind] += 1
        self.outcomes["jobs known by their names only"] += len(unknown)
        if shown:
            done = job("cancel.py", run.name, cwd=self.folder, env=self.env)
            assert done.returncode == 0, done.stderr
            assert {line.split()[-1] for line in done.stdout.splitlines()} == submitted
        deadline = time.monotonic() + 60
        while left := self.queue():
            assert time.monotonic() < deadline, left
            time.sleep(0.2)

    def complete(self, run: Path) -> None:
        """A resume of a run that was interrupted again and again."""
        flags = ("--resume", "--run", run.name, "--synthetic-rate", 0, "--array", 4, "--wait")
        if not lines(run):
            flags = (*WORK, *flags[1:])
        done = job("launch.py", *flags, cwd=self.folder, env=self.env, timeout=900)
        assert done.returncode == 0, done.stderr
        assert_each_sample_once(run, problems=8, n=36)
        assert not list(run.glob("*launching*"))


def lines(run: Path) -> int:
    """How many entries the run's history has."""
    try:
        return (run / "launches.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def interrupted_launches(env: dict[str, str], folder: Path, count: int, seed: int) -> str:
    """Interrupt so many launches; returns figures, raises AssertionError where one is lost."""
    found = Interruptions(env, folder / "ein Lauf, 'ü'", seed)
    started = time.monotonic()
    for i in range(count):
        run = found.folder / f"run{i // OF_A_RUN}"
        found.interrupt(run)
        if i % OF_A_RUN == OF_A_RUN - 1 or i == count - 1:
            found.complete(run)
    listed = (
        ", ".join(f"{n} {what}" for what, n in sorted(counter.items()))
        for counter in (found.signals, found.moments, found.outcomes)
    )
    signals, moments, outcomes = listed
    return (
        f"{count} launches interrupted in {time.monotonic() - started:.0f} s ({signals}); "
        f"when they had recorded {moments}; {outcomes}; "
        f"queue and status agreed after at most {found.slowest:.1f} s"
    )


def main() -> None:
    """Bring the cluster up, interrupt, bring it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    heed_signals()
    small = os.environ | {"CLUSTER_CONF": "MaxArraySize=13"}
    subprocess.run([CLUSTER, "up", "10"], check=True, env=small)
    told = subprocess.run([CLUSTER, "env"], check=True, capture_output=True, text=True).stdout
    settings = dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())
    try:
        with tempfile.TemporaryDirectory() as folder:
            env = os.environ | settings
            print(interrupted_launches(env, Path(folder), flags.count, flags.seed))
    finally:
        subprocess.run([CLUSTER, "down", "--purge"], check=True)


if __name__ == "__main__":
    main()
