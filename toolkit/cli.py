"""What all jobs share: the argument parser, the log, and how an error reaches the user."""

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

from toolkit.errors import EXIT_INCOMPLETE, EXIT_USAGE, ToolkitError

LATEST = Path("runs/latest")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line. It accepts no abbreviated flags."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            epilog="A value in [brackets] is the default.",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with code 2.

        For an unknown flag, the line names the valid flags that are most like it.
        """
        flags = [s for a in self._actions for s in a.option_strings if s.startswith("--")]
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            first = unknown.split()[0]
            near = difflib.get_close_matches(first, flags, n=3)
            message = f"unknown flag {first}; valid: {', '.join(near or flags)}"
            if not first.startswith("-"):
                message = f"one argument too many: {first}; --help shows the valid ones"
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


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
            "interrupted: finished work is kept, jobs on Slurm go on; without Slurm, run the same "
            "command again",
            file=sys.stderr,
        )
        code = EXIT_INCOMPLETE
    except BrokenPipeError:
        # Whoever read our output has stopped (`| head`). That is no error, but stdout is gone.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_INCOMPLETE
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
