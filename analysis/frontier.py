"""What coverage costs: a small model many times against a large one once.

python analysis/frontier.py RUN [RUN ...] [--usd-per-million-tokens 0.2,5.0]

Coverage pass@k of each run against output tokens and dollars of all problems, by two policies: k
samples of *every* problem, or *discard*: none after a problem's first pass. Runs are compared on
the problems that all have. Then each run's one try of every problem is set against as many tries of
the others as cost no more.

A value for each run is given with commas between, or one for all. Where a run was launched with
prices of tokens, as of a hosted model, its prompts and completions cost those. Otherwise a GPU's
price and speed make the price of an output token, and prompts cost nothing. What is given by
--usd-per-million-tokens holds before both.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import _installed  # noqa: F401
import numpy as np

from toolkit.cli import Parser, how_many, run_job
from toolkit.errors import EXIT_DONE, UsageError
from toolkit.files import replace_file
from toolkit.report.comparisons import draw_frontier
from toolkit.report.prices import Price, hosted_price
from toolkit.report.run_pairs import FittedRun, fine_grid, read_runs
from toolkit.runs.run import open_run
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND
from toolkit.stats.arrays import Floats
from toolkit.stats.comparison import verdict
from toolkit.stats.frontier import POLICIES, Frontier, at_equal_cost, frontier, samples_needed
from toolkit.stats.passk import k_grid

WORDS = {"better": "more", "worse": "less", "cannot tell": "cannot tell"}


def main() -> int:
    """Read the runs, price them, print their frontiers, compare at equal cost, draw."""
    flags = parsed()
    runs = read_runs(flags.runs) if len(flags.runs) > 1 else read_runs(2 * flags.runs)[:1]
    prices = prices_of(flags, runs)
    lengths = tokens_of(flags, runs)
    found: dict[str, list[Frontier]] = {}
    spent: dict[str, list[Floats]] = {}
    for run, price, tokens in zip(runs, prices, lengths, strict=True):
        k = fine_grid(run.counts.k_max)
        costs = price.of_samples(tokens)
        found[run.letter] = [frontier(run.counts, costs, k, p) for p in POLICIES]
        spent[run.letter] = [spent_tokens(run, tokens, f) for f in found[run.letter]]
        print(f"{run.label}: {price.source}")
    print(f"{how_many(len(runs[0].counts), 'problem')} in common\n")
    print_frontiers(found, spent)
    equal = compare_at_equal_cost(found)
    out = flags.out.with_name(flags.out.name + ".json")
    document = {
        "runs": {run.letter: str(run.path) for run in runs},
        "usd_per_token": {x: p.usd_per_token for x, p in zip(found, prices, strict=True)},
        "usd_per_sample": {x: p.usd_per_sample for x, p in zip(found, prices, strict=True)},
        "frontiers": {
            letter: [plain(f, tokens) for f, tokens in zip(both, spent[letter], strict=True)]
            for letter, both in found.items()
        },
        "at_the_cost_of_one_try": equal,
    }
    replace_file(out, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    draw_frontier({run.label: found[run.letter] for run in runs}, flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf; all values: {out}")
    return EXIT_DONE


def parsed() -> argparse.Namespace:
    """The flags."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument(
        "--usd-per-million-tokens", metavar="USD", help="price of output tokens [of a GPU's hour]"
    )
    parser.add_argument("--usd-per-gpu-hour", default="2", metavar="USD", help="price [2]")
    usual = f"{ASSUMED_TOKENS_PER_SECOND:g}"
    speed = f"of one GPU, or of all that serve a model [{usual}, an 8B model on an A100-40GB]"
    parser.add_argument("--tokens-per-second", default=usual, metavar="N", help=speed)
    parser.add_argument(
        "--tokens-per-sample", metavar="N", help="where a run does not know its tokens [its own]"
    )
    parser.add_argument("--out", type=Path, default=Path("frontier"), help="figure, no suffix")
    return parser.parse_args()


