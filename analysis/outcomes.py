"""One row a sample: task_id, seed, program, outcome, passed, detail, as parquet for polars.

python analysis/outcomes.py RUN --out outcomes.parquet
"""

from pathlib import Path

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.config import add_flags, resolve
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import open_run, write_table


def main() -> int:
    """Join samples with verdicts, write them, and print how many there are of each outcome."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    add_flags(parser, "evaluation")
    flags = parser.parse_args()
    outcomes = sample_outcomes(open_run(flags.run), resolve(vars(flags)).evaluation.timeout)
    write_table(flags.out, outcomes, {"run": str(flags.run)})
    for outcome, count in outcomes["outcome"].value_counts(sort=True).iter_rows():
        print(f"{outcome or 'not evaluated':>14}  {count}")
    print(f"{outcomes.height} samples: {flags.out}")
    return 0


if __name__ == "__main__":
    run_job(main)
