"""How far a run is: planned, sampled, evaluated, missing; tokens/s; what Slurm says of its tasks.

Exit code 0 only when every planned sample is there and evaluated.
"""

import sys
import time

import _installed  # noqa: F401

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.config import add_flags, resolve
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE
from toolkit.status import read_status
from toolkit.store import open_run

WATCH_SECONDS = 5.0


def main() -> int:
    """Show the status once, or again and again until it is complete."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--watch", action="store_true", help="refresh until complete")
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    add_flags(parser, "evaluation")
    flags = parser.parse_args()
    run, timeout = open_run(flags.run), resolve(vars(flags)).evaluation.timeout
    while True:
        status = read_status(run, timeout)
        home = "\x1b[H\x1b[2J" if flags.watch and sys.stdout.isatty() else ""
        print(home + (status.json() if flags.json else status.text()), flush=True)
        if status.complete:
            return EXIT_DONE
        if not flags.watch:
            return EXIT_INCOMPLETE
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    run_job(main)
