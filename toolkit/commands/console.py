"""The console command: `inference-scaling JOB ...` is what `python jobs/JOB.py ...` is.

Every module of this room that has a `main` is a job, and the first line of its docstring says what
it does. So a new job is there without a further list.
"""

import difflib
import importlib
import os
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from toolkit import __version__, commands
from toolkit.cli import CONSOLE, STARTED_BY, run_job
from toolkit.errors import EXIT_DONE, EXIT_USAGE

FIRST = ("launch", "status", "evaluate", "fit", "cancel")
"""Shown before the others, in this order: what every run needs."""
NO_JOBS = ("console", "presets")
"""Modules of this room that are no jobs."""
SBATCH = Path(__file__).parents[1] / "sbatch"


def main() -> NoReturn:
    """Start the job that the first argument names, with the arguments after it."""
    name, rest = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name in job_names():
        os.environ[STARTED_BY] = CONSOLE
        sys.argv = [f"{CONSOLE} {name}", *rest]
        run_job(load(name).main)
    if name in ("--help", "-h"):
        answer(help_text())
    if name == "--version":
        answer(f"inference-scaling-toolkit {__version__}")
    if name == "--sbatch":
        answer(str(SBATCH))
    print(f"{CONSOLE}: {_refusal(name)}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def answer(text: str) -> NoReturn:
    """Print a text and end the process."""

    def show() -> int:
        print(text, flush=True)
        return EXIT_DONE

    run_job(show)


def job_names() -> list[str]:
    """The names of all jobs: the everyday ones, then the others by name."""
    found = {module.name for module in pkgutil.iter_modules(commands.__path__)} - set(NO_JOBS)
    return [name for name in FIRST if name in found] + sorted(found - set(FIRST))


def load(name: str) -> ModuleType:
    """The module of a job."""
    return importlib.import_module(f"toolkit.commands.{name}")


def help_text() -> str:
    """What there is, a line each."""
    width = max(map(len, job_names()))
    lines = [
        f"  {name:<{width}}  {(load(name).__doc__ or '').splitlines()[0]}" for name in job_names()
    ]
    return "\n".join(
        [
            f"usage: {CONSOLE} JOB [flags]",
            "",
            "Sample a model many times, judge the answers, fit fail@k.",
            "",
            *lines,
            "",
            f"{CONSOLE} JOB --help has the flags of a job.",
            f"{CONSOLE} --version shows the version, --sbatch the folder of the sbatch scripts.",
        ]
    )


def _refusal(name: str) -> str:
    """One line on what was wrong and what to do."""
    names = job_names()
    if not name:
        return f"name a job: {', '.join(names)}; --help has a line on each"
    if name.startswith("-"):
        return f"unknown flag {name}; flags stand after the job: {CONSOLE} launch --preset smoke"
    near = difflib.get_close_matches(Path(name).stem, names, n=1, cutoff=0.5)
    meant = f"the nearest is {near[0]}" if near else f"valid: {', '.join(names)}"
    return f"unknown job {name}; {meant}; --help has a line on each"


if __name__ == "__main__":
    main()
