"""How much of the coverage does a selector get, which does not know the reference?

python analysis/selection.py RUN [--score NAME] [--out selection]

A table, a figure and a JSON file: pass@k (the oracle), the majority of k answers, and with --score
the best of k by a score and the vote weighted by it. The score `logprob` is what launches with
--store-logprob have stored; others are ingested. Each value is the expectation over all subsets
of k samples. docs/beyond-pass-at-k.md says what counts as one answer, and how scores come to a run.
"""

import dataclasses
import json
import math
from pathlib import Path

import _installed  # noqa: F401

from toolkit.cli import Parser, add_run_argument, how_many, run_job
from toolkit.errors import EXIT_DONE
from toolkit.files import replace_file
from toolkit.report.comparisons import draw_selection
from toolkit.runs.ballots import read_ballots
from toolkit.runs.run import open_run
from toolkit.stats.passk import k_grid
from toolkit.stats.selectors import ORACLE, Selected, select
from toolkit.verifiers.judges import judge_of_run

NAMES = {
    ORACLE: "oracle (pass@k)",
    "majority": "majority",
    "best": "best by score",
    "weighted": "vote weighted by score",
}


def main() -> int:
    """Read the ballots, choose, print, draw."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument(
        "--score", default="", metavar="NAME", help="scores by which is chosen too [none]"
    )
    parser.add_argument(
        "--judge", default="", metavar="NAME", help="a judge besides the run's own [its own]"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("selection"), help="figure and JSON, no suffix"
    )
    flags = parser.parse_args()
    run = open_run(flags.run)
    ballots = read_ballots(run, judge_of_run(run, name=flags.judge), flags.score)
    each = list(ballots.of.values())
    found = select(each, k_grid(min(map(len, each))))
    samples = how_many(sum(map(len, each)), "sample")
    print(f"{run.path}: {how_many(len(each), 'problem')}, {samples} with a verdict")
    for count, what in ((ballots.unjudged, "verdict"), (ballots.unscored, "score")):
        if count:
            print(f"{count} samples without a {what}")
    print_table(found)
    largest = max(each.error for by_k in found.values() for each in by_k.values())
    if largest:
        print(f"values of random subsets have a Monte Carlo error of at most {largest:.4f}")
    document = {"run": str(flags.run), "score": flags.score, "selectors": plain(found)}
    out = flags.out.with_name(flags.out.name + ".json")
    replace_file(out, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    draw_selection({NAMES[name]: by_k for name, by_k in found.items()}, flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf; all values: {out}")
    return EXIT_DONE


def print_table(found: dict[str, dict[int, Selected]]) -> None:
    """One row a k; each selector with its 95 % interval and its share of the coverage."""
    print(f"{'k':>6}" + "".join(f"  {NAMES[name]:>32}" for name in found))
    for k in found[ORACLE]:
        cells = []
        for name, by_k in found.items():
            got = by_k[k]
            share = "" if name == ORACLE else f" {got.share:6.1%}"
            cells.append(f"{got.right:.4f} [{got.lo:.4f}, {got.hi:.4f}]{share}")
        print(f"{k:>6}" + "".join(f"  {cell:>32}" for cell in cells))
    print("[95 %, such problems], then the share of pass@k that the selector gets")


def plain(found: dict[str, dict[int, Selected]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """For JSON: what is undefined is null."""
    return {
        name: {
            str(k): {
                field: value if math.isfinite(value) else None
                for field, value in dataclasses.asdict(got).items()
            }
            for k, got in by_k.items()
        }
        for name, by_k in found.items()
    }


if __name__ == "__main__":
    run_job(main)
