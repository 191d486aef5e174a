"""What all jobs share: the parser, the log, how an error reaches the user, how amounts are said."""

import argparse
import contextlib
import difflib
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from toolkit import __version__
from toolkit.errors import EXIT_INCOMPLETE, EXIT_USAGE, ToolkitError
from toolkit.files import NO_ROOM, write_failure

LATEST = Path("runs/latest")
CONSOLE = "inference-scaling"
"""The console command: `inference-scaling launch` is what `python jobs/launch.py` is."""
STARTED_BY = "INFERENCE_SCALING_STARTED_BY"
"""Environment variable: the console command sets it, so that its array tasks know of it."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line. It accepts no abbreviated flags."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            epilog="A value in [brackets] is the default.",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        version = f"inference-scaling-toolkit {__version__}"
        self.add_argument("--version", action="version", version=version, help="show it and exit")

    def error(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with code 2.

        For an unknown flag, the line names the valid flags that are most like it.
        """
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            first = unknown.split()[0]
            message = self._unknown_flag(first) if first.startswith("-") else self._too_many(first)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")

    def _unknown_flag(self, flag: str) -> str:
        name = flag.partition("=")[0]
        if name == "--run" and any(a.dest == "run" for a in self._actions):
            return "--run: give the directory of the run without a flag"
        near = difflib.get_close_matches(name, self._flags(), n=3)
        return f"unknown flag {flag}; valid: {', '.join(near or self._flags())}"

    def _too_many(self, word: str) -> str:
        meant = [flag for flag in flags_meant(word) if flag in self._flags()]
        remedy = f"write {meant[0]} {word}" if meant else "--help shows the valid ones"
        return f"one argument too many: {word}; {remedy}"

    def _flags(self) -> list[str]:
        return [s for a in self._actions for s in a.option_strings if s.startswith("--")]


def flags_meant(word: str) -> list[str]:
    """The flags that a word without a flag was probably meant for, the likeliest first."""
    path = Path(word)
    if (path / "manifest.json").is_file() or word.startswith(f"{LATEST.parent}/"):
        return ["--run"]
    if (path / "config.json").is_file():
        return ["--model"]
    if word.endswith((".jsonl", ".jsonl.gz")) or word == "humaneval":
        return ["--problems"]
    if word.endswith(".csv"):
        return ["--counts"]
    if word.isdigit():
        return ["--samples", "--replicates"]
    return ["--model"] if word.count("/") == 1 and not path.exists() else ["--preset"]


def job_command(job: str) -> str:
    """How a job such as "fit" is started from where the user is: for messages that name a remedy.

    The jobs stand in a checkout. Whoever came by the console command, or has the package without a
    checkout, is told the console command.
    """
    script = Path("jobs", f"{job}.py")
    came_by_script = Path(*sys.argv[:1]).parent.name == script.parent.name
    try:
        checkout = (Path(__file__).parents[1] / script).is_file()
    except PermissionError:  # another user's checkout
        checkout = False
    if os.environ.get(STARTED_BY) != CONSOLE and (came_by_script or checkout):
        return f"python {script}"
    return f"{CONSOLE} {job}"


def how_many(number: int, one: str, many: str = "") -> str:
    """`1 problem`, `12 problems`. many: what follows other numbers; not given, `one` with an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def samples_each(low: int, high: int) -> str:
    """How many samples a problem has, the fewest and the most: `n = 50`, or `n = 3 to 50`."""
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument RUN: the directory of the run to work on."""
    parser.add_argument(
        "run", nargs="?", type=Path, default=LATEST, help=f"directory of the run [{LATEST}]"
    )


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --timeout and --libraries to a job that reads verdicts: it reads those of another judge.

    In the parsed namespace both are None where they are not given.
    """
    group = parser.add_argument_group("judge", "Whose verdicts count, if not those of the run's.")
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="use the verdicts that were reached under this time limit [the run's own limit]",
    )
    group.add_argument(
        "--libraries",
        metavar="NAMES",
        help="use the verdicts of programs that could import these libraries [the run's own]",
    )


def run_job(main: Callable[[], int]) -> NoReturn:
    """Configure the log, run `main`, and end the process with its exit code.

    A `ToolkitError` becomes one line on stderr and its exit code. Any other exception is a bug and
    keeps its traceback.
    """
    configure_log()
    try:
        code = main()
    except ToolkitError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print(
            f"{Path(sys.argv[0]).name}: interrupted: finished samples are kept, and verdicts; what "
            "was in work is done again; jobs on Slurm go on; without Slurm, run the command again",
            file=sys.stderr,
        )
        code = EXIT_INCOMPLETE
    except BrokenPipeError:
        # Whoever read our output has stopped (`| head`). That is no error, but stdout is gone.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_INCOMPLETE
    except OSError as error:
        # What a library writes for us, such as the scripts and pickles of jobs.
        if error.errno not in NO_ROOM:
            raise
        failure = write_failure(error.filename or "a file", error)
        print(f"{Path(sys.argv[0]).name}: {failure}", file=sys.stderr)
        code = failure.exit_code
    sys.exit(code)


def configure_log() -> None:
    """Log to stderr: ISO time, host, message. A second call changes nothing."""
    if logging.getLogger("toolkit").handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        f"%(asctime)sZ {platform.node()} %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger("toolkit").addHandler(handler)
    logging.getLogger("toolkit").setLevel(logging.INFO)
