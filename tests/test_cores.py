"""How many cores a task takes where the cluster does, and does not, confine it to its own."""

import os

import pytest

from toolkit.cores import available_cores, divide_cores

HERE = len(os.sched_getaffinity(0))


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
    # Set first, so that monkeypatch knows what to take away again.
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    divide_cores(HERE + 1)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    divide_cores(1)
    assert os.environ["OMP_NUM_THREADS"] == "1"  # as it was set
