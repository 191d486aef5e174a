"""Write a run's samples as one HTML page: what was asked, what came, and why it failed.

The page is RUN/results/browse.html, unless --output names another file. It needs no network and no
other file. Of a run with over 200,000 samples, it keeps the 50 most frequent answers of each
problem. What is left out is said here and in the page.
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
    add_judge_arguments(parser)
    flags = parser.parse_args()
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.report.terminal import describe_browser
    from toolkit.runs.run import open_run
    from toolkit.stages.browse import browse_run
    from toolkit.verifiers.judges import judge_of_run

    output: Path | None = flags.output
    if output and output.is_dir():
        raise UsageError(f"--output {output}: is a directory; give the name of a file")
    run = open_run(flags.run)
    path, data = browse_run(run, judge_of_run(run, flags.timeout, flags.libraries), output)
    print(describe_browser(path, data))
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
