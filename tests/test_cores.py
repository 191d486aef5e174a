"""How many cores a task takes where the cluster does, and does not, confine it to its own."""

import os
import subprocess
import sys

import pytest
from run_jobs import ROOT

from toolkit.cores import available_cores, divided_cores

HERE = len(os.sched_getaffinity(0))
CHILD = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from toolkit.cores import available_cores
print(available_cores())
"""


@pytest.mark.parametrize(
    ("share", "cores"), [("1", 1), ("4096", HERE), ("", HERE), ("0", HERE), ("many", HERE)]
)
def test_a_task_takes_its_share_of_the_node(monkeypatch, share, cores):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", share)
    assert available_cores() == cores


def test_outside_slurm_all_cores_are_ours(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert available_cores() == HERE


def test_tasks_side_by_side_divide_the_cores(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    for tasks, cores in ((0, HERE), (1, HERE), (2, max(1, HERE // 2)), (HERE + 1, 1)):
        with divided_cores(tasks):
            child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, check=True)
        assert int(child.stdout) == cores
        assert available_cores() == HERE  # only what started in there has a part
