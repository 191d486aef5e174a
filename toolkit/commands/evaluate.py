"""Judge the answers of a run that have no verdict yet.

Run it again after more samples, or after a new version changed how answers are extracted. Only
answers without a verdict are judged. Another --timeout or other --libraries add verdicts beside
those of the run's own judge. Workers and isolation are those of the last launch, unless a flag says
otherwise.

Exit code 1 means: samples are missing, a file is damaged, or an answer is undecided.
"""

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from toolkit.resolve import add_flags, resolve


def main() -> int:
    """Make one call of `toolkit.stages.evaluate.evaluate_run` from the flags."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument(
        "--part", type=int, default=0, help="which part of the answers to judge, from 0 [0]"
    )
    parser.add_argument(
        "--parts", type=int, default=1, help="number of parts, one for each array task [1]"
    )
    add_flags(parser, "evaluation")
    flags = parser.parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.cores import available_cores
    from toolkit.runs.history import recorded_config
    from toolkit.runs.run import open_run
    from toolkit.stages.evaluate import evaluate_run
    from toolkit.verifiers.judges import judge_of_run

    if not 0 <= flags.part < flags.parts:
        raise UsageError(f"--part {flags.part}: must be 0 or more, under --parts {flags.parts}")
    run = open_run(flags.run)
    # Workers and isolation are those of the last launch, unless a flag says otherwise.
    evaluation = {"evaluation": recorded_config(run)["evaluation"]}
    given = vars(flags)
    settings = resolve(given, base=evaluation).evaluation
    summary = evaluate_run(
        run,
        settings,
        judge=judge_of_run(run, given.get("timeout"), given.get("libraries")),
        part=flags.part,
        parts=flags.parts,
        workers=settings.workers or available_cores(),
    )
    print(summary.line())
    return EXIT_DONE if summary.complete else EXIT_INCOMPLETE


if __name__ == "__main__":
    run_job(main)
