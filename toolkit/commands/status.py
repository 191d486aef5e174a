"""How far a run is: planned, sampled, evaluated, missing; tokens/s; what Slurm says of its jobs.

Exit code 0 only when every planned sample is there and evaluated. --verify reads every file of the
run: a shard's content is what was written, each planned (task_id, seed) is there exactly once, and
verdicts, maps and results can be read.
"""

import sys
import time
from typing import TYPE_CHECKING

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from toolkit.runs.run import Run

WATCH_SECONDS = 5.0
ACCOUNTS_SECONDS = 60.0
"""A watch asks accounting so seldom: its database serves the whole cluster."""


def main() -> int:
    """Show the status once, or again and again until it is complete."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--watch", action="store_true", help="refresh until complete")
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    parser.add_argument("--verify", action="store_true", help="read and check every file")
    add_judge_arguments(parser)
    flags = parser.parse_args()
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.launch.accounting import read_accounts
    from toolkit.launch.status import read_status
    from toolkit.runs.run import open_run
    from toolkit.verifiers.judges import judge_of_run

    run = open_run(flags.run)
    if flags.verify:
        return verify(run)
    judge = judge_of_run(run, flags.timeout, flags.libraries)
    accounts, asked = read_accounts(run), time.monotonic()
    while True:
        if time.monotonic() - asked > ACCOUNTS_SECONDS:
            accounts, asked = read_accounts(run), time.monotonic()
        started = time.monotonic()
        status = read_status(run, judge, accounts)
        spent = time.monotonic() - started
        home = "\x1b[H\x1b[2J" if flags.watch and sys.stdout.isatty() else ""
        print(home + (status.json() if flags.json else status.text()), flush=True)
        if status.complete:
            return EXIT_DONE
        if not flags.watch:
            return EXIT_INCOMPLETE
        # In a very large run, reading itself takes seconds of the file system's time.
        time.sleep(max(WATCH_SECONDS, 10 * spent))


def verify(run: "Run") -> int:
    """Print what is wrong with the run's files, or that nothing is."""
    from toolkit.launch.progress import read_ledger
    from toolkit.report.result_files import verify_results
    from toolkit.runs.damage import damaged_records, damaged_shards

    shards = [error for _, error in damaged_shards(run)]
    failed = [*shards, *damaged_records(run), *verify_results(run.results_dir)]
    for error in failed:
        print(error)
    ledger = read_ledger(run)
    print(f"verified {ledger.line()}: {len(failed)} corrupt")
    return EXIT_DONE if ledger.sampled and not failed else EXIT_INCOMPLETE


if __name__ == "__main__":
    run_job(main)
