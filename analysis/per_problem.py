"""Which problems are hard: n, c, distinct programs of each, hardest first, over one or more runs.

python analysis/per_problem.py RUN [RUN ...] [--show 20] [--out per_problem]
"""

from pathlib import Path

import _installed  # noqa: F401
import polars as pl

from toolkit.cli import Parser, how_many, run_job
from toolkit.report.comparisons import draw_bars
from toolkit.runs.run import open_run, result_file


def main() -> int:
    """Add up the counts of the runs, print the hardest problems, draw their pass rates."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument("--show", type=int, default=20, help="so many, hardest first [20]")
    parser.add_argument("--out", type=Path, default=Path("per_problem"), help="figure, no suffix")
    flags = parser.parse_args()
    tables = [result_file(open_run(path), "counts.parquet") for path in flags.runs]
    counts = (
        pl.concat([pl.read_parquet(table) for table in tables])
        .group_by("task_id", maintain_order=True)
        .agg(pl.col("n", "c", "distinct").sum())
        .filter(pl.col("n") > 0)
        .with_columns((pl.col("c") / pl.col("n")).alias("rate"))
        .sort("rate", "task_id")
    )
    hardest = counts.head(flags.show)
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(hardest)
    print(
        f"{how_many(counts.height, 'problem')}, {counts.filter(pl.col('c') == 0).height} unsolved"
    )
    names, rates = hardest["task_id"].to_list(), hardest["rate"].to_list()
    if not any(rates):
        print("no figure: none of these problems has a sample that passes")
        return 0
    draw_bars(names, rates, "share of passing samples, c/n", flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf")
    return 0


if __name__ == "__main__":
    run_job(main)
