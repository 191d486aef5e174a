"""One row a sample, as parquet for polars: what became of it, and why.

Its columns are task_id, seed, answer, outcome, kind, passed, detail, suspect, canonical and
finish_reason, and passed_NAME for each judge that `evaluate.py --task NAME` has added.

python analysis/outcomes.py RUN --out outcomes.parquet
"""

from pathlib import Path

import _installed  # noqa: F401

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.runs.outcomes import IS_SUSPECT, sample_outcomes
from toolkit.runs.run import open_run
from toolkit.runs.second_judge import second_judges
from toolkit.runs.tables import write_table
from toolkit.verifiers.judges import judge_of_run


def main() -> int:
    """Join samples with verdicts, write them, and print how many there are of each outcome."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="the parquet file to write")
    add_judge_arguments(parser)
    flags = parser.parse_args()
    run = open_run(flags.run)
    beside = {name: judge_of_run(run, name=name) for name in second_judges(run)}
    judge = judge_of_run(run, flags.timeout, flags.libraries)
    outcomes = sample_outcomes(run, judge, beside)
    write_table(flags.out, outcomes, {"run": str(flags.run)})
    kinds = outcomes.group_by("outcome", "kind").len().sort("len", descending=True)
    for outcome, kind, count in kinds.iter_rows():
        print(f"{kind or outcome or 'not evaluated':>14}  {count}")
    if suspect := outcomes.filter(IS_SUSPECT).height:
        print(f"{'suspect passes':>14}  {suspect}")
    print(f"{outcomes.height} samples: {flags.out}")
    return 0


if __name__ == "__main__":
    run_job(main)
