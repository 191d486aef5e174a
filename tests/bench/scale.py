"""Large runs: time, memory and files of sampling, evaluation, fit, figures and status.

The samples are synthetic, but the path is the real one: launch and evaluate, then `jobs/fit.py` and
`jobs/status.py --json` in processes of their own.

- `scale`: 164 problems x 10,000 samples.
- `scale16`: 10,000 problems x 1,640 samples, a sixth of 10,000 x 10,000. Nothing may grow faster
  than the number of samples.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit.problems.load import load_problems

ROOT = Path(__file__).resolve().parents[2]


def bench() -> Iterator[dict[str, object]]:
    """164 problems x 10,000 samples."""
    yield from rows(164, 10_000)


def bench16() -> Iterator[dict[str, object]]:
    """10,000 problems x 1,640 samples."""
    yield from rows(10_000, 1640)


def rows(problems: int, samples: int) -> Iterator[dict[str, object]]:
    """One row for each job."""
    with tempfile.TemporaryDirectory() as folder:
        write_problems(Path(folder) / "problems.jsonl", problems)
        synthetic = ("--backend", "synthetic", "--launcher", "inline", "--run", "run")
        launch = ("launch.py", *synthetic, "--problems", "problems.jsonl", "--samples")
        more = (*launch, str(samples + 1), "--dry-run")
        fit, status = ("fit.py", "run"), ("status.py", "run", "--json")
        for command in ((*launch, str(samples)), more, fit, status):
            if command[0] == "fit.py":  # the launch has fitted already; fit again from the shards
                (Path(folder) / "run/results/fit.json").unlink()
            seconds, peak, _ = measured(folder, *command)
            files = [p for p in Path(folder, "run").rglob("*") if p.is_file()]
            yield {
                "job": command[0] + (" --dry-run" if "--dry-run" in command else ""),
                "samples": f"{problems * samples:,}",
                "seconds": f"{seconds:.1f}",
                "peak memory, GB": f"{peak / 1e9:.2f}",
                "files in the run": f"{len(files):,}",
                "MB on disk": f"{sum(p.stat().st_size for p in files) / 1e6:,.0f}",
            }


def write_problems(path: Path, count: int) -> None:
    """Write `count` problems: those of HumanEval repeatedly, each with its own task_id."""
    known = load_problems("humaneval")
    with path.open("w") as file:
        for i in range(count):
            problem = known[i % len(known)]
            row = {
                "task_id": f"copy/{i}",
                "prompt": problem.prompt,
                "canonical_solution": problem.solution,
            } | json.loads(problem.reference)
            file.write(json.dumps(row) + "\n")


class Measured(NamedTuple):
    """Wall-clock seconds of a process, its peak of resident bytes, and seconds of the processors."""

    seconds: float
    peak: int
    cpu: float


def measured(folder: str, name: str, *flags: str, root: Path = ROOT) -> Measured:
    """What a job of the checkout `root` takes."""
    started = time.monotonic()
    command = [sys.executable, str(root / "jobs" / name), *flags]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(command, cwd=folder, env=env, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{name} {' '.join(flags)} failed")
    return Measured(seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
