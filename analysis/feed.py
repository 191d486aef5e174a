"""How busy the engines were kept: samples in flight, output tokens/s and KV cache, each task.

python analysis/feed.py RUN [--out feed]

The tail, in which a task has nothing left to submit, is drawn but not judged.
"""

from pathlib import Path

import _installed  # noqa: F401
import polars as pl

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.errors import UsageError
from toolkit.report.comparisons import draw_feed
from toolkit.runs.feed import read_feed
from toolkit.runs.run import open_run


def main() -> int:
    """One row a task, and a figure."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--out", type=Path, default=Path("feed"), help="figure, no suffix")
    flags = parser.parse_args()
    feed = read_feed(open_run(flags.run))
    if feed.is_empty():
        raise UsageError(f"{flags.run}: its shards hold no readings of a feed")
    table = summarize(feed)
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(table)
    print("in flight: as a share of max_num_seqs, before the tail; over 1 some wait in the queue")
    print("preemptions: sequences that the engine began again, for lack of KV cache")
    if table["readings"].max() == 1:
        print("no figure: each task has one reading; there is one a second while an engine samples")
        return 0
    draw_feed(feed, flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf")
    return 0


def summarize(feed: pl.DataFrame) -> pl.DataFrame:
    """One row a task; `feed` as from `read_feed`."""
    share = pl.col("in_flight") / pl.col("wanted")
    # The first second fills an empty engine.
    judged = pl.col("feeding") & (pl.col("time") > pl.col("time").min().over("task") + 1.0)
    span = pl.col("time").max() - pl.col("time").min()
    tokens = pl.col("tokens").max() - pl.col("tokens").min()
    tasks = feed.with_columns(judged.alias("judged")).group_by("task", maintain_order=True)
    return tasks.agg(
        pl.len().alias("readings"),
        span.round(1).alias("seconds"),
        (tokens / span).round(0).alias("tokens_per_s"),
        share.filter("judged").min().round(3).alias("fewest_in_flight"),
        share.filter("judged").mean().round(3).alias("mean_in_flight"),
        pl.col("kv_cache").max().round(3).alias("kv_cache_peak"),
        pl.col("preemptions").max(),
    )


if __name__ == "__main__":
    run_job(main)
