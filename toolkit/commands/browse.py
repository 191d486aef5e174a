"""Why does a problem fail? A run's samples as one HTML page; or one problem, in the terminal.

The page is RUN/results/browse.html, unless --output names another file. It needs no network and no
other file. Of a run with over 200,000 samples, it keeps the 50 most frequent answers of each
problem. What is left out is said here and in the page.

With --problem: no page, but counts, reasons and one completion of that problem.
"""

from pathlib import Path

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.errors import EXIT_DONE, UsageError


def main() -> int:
    """Make one call of `toolkit.stages.browse`, and print where the page is."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file to write, such as one outside a run that cannot be written "
        "[RUN/results/browse.html]",
    )
    parser.add_argument(
        "--problem",
        metavar="TASK_ID",
        help="print why this problem fails, such as HumanEval/32, and write nothing",
    )
    add_judge_arguments(parser)
    flags = parser.parse_args()
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.report.problem_text import describe_problem
    from toolkit.report.terminal import describe_browser
    from toolkit.runs.run import open_run
    from toolkit.stages.browse import browse_problem, browse_run
    from toolkit.verifiers.judges import judge_of_run

    output: Path | None = flags.output
    if output and output.is_dir():
        raise UsageError(f"--output {output}: is a directory; give the name of a file")
    if output and flags.problem is not None:
        raise UsageError("--problem writes no page: leave --output out, or --problem")
    run = open_run(flags.run)
    judge = judge_of_run(run, flags.timeout, flags.libraries)
    if flags.problem is not None:
        print(describe_problem(browse_problem(run, judge, flags.problem), run))
        return EXIT_DONE
    path, data = browse_run(run, judge, output)
    print(describe_browser(path, data))
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