def numbers(flag: str, text: str, runs: int) -> list[float]:
    """The values of a flag, one for each run. Raises `UsageError`."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, runs) or not all(0 < value < float("inf") for value in values):
        raise UsageError(
            f"{flag} {text}: needs a number over 0, or {runs} with commas between, one a run"
        )
    return values * runs if len(values) == 1 else values


def prices_of(flags: argparse.Namespace, runs: Sequence[FittedRun]) -> list[Price]:
    """What a sample of each run costs: as it is said here, as the run was launched, or by a GPU."""
    said = "{:.4g} $ for a million output tokens"
    if flags.usd_per_million_tokens:
        given = numbers("--usd-per-million-tokens", flags.usd_per_million_tokens, len(runs))
        return [Price(value / 1e6, 0.0, said.format(value)) for value in given]
    hours = numbers("--usd-per-gpu-hour", flags.usd_per_gpu_hour, len(runs))
    speeds = numbers("--tokens-per-second", flags.tokens_per_second, len(runs))
    found = []
    for run, usd, speed in zip(runs, hours, speeds, strict=True):
        price = usd / 3600 / speed
        hosted = hosted_price(open_run(run.path), run.fit.sampled or 0)
        found.append(hosted or Price(price, 0.0, said.format(1e6 * price)))
    return found


def spent_tokens(run: FittedRun, tokens: Floats, found: Frontier) -> Floats:
    """Output tokens of all problems at each point. tokens: of a sample of each, shape (P,)."""
    if found.policy == "discard":
        return np.asarray(tokens @ samples_needed(run.counts, found.k))
    return tokens.sum() * found.k


def tokens_of(flags: argparse.Namespace, runs: Sequence[FittedRun]) -> list[Floats]:
    """Output tokens of a sample of each problem, for each run."""
    given = None
    if flags.tokens_per_sample:
        given = numbers("--tokens-per-sample", flags.tokens_per_sample, len(runs))
    found = []
    for i, run in enumerate(runs):
        known = bool(np.isfinite(run.tokens).all())
        if not known and given is None:
            raise UsageError(
                f"{run.path}: its output tokens are not known; give --tokens-per-sample"
            )
        found.append(run.tokens if known else np.full(len(run.counts), given[i] if given else 0.0))
    return found


def print_frontiers(found: dict[str, list[Frontier]], spent: dict[str, list[Floats]]) -> None:
    """One row for each run, k and policy."""
    print(f"{'run':>4} {'k':>6} {'pass@k':>8} {'95 %':>18}", end="")
    print("".join(f" {p + ' tokens':>15} {p + ' $':>11}" for p in POLICIES))
    for letter, both in found.items():
        every = both[0]
        shown = np.flatnonzero(np.isin(every.k, k_grid(int(every.k[-1]))))
        for i, k in zip(shown.tolist(), every.k[shown].tolist(), strict=True):
            band = f"{every.lo[i]:8.4f} .. {every.hi[i]:6.4f}"
            each = zip(both, spent[letter], strict=True)
            costs = "".join(f" {tokens[i]:15.0f} {f.cost[i]:11.5g}" for f, tokens in each)
            print(f"{letter:>4} {k:>6} {every.coverage[i]:8.4f} {band:>18}{costs}")
    print()


def compare_at_equal_cost(found: dict[str, list[Frontier]]) -> list[dict[str, object]]:
    """Each run's one try against the others; prints a line for each and returns them for JSON."""
    rows: list[dict[str, object]] = []
    for letter, (one, _) in found.items():
        others = [(x, f) for x, both in found.items() if x != letter for f in both]
        chosen, apart = at_equal_cost(one, [f for _, f in others])
        column = 0
        for (name, f), k in zip(others, chosen, strict=True):
            against = f"one try of {letter} ({one.coverage[0]:.4f}, {one.cost[0]:.4g} $)"
            if k is None or apart is None:
                print(f"{against}: one try of {name} costs more")
                continue
            mean, lo, hi = (float(v[column]) for v in (apart.mean, apart.lo, apart.hi))
            column += 1
            says = verdict(lo, hi)
            print(
                f"{against}: {k} tries of {name} ({f.policy}) cover {one.coverage[0] + mean:.4f}, "
                f"{mean:+.4f} (95 %: {lo:+.4f} to {hi:+.4f}): {WORDS[says]}"
            )
            rows.append(
                {"one_try_of": letter, "against": name, "policy": f.policy, "k": k}
                | {"difference": mean, "lo": lo, "hi": hi, "verdict": says}
            )
    return rows


def plain(found: Frontier, tokens: Floats) -> dict[str, object]:
    """For JSON: k -> value. tokens: output tokens at each k."""
    k = [str(each) for each in found.k.tolist()]
    columns = {"tokens": tokens, "cost": found.cost, "coverage": found.coverage}
    columns |= {"lo": found.lo, "hi": found.hi}
    document: dict[str, object] = {"policy": found.policy}
    for name, values in columns.items():
        document[name] = dict(zip(k, values.tolist(), strict=True))
    return document


if __name__ == "__main__":
    run_job(main)
