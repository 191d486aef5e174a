"""How far a run is, from its ledger. Exit code 0 only when everything planned is sampled."""

import sys
import time

import _installed  # noqa: F401

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE
from toolkit.status import Ticker, read_ledger
from toolkit.store import open_run


def main() -> int:
    """Show the ledger once, or until it is complete."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--watch", action="store_true", help="until everything is sampled")
    flags = parser.parse_args()
    run = open_run(flags.run)
    ticker = Ticker(run, sys.stdout)
    ticker.show()
    while flags.watch and not read_ledger(run).sampled:
        time.sleep(2.0)
        ticker.show()
    ticker.end()
    return EXIT_DONE if read_ledger(run).sampled else EXIT_INCOMPLETE


if __name__ == "__main__":
    run_job(main)
