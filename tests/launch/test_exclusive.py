"""The file `launching`: one launch at a time, and none that a dead one keeps away."""

import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fake_slurm import shows
from run_jobs import ROOT, SMOKE, job

from toolkit.errors import ToolkitError, UsageError
from toolkit.launch import exclusive
from toolkit.launch.exclusive import hold, holder_of
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.queue import job_name, plain_name
from toolkit.resolve import resolve
from toolkit.runs.run import Run


@pytest.fixture
def run(tmp_path):
    config = resolve({"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 2})
    return freeze_launch(plan_launch(config, tmp_path, tmp_path / "run"))


def marks(run):
    return sorted(p.name for p in run.path.iterdir() if "launching" in p.name)


HOLD = """
import sys, time
from pathlib import Path
from toolkit.launch.exclusive import hold
from toolkit.runs.run import Run
with hold(Run(Path(sys.argv[1])), "slurm"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holding(run):
    """A process that holds the file, killed in the end."""
    with subprocess.Popen([sys.executable, "-c", HOLD, run.path], stdout=subprocess.PIPE) as found:
        assert found.stdout.readline() == b"held\n"
        yield found.pid
        found.kill()


def test_while_one_holds_it_another_is_refused_and_afterwards_not(run):
    with hold(run, "local"):
        assert marks(run) == ["launching"]
        with (
            pytest.raises(UsageError, match=rf"run: is worked on by process {os.getpid()} on "),
            hold(run, "slurm"),
        ):
            pass
        assert marks(run) == ["launching"]
    assert marks(run) == []
    with hold(run, "slurm"):
        assert holder_of(run).pid == os.getpid()
    assert holder_of(run) is None


@pytest.mark.slow
def test_a_killed_one_never_blocks_not_even_one_that_took_over(run):
    for _ in range(2):
        with (
            holding(run) as pid,
            pytest.raises(UsageError, match=f"is being launched by process {pid} on "),
            hold(run, "local"),
        ):
            pass
    assert len(marks(run)) == 2
    with hold(run, "local"):
        assert len(marks(run)) == 3
    assert marks(run) == []


def test_a_corpse_that_nobody_has_buried_is_gone(run):
    child = os.fork()
    if not child:
        time.sleep(60)
    left(run, pid=child, started=exclusive._started(child))
    with pytest.raises(UsageError, match=f"process {child} on "), hold(run, "local"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with hold(run, "local"):
        pass
    os.waitpid(child, 0)


def left(run, **changes):
    """A file as another process has left it; the process is this one, unless changes say so."""
    with hold(run, "slurm") as held:
        found = replace(held.holder, launch="0000000d", **changes)
    (run.path / "launching").write_text(json.dumps(asdict(found)))
    return found


def test_another_process_with_its_number_is_not_it(run):
    left(run, started=1)
    with hold(run, "local"):
        pass


def test_of_another_machine_the_queue_and_the_age_decide(run, slurm, caplog):
    left(run, host="elsewhere", machine="another boot")
    slurm("squeue", shows(f"5|PENDING||None|0|{job_name('sample', plain_name(run), '0000000d')}"))
    with (
        pytest.raises(UsageError, match=r"on elsewhere since .*, its jobs are in the queue"),
        hold(run, "slurm"),
    ):
        pass
    slurm("squeue", "")
    with (
        pytest.raises(UsageError, match=r"launched \d+ s ago by .* or delete .*/launching if it"),
        hold(run, "slurm"),
    ):
        pass
    assert holder_of(run)
    old = time.time() - exclusive.STALE_SECONDS - 1
    os.utime(run.path / "launching", (old, old))
    assert holder_of(run) is None
    with hold(run, "slurm"):
        assert re.search(
            r"no sign of process \d+ on elsewhere .* this launch takes over", caplog.text
        )


def test_a_holder_that_works_for_long_stays_young(run, monkeypatch):
    monkeypatch.setattr(exclusive, "TOUCH_SECONDS", 0.0)
    with hold(run, "local") as held:
        os.utime(run.path / "launching", (1, 1))
        held.touch()
        assert time.time() - (run.path / "launching").stat().st_mtime < 60
        held.release()
        held.touch()
    assert marks(run) == []


def test_work_in_a_process_of_another_machine_ends_only_by_a_person(run):
    left(run, launcher="inline", machine="another boot")
    os.utime(run.path / "launching", (1, 1))
    with (
        pytest.raises(UsageError, match=r"if it no longer runs, delete (.*)$") as told,
        hold(run, "inline"),
    ):
        pass
    Path(str(told.value).rpartition(" ")[2]).unlink()
    with hold(run, "inline"):
        pass


def test_a_job_that_slurm_has_started_again_takes_over_from_itself(run, monkeypatch):
    left(run, machine="another boot", job="77")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with hold(run, "slurm"):
        pass


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "\x00\xff"])
def test_a_torn_file_counts_for_some_minutes(run, text):
    path = run.path / "launching"
    path.write_text(text)
    with (
        pytest.raises(UsageError, match=r"launched \d+ s ago by an unknown process"),
        hold(run, "local"),
    ):
        pass
    os.utime(path, (1, 1))
    with hold(run, "local"):
        assert len(marks(run)) == 2
    assert marks(run) == []


def test_a_run_that_cannot_be_written_is_said(run):
    (run.path / "launching").mkdir()
    with (
        pytest.raises(ToolkitError, match=r"launching: cannot be read \(Is a directory\); mend"),
        hold(run, "local"),
    ):
        pass


def compete(path, begin, results, end):
    begin.wait()
    try:
        with hold(Run(path), "local"):
            results.put("held")
            end.wait(timeout=30)
    except UsageError:
        results.put("refused")


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_the_same_moment_one_wins(run, stale):
    """Forty times six; with `stale`, they take over from one that was killed while it did so."""
    fork = multiprocessing.get_context("fork")
    for _ in range(40):
        if stale:
            first = left(run, started=1)
            second = json.dumps(asdict(replace(first, launch="0000000e")))
            (run.path / f".launching.{first.launch}").write_text(second)
        begin, end, results = fork.Event(), fork.Event(), fork.Queue()
        told = (run.path, begin, results, end)
        all_ = [fork.Process(target=compete, args=told) for _ in range(6)]
        for each in all_:
            each.start()
        begin.set()
        outcomes = [results.get(timeout=30) for _ in all_]
        end.set()  # all have tried
        for each in all_:
            each.join()
        assert outcomes.count("held") == 1
        assert marks(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "inline"])
def test_two_local_launches_at_once_and_one_after_a_kill(tmp_path, launcher):
    flags = (*SMOKE[:3], launcher, "--limit", "2", "--samples", "40", "--slice-samples", "4")
    slow = (*flags, "--run", "run", "--synthetic-rate", "4")
    command = [sys.executable, str(ROOT / "jobs/launch.py"), *slow]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("run/samples/*.parquet")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = job("launch.py", *slow, cwd=tmp_path)
        first.kill()
    assert second.returncode == 2
    assert f"is worked on by process {first.pid} on " in second.stderr
    assert len(second.stderr.splitlines()) == 1
    third = job("launch.py", *flags, "--run", "run", cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    assert "was killed; this launch takes over" in third.stderr
