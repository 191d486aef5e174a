"""What every job in jobs/ shares: its parser, its log, and how an error reaches the user."""

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
    """An argument parser that refuses in one line and knows no abbreviations."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """One line on stderr, with the nearest valid flags for an unknown one; exit code 2."""
        flags = [s for a in self._actions for s in a.option_strings if s.startswith("--")]
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            near = difflib.get_close_matches(unknown.split()[0], flags, n=3)
            valid = near or flags
            message = f"unknown flag {unknown.split()[0]}; valid: {', '.join(valid)}"
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """The positional RUN of the jobs that work on one."""
    parser.add_argument(
        "run", nargs="?", type=Path, default=LATEST, help=f"a run's directory [{LATEST}]"
    )


def add_timeout_argument(parser: argparse.ArgumentParser) -> None:
    """--timeout of the jobs that read verdicts: those of another judge than the run's own."""
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="take the verdicts under this time limit [the run's own]",
    )


def run_job(main: Callable[[], int]) -> NoReturn:
    """Configure the log, run `main`, and end the process with its exit code.

    A `ToolkitError` becomes one line on stderr and its exit code; anything else is a bug and
    keeps its traceback.
    """
    configure_log()
    try:
        code = main()
    except ToolkitError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        code = EXIT_INCOMPLETE
    except BrokenPipeError:
        # The reader of our output left (`| head`): not an error, but stdout is gone.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_INCOMPLETE
    sys.exit(code)


def configure_log() -> None:
    """ISO time, host, message, on stderr; again changes nothing."""
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
