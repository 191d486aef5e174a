"""What several test files share: the tiny model and the real cluster."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from run_jobs import heed_signals

settings.register_profile("shared machine", deadline=None)  # no test is about speed
settings.load_profile("shared machine")

heed_signals()

# Threads of OpenMP and BLAS wait in a loop. Beside other tests that is half of the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests start hundreds of Python processes: what one has compiled, the next ones read.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model directory; made in a process of its own, whose warnings are not ours."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    subprocess.run(
        [sys.executable, TESTS / "tiny_model.py", folder], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="session")
def cluster():
    """The environment of a real Slurm on loopback, ended and purged after the last test."""
    if os.geteuid() != 0:
        pytest.skip("only root can start slurmd")
    if not shutil.which("slurmctld", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("Slurm is not installed: tests/install_apt.sh installs it")
    script = TESTS / "slurm" / "cluster.sh"
    small = os.environ | {"CLUSTER_CONF": "MaxArraySize=13"}
    subprocess.run([script, "up", "10"], check=True, timeout=300, env=small)
    lines = subprocess.run([script, "env"], check=True, capture_output=True, text=True).stdout
    settings = dict(line.removeprefix("export ").split("=", 1) for line in lines.splitlines())
    yield os.environ | settings
    subprocess.run([script, "down", "--purge"], check=True, timeout=120)
