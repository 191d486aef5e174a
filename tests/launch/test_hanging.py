"""Slurm's programs that never answer: each command is bounded, says so, and ends with code 1."""

import pytest
from run_here import here

from toolkit.launch import queue
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.resolve import resolve
from toolkit.runs.history import Launch, append_launch


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a job on record; `squeue` hangs, and so does the process that it has started."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {
        "squeue": "sleep 20 & wait",
        "sinfo": "exit 0",
        "sbatch": "exit 1",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(queue.run_slurm, "__kwdefaults__", {"seconds": 1.0})
    flags = {"backend": "synthetic", "limit": 2, "samples": 4}
    run = freeze_launch(plan_launch(resolve(flags), tmp_path / "runs"))
    append_launch(run, Launch("2026-01-01", "slurm", {"sample": "7"}))
    return run.path


def test_status_shows_the_run_and_that_the_queue_is_not_known(run):
    done = here("status", run)
    assert (done.code, done.errors) == (1, []), done
    assert "in queue   not known: `squeue` gave no answer in 1 s" in done.out
    assert "sampled    0/8 samples" in done.out


@pytest.mark.parametrize(
    ("name", "flags"),
    [("cancel", ()), ("cancel", ("--dry-run",)), ("launch", ("--resume", "--launcher", "slurm"))],
)
def test_what_must_know_the_queue_stops_in_one_line(run, name, flags):
    where = ("--run", run) if name == "launch" else (run,)
    done = here(name, *flags, *where)
    assert done.code == 1, done
    (line,) = done.errors
    assert "`squeue` gave no answer in 1 s" in line
    assert "try again later" in line


def test_evaluation_and_fit_do_not_ask_the_queue(run):
    done = here("evaluate", run)
    assert "1 slice is not sampled yet" in done.out, done
    assert here("fit", run).errors[0].endswith("sample and evaluate first, then fit")
