"""A run of 164 problems x 10,000 samples: the time and the memory of counting, fitting, drawing.

The samples are synthetic, the path is the real one: launched, evaluated, then `jobs/fit.py` and
`jobs/status.py --json` in processes of their own.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 10_000


def bench() -> Iterator[dict[str, object]]:
    """One row a job."""
    with tempfile.TemporaryDirectory() as folder:
        launch = (
            "launch.py", "--backend", "synthetic", "--launcher", "inline", "--run", "run",
            "--samples", str(SAMPLES), "--slice-samples", "2048",
        )  # fmt: skip
        for command in (launch, ("fit.py", "run"), ("status.py", "run", "--json")):
            if command[0] == "fit.py":  # the launch has fitted already: again, from the shards
                (Path(folder) / "run/results/fit.json").unlink()
            seconds, peak = measured(folder, *command)
            yield {
                "job": " ".join(command[:2]) if command[0] != "launch.py" else "launch.py (all)",
                "samples": f"{164 * SAMPLES:,}",
                "seconds": f"{seconds:.1f}",
                "peak memory, GB": f"{peak / 1e9:.2f}",
            }


def measured(folder: str, name: str, *flags: str) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of a job."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / name), *flags],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{name} {' '.join(flags)} failed")
    return seconds, usage.ru_maxrss * 1024
