"""Run the jobs as a user does, and look at what they left."""

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ("--preset", "smoke", "--launcher", "inline", "--limit", "2", "--samples", "4")


def heed_signals():
    """Undo what a shell does for work in the background: every process inherits ignored signals."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in handlers.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def job(name, *flags, cwd, timeout=300, **kwargs):
    command = [sys.executable, str(ROOT / "jobs" / name), *map(str, flags)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout, **kwargs
    )


def files(folder):
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def samples(run):
    """All samples of a run, sorted by their key."""
    return pl.read_parquet(f"{run}/samples/*.parquet").sort("task_id", "seed")


def assert_each_sample_once(run, problems, n):
    found = samples(run)
    assert found.height == problems * n
    assert found.select("task_id", "seed").is_unique().all()
    assert found["seed"].max() == n - 1
    # submitit keeps hidden scripts of its own in slurm/
    left = [p for p in Path(run).glob("[!s]*/.*") if p.is_file()] + [*Path(run).glob("samples/.*")]
    assert not left, f"left in the making: {left}"
