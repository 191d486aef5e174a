"""What runs cost: tokens in and out, GPU-hours and dollars, and for each percent of coverage.

python analysis/cost.py RUN [RUN ...] [--usd-per-gpu-hour 2.0] [--out cost]

GPU-hours are those of the sampling tasks, as their shards say, times the GPUs of an engine. A task
counts from its first slice to its last, and so does the start of its engine, which is paid for too.
A task that left no shard is not seen. Tokens in are those of the prompts as submitted; the engine's
prefix cache saves most of their work.
"""

from pathlib import Path

import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.report.comparisons import draw_bars
from toolkit.report.document import read_fit
from toolkit.runs.run import Run, open_run
from toolkit.runs.usage import read_spent


def main() -> int:
    """One row a run."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument("--usd-per-gpu-hour", type=float, default=2.0, help="price [2.0]")
    parser.add_argument("--out", type=Path, default=Path("cost"), help="figure, no suffix")
    flags = parser.parse_args()
    rows = [cost(open_run(path), flags.usd_per_gpu_hour) for path in flags.runs]
    table = pl.DataFrame(rows)
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=160,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        fmt_str_lengths=60,
    ):
        print(table)
    names, hours = table["run"].to_list(), table["gpu_hours"].to_list()
    draw_bars(names, hours, "GPU-hours of sampling tasks", flags.out)
    print(f"figure: {flags.out}.png, {flags.out}.svg")
    return 0


def cost(run: Run, price: float) -> dict[str, str | int | float | None]:
    """Tokens, hours, dollars, and dollars for a percent of the problems solved."""
    document = read_fit(run.results_dir)
    coverage = 100 * document.pass_at_k[document.k_max]
    spent = read_spent(run)
    usd = spent.gpu_hours * price
    return {
        "run": run.path.name,
        "tasks": spent.tasks,
        "tokens_in": spent.prompt_tokens,
        "tokens_out": spent.tokens,
        "gpu_hours": round(spent.gpu_hours, 4),
        "startup_hours": round(spent.startup_seconds / 3600, 4),
        "tokens_out_per_gpu_second": round(spent.tokens_per_second or 0) or None,
        "usd": round(usd, 4),
        "coverage_percent": round(coverage, 2),
        "usd_per_percent": round(usd / coverage, 5) if coverage else None,
    }


if __name__ == "__main__":
    run_job(main)
