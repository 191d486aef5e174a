"""What a command imports: --help answers at once, and status and cancel stay light."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest
from run_jobs import ROOT, SMOKE, job

from toolkit.launch.queue import job_name, plain_name
from toolkit.runs.history import record_job
from toolkit.runs.run import open_run

JOBS = sorted(p.name for p in (ROOT / "jobs").glob("*.py") if not p.name.startswith("_"))
HEAVY = {"polars", "numpy", "scipy", "matplotlib", "submitit", "vllm", "httpx", "huggingface_hub"}
PROBE = """
import json, runpy, sys
path, report = sys.argv[1:3]
sys.argv[:] = [path, *sys.argv[3:]]
sys.path[0] = path.rpartition("/")[0]
try:
    runpy.run_path(path, run_name="__main__")
finally:
    with open(report, "w") as file:
        json.dump(sorted(sys.modules), file)
"""


def imported(name, *flags, cwd, env=None):
    """The modules that a job has loaded at its end, and how it ended."""
    report = cwd / "modules.json"
    command = [sys.executable, "-c", PROBE, ROOT / "jobs" / name, report, *flags]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    return set(json.loads(report.read_text())), done


@pytest.mark.parametrize("name", JOBS)
def test_help_imports_nothing_heavy(name, tmp_path):
    found, done = imported(name, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    assert "toolkit.cli" in found
    assert not found & HEAVY


@pytest.mark.slow
def test_a_launch_loads_neither_what_fits_nor_what_draws(tmp_path):
    """Its array tasks load the same modules, but for that of the fit."""
    found, done = imported("launch.py", "--preset", "smoke", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "toolkit.launch.tasks" in found
    assert not found & {"scipy", "matplotlib"}


@pytest.fixture(scope="module", params=[(), ("--adaptive", "--stop-min", "4", "--stop-cap", "40")])
def finished(request, tmp_path_factory):
    """A finished run, of a fixed number of samples or adaptive, with a job of Slurm's on record."""
    folder = tmp_path_factory.mktemp("finished")
    flags = (*SMOKE, *request.param, "--stop-r", "2", "--limit", "8", "--run", "run")
    done = job("launch.py", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    # The estimator for problems that stopped late is the one that could want SciPy.
    stopped = pl.read_parquet(folder / "run" / "results" / "counts.parquet").filter(c=2)
    assert bool(request.param) == (stopped["n"].max() > 4)
    record_job(open_run(folder / "run"), "0000000a", "sample", "7")
    return folder


@pytest.fixture
def slurm(finished, tmp_path):
    """The environment of a cluster whose queue holds job 7 of the run."""
    name = job_name("sample", plain_name(open_run(finished / "run")), "0000000a")
    for program, says in (("squeue", f"7|RUNNING|node1||0|{name}|"), ("scancel", "")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / program).chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_status_and_cancel_load_neither_sandbox_nor_scipy(finished, slurm):
    for name, code, says in (
        ("status.py", 0, "in queue   7 sample RUNNING node1"),
        ("cancel.py", 0, "cancelled sample 7"),
    ):
        found, done = imported(name, "run", cwd=finished, env=slurm)
        assert done.returncode == code, done.stderr
        assert says in done.stdout
        assert "polars" in found
        assert not found & (HEAVY - {"polars", "numpy"}), name
        rooms = ("toolkit.sandbox", "toolkit.stages", "toolkit.backends", "toolkit.report")
        assert not [m for m in found if m.startswith(rooms)], name
