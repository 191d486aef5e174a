"""Judge the answers of a run that have no verdict yet.

Run it again after more samples, or after a new version changed how answers are extracted. Only
answers without a verdict are judged. Another --timeout or other --libraries add verdicts beside
those of the run's own judge. Workers and isolation are those of the last launch, unless a flag says
otherwise.

With --task NAME: judge by the references of another task with the same problems, such as
humaneval+, beside the run's own. They are frozen in the run; fit's --judge NAME fits by them.

Where a harness elsewhere judges, as for SWE-bench: --export-predictions DIR writes what waits for a
verdict in the harness's form, and --import-report takes the verdicts from its reports.

Exit code 1 means: samples are missing, a file is damaged, or an answer is undecided.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import Parser, add_run_argument, how_many, job_command, run_job
from toolkit.config import Evaluation
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from toolkit.resolve import add_flags, resolve

if TYPE_CHECKING:
    from toolkit.runs.run import Run


def main() -> int:
    """Make one call of `toolkit.stages.evaluate.evaluate_run` from the flags."""
    flags = parser().parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.cores import available_cores
    from toolkit.runs.history import recorded_config
    from toolkit.runs.run import open_run
    from toolkit.stages.evaluate import evaluate_run, second_references
    from toolkit.verifiers.judges import harness_steps, judge_of_run

    if not 0 <= flags.part < flags.parts:
        raise UsageError(f"--part {flags.part}: must be 0 or more, under --parts {flags.parts}")
    if flags.problems and not flags.task:
        raise UsageError(f"--problems {flags.problems}: give the task of this file too, by --task")
    run = open_run(flags.run)
    if flags.export_predictions or flags.import_report:
        return _by_harness(run, flags)
    second = second_references(run, flags.task, flags.problems) if flags.task else None
    name = second.name if second else ""
    # Workers and isolation are those of the last launch, unless a flag says otherwise.
    evaluation = {"evaluation": recorded_config(run)["evaluation"]}
    given = vars(flags)
    settings = resolve(given, base=evaluation).evaluation
    summary = evaluate_run(
        run,
        settings,
        judge=judge_of_run(run, given.get("timeout"), given.get("libraries"), name),
        references=second.problems if second else None,
        part=flags.part,
        parts=flags.parts,
        workers=settings.workers or available_cores(),
    )
    print(summary.line())
    if summary.waiting:
        print(f"next: {harness_steps(flags.run)}")
    if name:
        print(f"next: {job_command('fit')} {flags.run} --judge {name}")
    return EXIT_DONE if summary.complete else EXIT_INCOMPLETE


def _by_harness(run: "Run", flags: argparse.Namespace) -> int:
    """Import what the harness says, then export what still waits; either as the flags ask."""
    from toolkit.stages.evaluate import evaluate_run
    from toolkit.stages.harness_reports import import_reports
    from toolkit.stages.predictions import check_harness, export_predictions
    from toolkit.verifiers.judges import judge_of_run

    if flags.task:
        raise UsageError(f"--task {flags.task}: a harness judges for the run's own judge only")
    judge = judge_of_run(run, getattr(flags, "timeout", None), getattr(flags, "libraries", None))
    check_harness(judge, "--import-report, --export-predictions")
    evaluate_run(run, Evaluation(), judge=judge, workers=1)  # the maps of answers
    if flags.import_report:
        print(import_reports(run, flags.import_report, judge).line())
    if folder := flags.export_predictions:
        found = export_predictions(run, folder, judge)
        predictions = how_many(found.predictions, "prediction")
        print(f"{folder}: {predictions} in {how_many(found.files, 'file')}")
    summary = evaluate_run(run, Evaluation(), judge=judge, workers=1)
    print(summary.line())
    return EXIT_DONE if summary.complete else EXIT_INCOMPLETE


def parser() -> Parser:
    """The flags."""
    found = Parser(__doc__ or "")
    add_run_argument(found)
    found.add_argument(
        "--part", type=int, default=0, help="which part of the answers to judge, from 0 [0]"
    )
    found.add_argument(
        "--parts", type=int, default=1, help="number of parts, one for each array task [1]"
    )
    found.add_argument(
        "--task",
        default="",
        metavar="NAME",
        help="judge by this task's references too, beside the run's own judge, which is left alone",
    )
    found.add_argument(
        "--problems",
        default="",
        metavar="FILE",
        help="with --task: the task's data as published [those of the task, or frozen in the run]",
    )
    found.add_argument(
        "--export-predictions",
        type=Path,
        metavar="DIR",
        help="swe-bench-lite: write the patches without a verdict as predictions for the harness",
    )
    found.add_argument(
        "--import-report",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="swe-bench-lite: take verdicts from these reports and log directories of the harness",
    )
    add_flags(found, "evaluation")
    return found


if __name__ == "__main__":
    run_job(main)
