"""On the real cluster: launches that are interrupted, and two at the same moment."""

import json
import subprocess
import sys

import pytest
from run_jobs import ROOT, job
from slurm.interrupted import SLOW, WORK, interrupted_launches

from toolkit.runs.history import launches
from toolkit.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def test_what_an_interrupted_launch_leaves_is_shown_and_cancelled(cluster, tmp_path):
    print(interrupted_launches(cluster, tmp_path, count=8, seed=3))


def test_of_two_launches_at_the_same_moment_one_is_refused(cluster, tmp_path):
    command = [sys.executable, ROOT / "jobs/launch.py", *WORK, *SLOW, "--run", "run"]
    both = [
        subprocess.Popen(
            [str(word) for word in command],
            cwd=tmp_path,
            env=cluster,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = {each.communicate(timeout=300)[1]: each.returncode for each in both}
    assert sorted(said.values()) == [0, 2], said
    refusal = next(text for text, code in said.items() if code == 2)
    assert len(refusal.splitlines()) == 1
    assert "run: is being launched by process" in refusal or "in the queue already" in refusal
    (launch,) = launches(Run(tmp_path / "run"))
    shown = json.loads(job("status.py", "run", "--json", cwd=tmp_path, env=cluster).stdout)
    assert {task["job"].partition("_")[0] for task in shown["tasks"]} == set(launch.jobs.values())
    done = job("cancel.py", "run", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(launch.jobs)
