"""Does one run beat another? Paired by problem, at every k that all have, at once.

python analysis/compare_runs.py A B [C ...] [--gate K] [--usd-per-gpu-hour 2]

Compared is the mean difference of the unbiased pass@k over the problems that all runs have. The
intervals are simultaneous: with 95 % they hold for all k and all pairs of runs at once. They speak
of such problems. Where two curves cross is said with an interval, or that they do not.

Coverage is also set against the output tokens and dollars of k samples of every problem: k tries
of one model may cost what k/10 of another do. analysis/frontier.py goes on from there.

With --gate K the exit code says how A does against B at this k: 0 better, 3 worse, 4 cannot tell.
Of a k that was chosen beforehand, the interval is of this k alone. Without --gate it is 0.
"""

import argparse
import json
from pathlib import Path

import _installed  # noqa: F401
import numpy as np

from toolkit.cli import Parser, how_many, run_job
from toolkit.errors import EXIT_DONE, UsageError
from toolkit.files import replace_file
from toolkit.report.comparisons import draw_coverage, draw_differences, draw_scatter
from toolkit.report.run_pairs import (
    Comparison,
    Pair,
    compare,
    comparison_document,
    crossover_line,
    read_runs,
)
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND
from toolkit.stats.comparison import differences, verdict

EXIT_CODES = {"better": EXIT_DONE, "worse": 3, "cannot tell": 4}


def main() -> int:
    """Read the runs, compare each pair, print, draw, and say what a script can use."""
    flags = parsed()
    compared = compare(read_runs(flags.runs))
    print("\n".join(run.label for run in compared.runs))
    print(f"{how_many(len(compared.runs[0].counts), 'problem')} in common")
    print(
        f"dollars assume a GPU of {flags.tokens_per_second:g} tokens/s at "
        f"{flags.usd_per_gpu_hour:g} $ an hour, whatever the runs were sampled on\n"
    )
    usd_per_token = flags.usd_per_gpu_hour / 3600 / flags.tokens_per_second
    for pair in compared.pairs:
        print_pair(compared, pair, usd_per_token)
    write_figures(compared, flags.out, usd_per_token)
    document = comparison_document(compared)
    code = EXIT_DONE
    if flags.gate is not None:
        document["gate"] = gate = gate_verdict(compared, flags.gate)
        code = EXIT_CODES[str(gate["verdict"])]
        print(
            f"gate: A against B at k = {flags.gate}: {gate['verdict']} (difference "
            f"{gate['difference']:.4f}, 95 %: {gate['lo']:.4f} to {gate['hi']:.4f}; one of "
            f"{gate['detectable']:.4f} would be found with 80 %)"
        )
    out = flags.out.with_name(flags.out.name + ".json")
    replace_file(out, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    print(f"all values: {out}")
    return code


def parsed() -> argparse.Namespace:
    """The flags."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument(
        "--gate", type=int, metavar="K", help="a verdict on A against B at this k, as exit code"
    )
    parser.add_argument("--usd-per-gpu-hour", type=float, default=2.0, help="price [2.0]")
    usual = ASSUMED_TOKENS_PER_SECOND
    speed = f"of one GPU, to turn tokens into dollars [{usual:g}, an 8B model on an A100-40GB]"
    parser.add_argument("--tokens-per-second", type=float, default=usual, help=speed)
    parser.add_argument("--out", type=Path, default=Path("compare"), help="figures, no suffix")
    flags = parser.parse_args()
    if len(flags.runs) < 2:
        raise UsageError(f"{flags.runs[0]}: one run alone; name two or more to compare")
    return flags


def print_pair(compared: Comparison, pair: Pair, usd_per_token: float) -> None:
    """The table of a pair, then the verdict at the largest k, and the crossover."""
    first, second = compared.runs[pair.first], compared.runs[pair.second]
    a, b = first.letter, second.letter
    judges = [run.fit.judge for run in (first, second)]
    if judges[0] and judges[1] and judges[0] != judges[1]:
        print(f"judged otherwise: {a} by {judges[0].line()}; {b} by {judges[1].line()}\n")
    spent = f"{a + ' tokens':>11} {b + ' tokens':>11} {a + ' $':>8} {b + ' $':>8}"
    print(f"{'k':>6} {a:>8} {b:>8} {a + ' - ' + b:>8} {'95 %':>18} {'detects':>8} {spent}")
    found = compared.found
    low, high, detects = (each[pair.columns] for each in (found.lo, found.hi, found.detectable))
    tokens = [float(run.tokens.sum()) for run in (first, second)]
    for i, k in enumerate(compared.k.tolist()):
        one, two = compared.curves[pair.first, i], compared.curves[pair.second, i]
        used = [k * each for each in tokens]
        usd = [each * usd_per_token for each in used]
        spent = f"{used[0]:11.0f} {used[1]:11.0f} {usd[0]:8.4f} {usd[1]:8.4f}"
        apart = f"{one - two:8.4f} {low[i]:8.4f} .. {high[i]:6.4f} {detects[i]:8.4f}"
        print(f"{k:>6} {one:8.4f} {two:8.4f} {apart} {spent}")
    k, last = compared.k.tolist(), verdict(low[-1], high[-1])
    wins = ["supported" if last == word else "not supported" for word in ("better", "worse")]
    print(f"\n'{a} beats {b}' at k = {k[-1]}: {wins[0]}; '{b} beats {a}': {wins[1]}")
    for name, sure in ((a, low > 0), (b, high < 0)):
        if sure.any():
            print(f"{name} is better at k = {', '.join(str(k[i]) for i in np.flatnonzero(sure))}")
    print(f"{crossover_line(pair.crossover, a, b, k[-1])}\n")


def gate_verdict(compared: Comparison, k: int) -> dict[str, float | str]:
    """A against B at one k. Raises `UsageError` for a k that not all problems support."""
    a, b, *_ = compared.runs
    top = min(a.counts.k_max, b.counts.k_max)
    if not 1 <= k <= top:
        raise UsageError(f"--gate {k}: both runs have an estimate for k = 1 to {top} only")
    first, second = (1 - run.counts.fail_at_k([k]) for run in (a, b))
    found = differences(first - second, replicates=100)
    lo, hi, detectable = found.one(0)
    return {
        "k": k,
        "verdict": verdict(lo, hi),
        "difference": float(found.mean[0]),
        "lo": lo,
        "hi": hi,
        "detectable": detectable,
    }


def write_figures(compared: Comparison, out: Path, usd_per_token: float) -> None:
    """Problem by problem (of A and B), differences, and coverage against tokens."""
    a, b, *_ = compared.runs
    rates, others = ((1 - run.counts.fail_at_k([1])[:, 0]).tolist() for run in (a, b))
    draw_scatter(rates, others, ("pass@1 of a problem, A", "pass@1 of a problem, B"), out)
    found = compared.found
    shown = {}
    for pair in compared.pairs:
        name = f"{compared.runs[pair.first].letter} - {compared.runs[pair.second].letter}"
        shown[name] = tuple(each[pair.columns] for each in (found.mean, found.lo, found.hi))
    draw_differences(compared.k, shown, out.with_name(out.name + "-difference"))
    curves = {
        run.label: (
            [int(k) * float(run.tokens.sum()) for k in compared.k],
            compared.curves[i].tolist(),
        )
        for i, run in enumerate(compared.runs)
    }
    draw_coverage(curves, usd_per_token, out.with_name(out.name + "-tokens"))
    print(f"figures: {out}.png, {out}-difference.png, {out}-tokens.png, and .svg, .pdf")


if __name__ == "__main__":
    run_job(main)
