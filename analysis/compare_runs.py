"""Does run A beat run B? Paired by problem, at every k that both have, with a 95 % interval.

python analysis/compare_runs.py A B [--usd-per-gpu-hour 2] [--tokens-per-second 4000]

Compared is the mean difference of the unbiased pass@k over the problems that both runs have. The
interval is that mean +- 1.96 of its standard errors, and speaks of such problems.

Coverage is also set against the output tokens and dollars of k samples of every problem: k tries
of one model may cost what k/10 of another do.
"""

from pathlib import Path

import numpy as np
import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.errors import UsageError
from toolkit.report.comparisons import draw_coverage, draw_scatter
from toolkit.report.document import read_fit
from toolkit.runs.run import open_run, result_file
from toolkit.stats.arrays import Floats
from toolkit.stats.curve import Counts
from toolkit.stats.passk import k_grid

Row = tuple[int, float, float, float, float]
"""k, pass@k of A and of B, and the ends of the interval of their difference."""


def main() -> int:
    """Join the two runs' counts by problem and compare them k by k."""
    parser = Parser(__doc__ or "")
    parser.add_argument("a", type=Path, metavar="A", help="a run that was fitted")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    parser.add_argument("--usd-per-gpu-hour", type=float, default=2.0, help="price [2.0]")
    speed = "of one GPU, to turn tokens into dollars [4000, an 8B model on an A100-40GB]"
    parser.add_argument("--tokens-per-second", type=float, default=4000.0, help=speed)
    parser.add_argument("--out", type=Path, default=Path("compare"), help="figure, no suffix")
    flags = parser.parse_args()
    both = read_counts(flags.a).join(read_counts(flags.b), on="task_id", suffix="_b")
    both = both.filter((pl.col("n") > 0) & (pl.col("n_b") > 0))
    if both.height < 2:
        raise UsageError(
            f"{flags.a} and {flags.b} share {both.height} problems: nothing to compare"
        )
    first, second = (read_fit(open_run(path).results_dir) for path in (flags.a, flags.b))
    a = Counts.of(both["n"], both["c"], first.stopping)
    b = Counts.of(both["n_b"], both["c_b"], second.stopping)
    print(f"A {flags.a}\nB {flags.b}\n{both.height} problems in common")
    print(
        f"dollars assume a GPU of {flags.tokens_per_second:g} tokens/s at "
        f"{flags.usd_per_gpu_hour:g} $ an hour, whatever the runs were sampled on\n"
    )
    if first.judge and second.judge and first.judge != second.judge:
        print(f"judged otherwise: A by {first.judge.line()}; B by {second.judge.line()}\n")
    rows = compare(a, b)
    tokens = [mean_tokens(both, suffix) for suffix in ("", "_b")]
    usd_per_token = flags.usd_per_gpu_hour / 3600 / flags.tokens_per_second
    print_rows(rows, tokens, usd_per_token)
    rates = [(1 - counts.fail_at_k([1])[:, 0]).tolist() for counts in (a, b)]
    draw_scatter(*rates, ("pass@1 of a problem, A", "pass@1 of a problem, B"), flags.out)
    by_tokens = flags.out.with_name(flags.out.name + "-tokens")
    curves = {
        f"{'AB'[i]} {path}": ([row[0] * tokens[i] for row in rows], [row[1 + i] for row in rows])
        for i, path in enumerate((flags.a, flags.b))
    }
    draw_coverage(curves, usd_per_token, by_tokens)
    print(f"figures: {flags.out}.png, {by_tokens}.png, and .svg")
    return 0


def print_rows(rows: list[Row], tokens: list[float], usd_per_token: float) -> None:
    """The table, and the verdict at its largest k; `tokens` of one sample of every problem."""
    spent = f"{'A tokens':>11} {'B tokens':>11} {'A $':>8} {'B $':>8}"
    print(f"{'k':>6} {'A':>8} {'B':>8} {'A - B':>8} {'95 %':>18} {spent}")
    for k, first, second, low, high in rows:
        used = [k * each for each in tokens]
        usd = [each * usd_per_token for each in used]
        spent = f"{used[0]:11.0f} {used[1]:11.0f} {usd[0]:8.4f} {usd[1]:8.4f}"
        difference = f"{first - second:8.4f} {low:8.4f} .. {high:6.4f}"
        print(f"{k:>6} {first:8.4f} {second:8.4f} {difference} {spent}")
    k, _, _, low, high = rows[-1]
    a_wins, b_wins = ("supported" if wins else "not supported" for wins in (low > 0, high < 0))
    print(f"\n'A beats B' at k = {k}: {a_wins}; 'B beats A': {b_wins}")


def compare(a: Counts, b: Counts) -> list[Row]:
    """One row for each k that both have."""
    rows = []
    for k in k_grid(min(a.k_max, b.k_max)):
        first, second = (1 - counts.fail_at_k([k])[:, 0] for counts in (a, b))
        low, high = difference(first, second)
        rows.append((int(k), float(first.mean()), float(second.mean()), low, high))
    return rows


def mean_tokens(both: pl.DataFrame, suffix: str) -> float:
    """Output tokens of one sample of every problem; nan where they are not known."""
    if both[f"tokens{suffix}"].has_nulls():
        return float("nan")
    samples = both[f"n{suffix}"] + both[f"unjudged{suffix}"]
    return float((both[f"tokens{suffix}"] / samples).sum())


def read_counts(path: Path) -> pl.DataFrame:
    """task_id, n, c, tokens, unjudged of a run's results."""
    table = result_file(open_run(path), "counts.parquet")
    return pl.read_parquet(table).select("task_id", "n", "c", "tokens", "unjudged")


def difference(first: Floats, second: Floats) -> tuple[float, float]:
    """95 % interval of the mean of first - second, paired by problem."""
    apart = first - second
    error = 1.96 * float(apart.std(ddof=1)) / np.sqrt(len(apart))
    return float(apart.mean()) - error, float(apart.mean()) + error


if __name__ == "__main__":
    run_job(main)
