"""One row a sample: task_id, seed, answer, outcome, passed, detail, as parquet for polars.

python analysis/outcomes.py RUN --out outcomes.parquet
"""

from pathlib import Path

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import open_run, write_table
from toolkit.verifiers.judges import judge_of_run


def main() -> int:
    """Join samples with verdicts, write them, and print how many there are of each outcome."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    add_judge_arguments(parser)
    flags = parser.parse_args()
    run = open_run(flags.run)
    outcomes = sample_outcomes(run, judge_of_run(run, flags.timeout, flags.libraries))
    write_table(flags.out, outcomes, {"run": str(flags.run)})
    for outcome, count in outcomes["outcome"].value_counts(sort=True).iter_rows():
        print(f"{outcome or 'not evaluated':>14}  {count}")
    print(f"{outcomes.height} samples: {flags.out}")
    return 0


if __name__ == "__main__":
    run_job(main)
