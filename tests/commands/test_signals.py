"""A signal to a launch that runs everything in its own process."""

import os
import signal
import subprocess
import sys
import time

import pytest
from run_jobs import ROOT


@pytest.mark.slow
def test_sigterm_ends_an_inline_launch_that_fits(tmp_path):
    """Sampling handles the signal. What it leaves behind must not swallow one in a later stage."""
    flags = ("--preset", "smoke", "--limit", "3", "--samples", "8", "--launcher", "inline")
    command = [sys.executable, ROOT / "jobs" / "launch.py", *flags, "--run", "run"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file)
    deadline = time.monotonic() + 240
    while "fitting 3 problems" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=120) != 0
    assert not (tmp_path / "run" / "results" / "fit.json").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results" / "fit.json").exists()
