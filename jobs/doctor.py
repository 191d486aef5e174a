"""What this node offers, before it costs hours: isolation of programs, verdicts, file system.

Prints one line a finding: ok, warn or fail, with what to do. Exit code 0 without a fail, else 1.
Nothing is written but two small files, removed at once, in the directory of the runs.
"""

from itertools import chain
from pathlib import Path

import _installed  # noqa: F401

from toolkit.cli import Parser, available_cores, run_job
from toolkit.config import add_flags, resolve
from toolkit.diagnose import examine_directory, examine_execution
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE
from toolkit.problems import load_problems


def main() -> int:
    """Look at everything, print as it is found."""
    parser = Parser(__doc__ or "")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    add_flags(parser, "problem_set", "evaluation")
    flags = vars(parser.parse_args())
    config = resolve(flags)
    chosen, settings = config.problem_set, config.evaluation
    problems = load_problems(chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids)
    workers = settings.workers or available_cores()
    failed = False
    for finding in chain(
        examine_directory(flags["runs"]),
        examine_execution(problems, settings.isolation, settings.timeout, workers),
    ):
        print(finding.line(), flush=True)
        failed |= finding.grade == "fail"
    return EXIT_INCOMPLETE if failed else EXIT_DONE


if __name__ == "__main__":
    run_job(main)
