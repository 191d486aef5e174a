"""Does run A beat run B? Paired by problem, at every k that both have, with a 95 % interval.

python analysis/compare_runs.py A B [--usd-per-gpu-hour 2] [--tokens-per-second 4000]

The interval speaks of such problems: mean difference of the unbiased pass@k over the problems that
both runs have, +- 1.96 standard errors of that mean. Coverage is also set against output tokens,
since k tries of one model may cost what k/10 of another do.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.errors import UsageError
from toolkit.figures import draw_scatter
from toolkit.passk import k_grid, pass_at_k
from toolkit.store import open_run, result_file


def main() -> int:
    """Join the two runs' counts by problem and compare them k by k."""
    parser = Parser(__doc__ or "")
    parser.add_argument("a", type=Path, metavar="A", help="a run that was fitted")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    parser.add_argument("--usd-per-gpu-hour", type=float, default=2.0, help="price [2.0]")
    parser.add_argument("--tokens-per-second", type=float, default=4000.0,
                        help="of one GPU, to turn tokens into dollars [4000]")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("compare"), help="figure, no suffix")
    flags = parser.parse_args()
    both = read_counts(flags.a).join(read_counts(flags.b), on="task_id", suffix="_b")
    both = both.filter((pl.col("n") > 0) & (pl.col("n_b") > 0))
    if both.height < 2:
        raise UsageError(
            f"{flags.a} and {flags.b} share {both.height} problems: nothing to compare"
        )
    print(f"A {flags.a}\nB {flags.b}\n{both.height} problems in common\n")
    price = flags.usd_per_gpu_hour / 3600 / flags.tokens_per_second
    print(f"{'k':>6} {'A':>8} {'B':>8} {'A - B':>8} {'95 %':>18} {'A tokens':>11} {'B tokens':>11}"
          f" {'A $':>8} {'B $':>8}")  # fmt: skip
    low = high = 0.0
    for k in k_grid(int(min(both["n"].min(), both["n_b"].min()))):  # type: ignore[type-var]
        first, second = rates(both, "", int(k)), rates(both, "_b", int(k))
        low, high = difference(first, second)
        tokens = [k * float((both[f"tokens{s}"] / both[f"n{s}"]).sum()) for s in ("", "_b")]
        print(f"{k:>6} {first.mean():8.4f} {second.mean():8.4f} {(first - second).mean():8.4f}"
              f" {low:8.4f} .. {high:6.4f} {tokens[0]:11.0f} {tokens[1]:11.0f}"
              f" {tokens[0] * price:8.4f} {tokens[1] * price:8.4f}")  # fmt: skip
    verdict = "supported" if low > 0 else "not supported"
    print(f"\n'A beats B' at k = {k}: {verdict}; 'B beats A': "
          f"{'supported' if high < 0 else 'not supported'}")  # fmt: skip
    draw_scatter(rates(both, "", 1).tolist(), rates(both, "_b", 1).tolist(),
                 ("pass@1 of a problem, A", "pass@1 of a problem, B"), flags.out)  # fmt: skip
    print(f"figure: {flags.out}.png, {flags.out}.svg")
    return 0


def read_counts(path: Path) -> pl.DataFrame:
    """task_id, n, c, tokens of a run's results."""
    table = result_file(open_run(path), "counts.parquet")
    return pl.read_parquet(table).select("task_id", "n", "c", "tokens")


def rates(both: pl.DataFrame, suffix: str, k: int) -> Any:
    """Unbiased pass@k of each problem."""
    return pass_at_k(both[f"n{suffix}"].to_numpy(), both[f"c{suffix}"].to_numpy(), k)


def difference(first: Any, second: Any) -> tuple[float, float]:
    """95 % interval of the mean of first - second, paired by problem."""
    apart = first - second
    error = 1.96 * float(apart.std(ddof=1)) / np.sqrt(len(apart))
    return float(apart.mean()) - error, float(apart.mean()) + error


if __name__ == "__main__":
    run_job(main)
