"""What adaptive sampling saves: its samples and its error, against n = cap for every problem.

Both use the same outcomes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from toolkit.stats.curve import Counts, curve
from toolkit.stats.stopping import StoppingRule

REAL = Path(__file__).resolve().parents[3] / "shared/data/counts/open_llm_math_pythia_12b.csv"
REPETITIONS = 100
LLAMA = (0.2873, 0.1709)


def replay(rule: StoppingRule, n: int, c: np.ndarray, random: np.random.Generator) -> Counts:
    """Apply the rule to real outcomes in a random order: n per problem, of which c passed."""
    sizes = np.diff((0, *rule.looks))
    passed = np.zeros((len(c), len(sizes)), dtype=np.int64)
    left, passes = np.full(len(c), n), c.copy()
    for j, size in enumerate(sizes):
        passed[:, j] = random.hypergeometric(passes, left - passes, size)
        left, passes = left - size, passes - passed[:, j]
    judged = np.broadcast_to(sizes, passed.shape)
    return Counts(*rule.settle(judged, passed), rule)


def bench() -> Iterator[dict[str, object]]:
    """One row for each law (or set of real outcomes) and each rule."""
    random = np.random.default_rng(11)
    p = random.beta(*LLAMA, size=164)
    for r, minimum, cap in ((5, 50, 1000), (1, 10, 1000), (5, 50, 2000)):
        rule = StoppingRule.batches(r, minimum, cap, 0)
        runs = [Counts(*rule.simulate(p, random), rule) for _ in range(REPETITIONS)]
        fixed = [Counts.of([cap] * 164, random.binomial(cap, p)) for _ in range(REPETITIONS)]
        truth = np.mean((1 - p) ** cap)
        yield row("simulated, Llama-like", rule, runs, fixed, float(truth))
    if not REAL.exists():
        return
    counts = pl.read_csv(REAL, comment_prefix="#")
    n, c = 10_000, counts["c"].to_numpy().astype(np.int64)
    for r, minimum, cap in ((5, 50, 10_000), (1, 10, 10_000), (5, 50, 1000)):
        rule = StoppingRule.batches(r, minimum, cap, 0)
        runs = [replay(rule, n, c, random) for _ in range(REPETITIONS)]
        whole = StoppingRule(1, (cap,))
        fixed = [replay(whole, n, c, random) for _ in range(REPETITIONS)]
        truth = float(curve(Counts.of([n] * len(c), c), [cap]).fail_at_k[0])
        yield row("real, Pythia 12B on MATH, replayed", rule, runs, fixed, truth)


def row(
    name: str, rule: StoppingRule, runs: list[Counts], fixed: list[Counts], truth: float
) -> dict[str, object]:
    """The number of samples, and the error of fail@cap on these problems, over repetitions."""
    found = np.array([curve(r, [rule.cap]).fail_at_k[0] for r in runs])
    plain = np.array([curve(f, [rule.cap]).fail_at_k[0] for f in fixed])
    samples = float(np.mean([r.n.sum() for r in runs]))
    whole = float(rule.cap * len(runs[0]))

    def error(values: np.ndarray) -> str:
        return f"{np.sqrt(np.mean((values / truth - 1) ** 2)):.1%}"

    return {
        "outcomes": name,
        "rule": f"r = {rule.r}, min {rule.looks[0]}, cap {rule.cap}",
        "samples": f"{samples:,.0f}",
        "n = cap for all": f"{whole:,.0f}",
        "times fewer": f"{whole / samples:.1f}",
        "fail@cap": f"{truth:.4f}",
        "mean estimate": f"{found.mean():.4f}",
        "relative error": error(found),
        "of n = cap": error(plain),
    }
