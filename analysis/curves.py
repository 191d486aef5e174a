"""The fail@k curves of one or more runs: a table, and a figure on log-log axes.

python analysis/curves.py RUN [RUN ...] [--out curves]
"""

from pathlib import Path

import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.report.comparisons import draw_curves
from toolkit.runs.run import open_run, result_file


def main() -> int:
    """Read each run's curve.parquet, print them side by side, draw them together."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument("--out", type=Path, default=Path("curves"), help="figure, no suffix")
    flags = parser.parse_args()
    curves = {}
    for path in flags.runs:
        run = open_run(path)
        curves[run.path.name] = pl.read_parquet(result_file(run, "curve.parquet"))
    joined = pl.concat(
        [
            frame.select(pl.lit(name).alias("run"), "k", "pass_at_k")
            for name, frame in curves.items()
        ]
    ).pivot("run", index="k", values="pass_at_k")
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(joined.sort("k"))
    draw_curves(curves, flags.out)
    print(f"pass@k by run; figure of fail@k: {flags.out}.png, {flags.out}.svg")
    return 0


if __name__ == "__main__":
    run_job(main)
