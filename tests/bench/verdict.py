"""How often the power law is called supported, not supported, or neither, for known laws of p.

Each repetition draws problems from a law and n samples of each. "right" is the verdict on the tail
that the law deserves. For n = 1,000 only wrong verdicts count: "cannot tell" is none.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.stats.curve import Counts
from toolkit.stats.power_law import judge_tail

REPETITIONS = int(os.environ.get("VERDICT_REPETITIONS", "100"))
FIRST = int(os.environ.get("VERDICT_FIRST", "0"))
"""Seed of the first repetition."""
SIZES = ((164, 1000), (1000, 1000), (1000, 10_000))
Law = Callable[[np.random.Generator, int], np.ndarray]


def power(a: float, b: float) -> Law:
    """p = 1 - exp(-t), t ~ Gamma(a, rate b): fail@k = (1 + k/b)^-a."""
    return lambda random, size: -np.expm1(-random.gamma(a, 1 / b, size))


def floor(share: float, law: Law) -> Law:
    """A share of the problems is never solved."""
    return lambda random, size: law(random, size) * (random.random(size) >= share)


def logit_normal(mean: float, deviation: float) -> Law:
    """The slope goes on steepening, in proportion to log k."""
    return lambda random, size: 1 / (1 + np.exp(-random.normal(mean, deviation, size)))


def at_least(least: float, law: Law) -> Law:
    """No problem is harder than `least`: beyond k = 1 / least the curve falls exponentially."""
    return lambda random, size: np.maximum(law(random, size), least)


def mixture(share: float, one: Law, other: Law) -> Law:
    """Two kinds of problems."""
    return lambda random, size: np.where(
        random.random(size) < share, one(random, size), other(random, size)
    )


def beta(a: float, b: float) -> Law:
    """Beta(a, b)."""
    return lambda random, size: random.beta(a, b, size)


LLAMA = power(0.2873, 0.0325)
LAWS: dict[str, tuple[bool, Law]] = {
    "power law, Gamma(.29, .03)": (True, LLAMA),
    "power law, Gamma(.3, .3)": (True, power(0.3, 0.3)),
    "power law, Gamma(.3, 1)": (True, power(0.3, 1.0)),
    "power law, Gamma(.4, .2)": (True, power(0.4, 0.2)),
    "power law, Gamma(.3, 5)": (True, power(0.3, 5.0)),
    "steepens: logit-normal(-1, 4)": (False, logit_normal(-1.0, 4.0)),
    "steepens: logit-normal(0, 3)": (False, logit_normal(0.0, 3.0)),
    "steepens: p at least .0005": (False, at_least(0.0005, LLAMA)),
    "floor of 5 % under Gamma(.29, .03)": (False, floor(0.05, LLAMA)),
    "floor of 5 % under Gamma(.3, 1)": (False, floor(0.05, power(0.3, 1.0))),
    ".7 Beta(2, 1) + .3 Beta(.5, 20)": (False, mixture(0.7, beta(2.0, 1.0), beta(0.5, 20.0))),
    ".7 Gamma(.6, .3) + .3 Gamma(.15, .3)": (
        False,
        mixture(0.7, power(0.6, 0.3), power(0.15, 0.3)),
    ),
    ".7 Beta(2, 1) + .3 at p = .002": (
        False,
        mixture(0.7, beta(2.0, 1.0), lambda _, size: np.full(size, 0.002)),
    ),
}
"""Name -> whether a power law holds in the tail, and the law."""


def judged(law: str, problems: int, n: int, seed: int) -> bool | None:
    """The verdict on the tail of one simulated benchmark."""
    random = np.random.default_rng([seed, n, problems])
    p = LAWS[law][1](random, problems)
    with threadpool_limits(limits=1):
        return judge_tail(Counts.of(np.full(problems, n), random.binomial(n, p))).supported


def bench() -> Iterator[dict[str, object]]:
    """A row for each size and law: shares of the three answers."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for problems, n in SIZES:
            for law, (holds, _) in LAWS.items():
                one = partial(judged, law, problems, n)
                seeds = range(FIRST, FIRST + REPETITIONS)
                found = list(pool.map(one, seeds, chunksize=10))
                shares = {
                    answer: found.count(answer) / len(found) for answer in (True, False, None)
                }
                yield {
                    "problems": problems,
                    "n": n,
                    "law": law,
                    "right": "supported" if holds else "not supported",
                    "supported": f"{shares[True]:.2f}",
                    "not supported": f"{shares[False]:.2f}",
                    "cannot tell": f"{shares[None]:.2f}",
                    "repetitions": REPETITIONS,
                }
