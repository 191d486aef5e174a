"""Run the jobs in this process, where starting a Python for each would take the time."""

import contextlib
import io
import json
import logging
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module

from toolkit.cli import run_job
from toolkit.runs import history
from toolkit.runs.run import open_run
from toolkit.runs.verdicts import read_verdicts
from toolkit.verifiers.judges import judge_of_run


@dataclass(frozen=True)
class Done:
    """How a job ended. log: what it logged. errors: the other lines that it wrote to stderr."""

    code: int
    out: str
    log: list[str]
    errors: list[str]

    def all(self):
        return "\n".join([self.out, *self.log, *self.errors])


def here(name, *flags):
    """Run jobs/<name>.py as its script does, but for the process. A traceback is raised."""
    code, out, err = _called(name, flags)
    lines = err.splitlines()
    log = [line for line in lines if re.match(r"\d{4}-\d\d-\d\dT[\d:]+Z ", line)]
    return Done(code, out, log, [line for line in lines if line not in log])


def job(name, *flags, cwd):
    """As `run_jobs.job`, but in this process."""
    with contextlib.chdir(cwd):
        done = _called(name.removesuffix(".py"), flags)
    return subprocess.CompletedProcess([name, *flags], *done)


def _called(name, flags):
    """Exit code, standard output, standard error."""
    main = import_module(f"toolkit.commands.{name}").main
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [f"{name}.py", *map(str, flags)]
    logging.getLogger("toolkit").handlers.clear()
    history._warn_once.cache_clear()  # what a process says once
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_job(main)
    except SystemExit as end:
        return end.code, out.getvalue(), err.getvalue()
    finally:
        sys.argv = argv
        logging.getLogger("toolkit").handlers.clear()


def follow(line):
    """Do what a message says in backticks. None if it names no job."""
    named = re.search(r"`python jobs/(\w+)\.py ([^`]*)`", line)
    if not named:
        return None
    launcher = ("--launcher", "inline") if named[1] == "launch" else ()
    return here(named[1], *shlex.split(named[2]), *launcher)


def verdicts(path):
    """All verdicts of a run by its judge, without the time that they took."""
    run = open_run(path)
    return read_verdicts(run, judge_of_run(run)).drop("seconds").sort("task_id", "answer")


def found(path):
    """What the fit of a run found: fit.json without what was paid, and the files that show it."""
    document = json.loads((path / "results" / "fit.json").read_text())
    assert document["files"]
    return {key: value for key, value in document.items() if key not in ("cost", "files")}
