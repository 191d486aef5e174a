"""One array task with four engines beside four array tasks with one, of which one engine is killed.

The engines are synthetic ones of a fixed rate, so that only the dealing of slices and the way
through a fault differ. The sides take turns. Both lose one engine by `kill -9` when a third of the
shards are there. They run on the Slurm of tests/slurm, as root where it is installed; elsewhere by
--launcher local.

    wall      from the launch to the last shard
    sampling  from the first sample asked for to the last one that came
"""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from toolkit.backends.processes import Process, all_processes
from toolkit.runs.run import open_run
from toolkit.runs.shard_facts import read_facts

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
ENGINES, RATE, SECONDS, ROUNDS = 4, 20.0, 25, 3
PROBLEMS, SLICE = 8, 20
SAMPLES = int(ENGINES * RATE * SECONDS) // PROBLEMS
SIDES = {
    "one task of four engines": ("--array", 1, "--engines-per-task", ENGINES, "--gpus", ENGINES),
    "four tasks of one engine": ("--array", ENGINES, "--gpus", 1),
}


def bench() -> Iterator[dict[str, object]]:
    """A row for each side, then the ratio of their medians, and of the pairs."""
    with tempfile.TemporaryDirectory() as folder, _slurm(Path(folder)) as (launcher, environment):
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for turn in range(ROUNDS):
            for side, flags in SIDES.items():
                place = Path(folder) / f"{turn}-{side.split()[0]}"
                place.mkdir()
                found[side].append(_one(place, launcher, environment, flags))
        for side, times in found.items():
            wall, sampling = map(statistics.median, zip(*times, strict=True))
            yield {"side": side, "wall s": f"{wall:.1f}", "sampling s": f"{sampling:.1f}"}
        ours, theirs = found.values()
        for i, name in enumerate(("wall", "sampling")):
            pairs = [a[i] / b[i] for a, b in zip(ours, theirs, strict=True)]
            yield {
                "ratio": name,
                "median of pairs": f"{statistics.median(pairs):.2f}",
                "largest": f"{max(pairs):.2f}",
                "launcher": launcher,
            }


@contextlib.contextmanager
def _slurm(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The launcher, and what its commands need in their environment."""
    path = os.environ["PATH"] + ":/usr/sbin"
    if os.geteuid() != 0 or not shutil.which("slurmctld", path=path):
        yield "local", dict(os.environ)
        return
    own = os.environ | {"CLUSTER_DIR": str(folder / "slurm")}
    subprocess.run([CLUSTER, "up", str(ENGINES)], check=True, env=own)
    try:
        done = subprocess.run([CLUSTER, "env"], check=True, env=own, capture_output=True, text=True)
        lines = (line.removeprefix("export ") for line in done.stdout.splitlines())
        yield "slurm", os.environ | dict(line.split("=", 1) for line in lines)
    finally:
        subprocess.run([CLUSTER, "down", "--purge"], check=True, env=own)


def _one(
    folder: Path, launcher: str, environment: dict[str, str], flags: tuple[object, ...]
) -> tuple[float, float]:
    """Launch, kill an engine, wait for the last shard; wall and sampling time in seconds."""
    work = ("--limit", PROBLEMS, "--samples", SAMPLES, "--slice-samples", SLICE)
    pace = ("--synthetic-rate", RATE, "--max-num-seqs", 10)
    where = ("--launcher", launcher, "--run", folder / "run", *flags)
    command = ["--preset", "smoke", *map(str, (*work, *pace, *where))]
    began = time.time()
    launch = subprocess.Popen(
        [sys.executable, ROOT / "jobs" / "launch.py", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        shards = PROBLEMS * SAMPLES // SLICE
        _wait_for(folder, shards // 3)
        os.kill(_engines(folder)[-1].pid, signal.SIGKILL)
        _wait_for(folder, shards)
        launch.wait(300)
    finally:
        launch.kill()
        launch.wait()
    paths = list((folder / "run" / "samples").glob("*.parquet"))
    drawn = pl.read_parquet(paths)
    assert drawn.height == PROBLEMS * SAMPLES, drawn.height
    assert drawn.select("task_id", "seed").is_unique().all()
    attempts = [a for path in paths for a in read_facts(path).attempts()]
    assert any(a.start.restarts for a in attempts), "no engine was started again"
    times = [a.times for a in attempts if a.times]
    ended = max(path.stat().st_mtime for path in paths)
    return ended - began, max(t.ended for t in times) - min(t.started for t in times)


def _wait_for(folder: Path, shards: int) -> None:
    until = time.monotonic() + 300
    while len(list(folder.glob("run/samples/*.parquet"))) < shards:
        assert time.monotonic() < until, f"no {shards} shards in {folder} after 300 s"
        time.sleep(0.05)


def _engines(folder: Path) -> list[Process]:
    """The engine processes: children of a sampling task, which look like it."""
    mark = f"{open_run(folder / 'run').slurm_dir}".encode()
    own = {}
    for process in all_processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            if mark in words and process.name.startswith("python"):
                own[process.pid] = process
    return [process for process in own.values() if process.parent in own]
