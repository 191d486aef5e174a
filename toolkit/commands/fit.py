"""Fit fail@k and write the report of a run, or of a file of counts.

Of a run: unbiased pass@k, fits, forecast, figures and report, written to RUN/results. Exit code 1
means that planned samples are missing; the report says so too. With --judge NAME: by a judge that
evaluate's --task NAME has added, written to RUN/results/NAME.

Of a file of counts: the same, from --counts to --out. The CSV file has the columns problem_id or
task_id, n, c. If its sampling stopped because of passes, give the rule with --stop-r, --stop-min,
--stop-cap and --stop-batch. For a run the rule is known.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.config import Fit
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from toolkit.stats.stopping import StoppingRule

REPLICATES = Fit().replicates
STOP_FLAGS = {
    "--stop-r": "sampling of a problem stopped when it had this many passes",
    "--stop-min": "minimum number of samples of each problem",
    "--stop-cap": "maximum number of samples of a problem",
    "--stop-batch": "samples between two looks at the passes. 0: half of those before, as "
    "launch's --adaptive does [1]",
}


def main() -> int:
    """Make one call of `toolkit.stages.fit` from the flags."""
    flags = parser().parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.launch.accounting import read_cost
    from toolkit.report.document import FitContext
    from toolkit.report.terminal import describe_fit
    from toolkit.runs.history import recorded_config
    from toolkit.runs.run import open_run
    from toolkit.stages.counts_csv import read_counts_csv
    from toolkit.stages.fit import fit_counts, fit_run, results_of
    from toolkit.verifiers.judges import judge_of_run

    if flags.replicates is not None and flags.replicates < 100:
        raise UsageError(f"--replicates {flags.replicates}: must be 100 or more")
    if (flags.counts is None) != (flags.out is None):
        raise UsageError("give both --counts and --out, or neither")
    rule = stopping_rule(flags)
    if flags.counts is not None:
        counts, context = read_counts_csv(flags.counts, rule), FitContext(title=flags.counts.name)
        replicates = flags.replicates or REPLICATES
        document, _ = fit_counts(
            counts,
            flags.out,
            context,
            rule=rule,
            replicates=replicates,
            forecasts=not flags.no_forecast,
        )
        print(describe_fit(document, flags.out))
        return EXIT_DONE
    run = open_run(flags.run)
    judge = judge_of_run(run, flags.timeout, flags.libraries, flags.judge)
    recorded = recorded_config(run).get("fit", {})
    document = fit_run(
        run,
        judge=judge,
        name=flags.judge,
        replicates=flags.replicates or recorded.get("replicates", REPLICATES),
        forecasts=not flags.no_forecast,
        cost=read_cost(run),
        browse=recorded.get("browse", True) if flags.browse is None else flags.browse,
    )
    print(describe_fit(document, results_of(run, flags.judge)))
    return EXIT_DONE if document.complete else EXIT_INCOMPLETE


def stopping_rule(flags: argparse.Namespace) -> "StoppingRule | None":
    """The rule that the --stop flags describe. None without these flags."""
    from toolkit.stats.stopping import StoppingRule

    given = {name: value for name, value in vars(flags).items() if name.startswith("stop_")}
    if not given:
        return None
    if not given.keys() >= {"stop_r", "stop_min", "stop_cap"} or flags.counts is None:
        raise UsageError("--stop-r, --stop-min and --stop-cap: give all three, with --counts")
    batch = given.get("stop_batch", 1)
    return StoppingRule.batches(given["stop_r"], given["stop_min"], given["stop_cap"], batch)


def parser() -> Parser:
    """The flags."""
    found = Parser(__doc__ or "")
    add_run_argument(found)
    found.add_argument("--counts", type=Path, help="fit this CSV file instead of a run")
    found.add_argument("--out", type=Path, help="with --counts: the directory to write")
    found.add_argument(
        "--replicates",
        type=int,
        help=f"number of bootstrap replicates [those of the last launch, else {REPLICATES}]",
    )
    found.add_argument(
        "--no-forecast",
        action="store_true",
        help="nothing beyond the samples: the curve, its intervals and the fits, sooner",
    )
    found.add_argument(
        "--browse",
        action=argparse.BooleanOptionalAction,
        help="write results/browse.html, the page of all samples [as at the last launch]",
    )
    group = found.add_argument_group(
        "stopping", "With --counts, if sampling stopped because of passes: by which rule."
    )
    for name, text in STOP_FLAGS.items():
        group.add_argument(name, type=int, default=argparse.SUPPRESS, help=text)
    add_judge_arguments(found)
    found.add_argument(
        "--judge",
        default="",
        metavar="NAME",
        help="fit by this judge, which evaluate's --task NAME has added [the run's own]",
    )
    return found


if __name__ == "__main__":
    run_job(main)
