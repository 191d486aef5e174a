"""Does run A beat run B? Paired by problem, at every k that both have, with a 95 % interval.

python analysis/compare_runs.py A B [--usd-per-gpu-hour 2] [--tokens-per-second 4000]

The interval speaks of such problems: mean difference of the unbiased pass@k over the problems that
both runs have, +- 1.96 standard errors of that mean. Coverage is also set against the output tokens
and dollars of k samples of every problem: k tries of one model may cost what k/10 of another do.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from toolkit.cli import Parser, run_job
from toolkit.errors import UsageError
from toolkit.report.figures import draw_coverage, draw_scatter
from toolkit.runs.run import open_run, result_file
from toolkit.stats.curve import Counts
from toolkit.stats.passk import k_grid
from toolkit.stats.stopping import StoppingRule


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
    a = Counts.of(both["n"], both["c"], read_rule(flags.a))
    b = Counts.of(both["n_b"], both["c_b"], read_rule(flags.b))
    print(f"A {flags.a}\nB {flags.b}\n{both.height} problems in common\n")
    rows = compare(a, b)
    tokens = [mean_tokens(both, suffix) for suffix in ("", "_b")]
    usd_per_token = flags.usd_per_gpu_hour / 3600 / flags.tokens_per_second
    print(f"{'k':>6} {'A':>8} {'B':>8} {'A - B':>8} {'95 %':>18} {'A tokens':>11} {'B tokens':>11}"
          f" {'A $':>8} {'B $':>8}")  # fmt: skip
    for k, first, second, low, high in rows:
        spent = [k * each for each in tokens]
        print(f"{k:>6} {first:8.4f} {second:8.4f} {first - second:8.4f} {low:8.4f} .. {high:6.4f}"
              f" {spent[0]:11.0f} {spent[1]:11.0f} {spent[0] * usd_per_token:8.4f}"
              f" {spent[1] * usd_per_token:8.4f}")  # fmt: skip
    k, _, _, low, high = rows[-1]
    print(f"\n'A beats B' at k = {k}: {'supported' if low > 0 else 'not supported'}; 'B beats A': "
          f"{'supported' if high < 0 else 'not supported'}")  # fmt: skip
    draw_scatter((1 - a.fail_at_k([1])[:, 0]).tolist(), (1 - b.fail_at_k([1])[:, 0]).tolist(),
                 ("pass@1 of a problem, A", "pass@1 of a problem, B"), flags.out)  # fmt: skip
    by_tokens = flags.out.with_name(flags.out.name + "-tokens")
    curves = {
        f"{'AB'[i]} {path}": ([row[0] * tokens[i] for row in rows], [row[1 + i] for row in rows])
        for i, path in enumerate((flags.a, flags.b))
    }
    draw_coverage(curves, usd_per_token, by_tokens)
    print(f"figures: {flags.out}.png, {by_tokens}.png, and .svg")
    return 0


def compare(a: Counts, b: Counts) -> list[tuple[int, float, float, float, float]]:
    """k, pass@k of both, and the 95 % interval of the difference, for each k that both have."""
    rows = []
    for k in k_grid(min(a.k_max, b.k_max)):
        first, second = (1 - counts.fail_at_k([k])[:, 0] for counts in (a, b))
        low, high = difference(first, second)
        rows.append((int(k), float(first.mean()), float(second.mean()), low, high))
    return rows


def mean_tokens(both: pl.DataFrame, suffix: str) -> float:
    """Output tokens of one sample of every problem."""
    samples = both[f"n{suffix}"] + both[f"unjudged{suffix}"]
    return float((both[f"tokens{suffix}"] / samples).sum())


def read_counts(path: Path) -> pl.DataFrame:
    """task_id, n, c, tokens, unjudged of a run's results."""
    table = result_file(open_run(path), "counts.parquet")
    return pl.read_parquet(table).select("task_id", "n", "c", "tokens", "unjudged")


def read_rule(path: Path) -> StoppingRule | None:
    """The rule by which the run's sampling stopped, as its results say."""
    found = json.loads(result_file(open_run(path), "fit.json").read_text(encoding="utf-8"))
    return StoppingRule.of_document(found["stopping"]) if found["stopping"] else None


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean of first - second, paired by problem."""
    apart = first - second
    error = 1.96 * float(apart.std(ddof=1)) / np.sqrt(len(apart))
    return float(apart.mean()) - error, float(apart.mean()) + error


if __name__ == "__main__":
    run_job(main)
