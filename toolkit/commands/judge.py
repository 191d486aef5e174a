"""Judge programs as they come: a service for best-of-n, search and rewards.

Each line of stdin is a JSON object with task_id and completion, or with solution for a whole
program. Each line of stdout is the verdict of one: passed, outcome, kind, detail, suspect, seconds.
It also has the line's other fields, such as an id, and `line`, its number. Verdicts come as they
are reached, so a slow program holds up no other.

A line that cannot be judged is answered by a line with `error`. Whoever reads the verdicts slowly
is sent no more than --in-flight of them ahead. The end of stdin ends the service.

Exit code 1 means that some line got no verdict.
"""

import io
import sys
from pathlib import Path

from toolkit.cli import Parser, how_many, run_job
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, ToolkitError, UsageError
from toolkit.problems.humaneval import HUMANEVAL
from toolkit.resolve import add_flags, resolve

IN_FLIGHT = 256
"""For each worker: two batches in hand, and as many waiting."""


def main() -> int:
    """Make one call of `toolkit.api.service.serve` from the flags."""
    flags = vars(parser().parse_args())
    if flags["run"] and (flags["task"] or flags["problems"]):
        raise UsageError("--run: its own problems are judged: leave out --task and --problems")
    if flags["in_flight"] is not None and flags["in_flight"] < 1:
        raise UsageError(f"--in-flight {flags['in_flight']}: must be 1 or more")
    settings = resolve(flags).evaluation
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.api.judging import Judge
    from toolkit.api.service import serve
    from toolkit.cores import available_cores
    from toolkit.runs.run import open_run

    workers = settings.workers or available_cores()
    with Judge(
        open_run(flags["run"]) if flags["run"] else None,
        task=flags["task"] or HUMANEVAL,
        data=flags["problems"],
        style=flags["style"],
        timeout=settings.timeout,
        libraries=settings.libraries,
        workers=workers,
        isolation=settings.isolation,
    ) as judge:
        judged = 0
        # With a buffer of its own, which writes whole lines also where PYTHONUNBUFFERED is set.
        out = io.BufferedWriter(io.FileIO(sys.stdout.fileno(), "w", closefd=False))

        def write(line: bytes) -> None:
            nonlocal judged
            judged += 1
            out.write(line)

        try:
            served = serve(
                *(judge, sys.stdin.fileno(), write, out.flush),
                in_flight=flags["in_flight"] or IN_FLIGHT * workers,
                ordered=flags["ordered"],
            )
        except KeyboardInterrupt:
            raise ToolkitError(
                f"interrupted after {how_many(judged, 'line')}: send the lines without an answer "
                "again"
            ) from None
    if served.refused:
        raise ToolkitError(
            f"lines that cannot be judged: {served.refused}; the first: {served.first}"
        )
    return EXIT_INCOMPLETE if served.undecided else EXIT_DONE


def parser() -> Parser:
    """The flags: whose problems, how completions are read, and those of the evaluation."""
    found = Parser(__doc__ or "")
    found.add_argument(
        "--task", default="", help=f"whose problems, and how they are judged [{HUMANEVAL}]"
    )
    found.add_argument(
        "--problems", default="", metavar="FILE", help="the task's data as published [the task's]"
    )
    found.add_argument("--run", type=Path, help="judge as this run does, in place of a task")
    found.add_argument(
        "--style",
        choices=("chat", "completion", "verbatim"),
        help="how the completions were asked for [verbatim for programs, else chat; the run's]",
    )
    found.add_argument(
        "--ordered", action="store_true", help="answer in the order of the lines [as they come]"
    )
    found.add_argument(
        "--in-flight",
        type=int,
        metavar="LINES",
        help=f"lines that are read and not yet answered, at most [{IN_FLIGHT} for each worker]",
    )
    add_flags(found, "evaluation")
    return found


if __name__ == "__main__":
    run_job(main)
