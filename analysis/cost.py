"""What runs cost: tokens in and out, GPU-hours and dollars, and for each percent of coverage.

python analysis/cost.py RUN [RUN ...] [--usd-per-gpu-hour 2.0] [--out cost]

GPU-hours are what Slurm's accounting said when the run was fitted: every attempt of every job, with
its start-up. Without accounting they are those that the shards tell: a task counts from its first
slice to its last, with the start of its engine, and a task that left no shard is not seen. A
line under the table says which. A run without a GPU has task_hours instead. It has a price where
its launch named prices of tokens (--usd-per-million-output-tokens).

Tokens in are those of the prompts as submitted; the engine's prefix cache saves most of their work.

roof_percent is the speed of a GPU while it sampled, as a share of its roof (docs/roof.md). It is
null where the shards do not tell the card or the model's shape.
"""

from pathlib import Path

import _installed  # noqa: F401
import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.report.comparisons import draw_bars
from toolkit.report.document import read_fit
from toolkit.runs.roof import read_roof
from toolkit.runs.run import Run, open_run
from toolkit.runs.usage import cost_of, facts_of_work, spent_of, usd_of_tokens


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
        tbl_width_chars=220,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        fmt_str_lengths=60,
    ):
        print(table.drop("source"))
    for run, source in table["run", "source"].iter_rows():
        print(f"hours of {run}: from {source}")
    names, hours = table["run"].to_list(), table["gpu_hours"].fill_null(0.0).to_list()
    draw_bars(names, hours, "GPU-hours paid for; 0 without a GPU", flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf")
    return 0


def cost(run: Run, price: float) -> dict[str, str | int | float | None]:
    """Tokens, hours, dollars, and dollars for a percent of the problems solved."""
    document = read_fit(run.results_dir)
    coverage = 100 * document.pass_at_k[document.k_max]
    facts = facts_of_work(run)
    spent = spent_of(facts)
    paid = document.cost
    if paid is None or "sacct" not in paid.source:
        paid = cost_of(facts)
    hours, roof = paid.gpu_hours, read_roof(run)
    usd = usd_of_tokens(run, facts) if hours is None else hours * price
    return {
        "run": run.path.name,
        "tasks": spent.tasks,
        "tokens_in": spent.prompt_tokens,
        "tokens_out": spent.tokens,
        "tokens_shared": spent.shared_tokens,
        "gpu_hours": None if hours is None else round(hours, 4),
        "task_hours": round(paid.seconds / 3600, 4) if hours is None else None,
        "source": paid.source,
        "sampling_percent": _rounded(paid.efficiency, 100, 1),
        "startup_hours": round(spent.startup_seconds / 3600, 4),
        "tokens_out_per_gpu_second": _rounded(spent.tokens_per_second, 1, 0),
        "roof_percent": _rounded(roof.share if roof else None, 100, 1),
        "usd": _rounded(usd, 1, 4),
        "coverage_percent": round(coverage, 2),
        "usd_per_percent": _rounded(usd, 1 / coverage, 5) if coverage else None,
    }


def _rounded(value: float | None, factor: float, digits: int) -> float | None:
    return None if value is None else round(value * factor, digits)


if __name__ == "__main__":
    run_job(main)
