"""pass@k where some passes are suspect and count as failures.

A problem has n samples and c passes, s of them suspect. With a fixed n this is the plain estimator
of c - s passes. Under a `StoppingRule` it is not: all c passes have stopped the sampling. Given n,
c and s, all orders of the outcomes that obey the rule are equally likely, and so are all choices of
the s suspect passes among the c. The estimate of fail@k is the share of them that begin with k
samples without a pass that counts. That share is unbiased (Rao-Blackwell), as in
`toolkit.stats.stopping`.

Test: tests/stats/test_suspect.py::test_the_estimate_is_the_share_of_marked_orders
"""

from bisect import bisect_left
from math import comb, nan

import numpy as np

from toolkit.stats.arrays import Floats, Ints
from toolkit.stats.curve import Counts
from toolkit.stats.stopping import StoppingRule


def pass_at_k_without(counts: Counts, suspect: Ints, k: int) -> float:
    """Mean pass@k over all problems, a suspect pass counted as a failure.

    suspect: suspect passes of each problem, shape (P,). nan unless every problem supports this k.
    """
    fail: Floats = counts.fail_at_k([k])[:, 0]
    for i in np.flatnonzero(suspect):
        n, c, s = int(counts.n[i]), int(counts.c[i]), int(suspect[i])
        fail[i] = _fail(counts.rule, n, c, s, k)
    return float(1 - fail.mean())


def largest_k_without(counts: Counts, suspect: Ints) -> int:
    """The largest k of the curve that every problem supports when suspect passes are failures.

    A problem whose passes are all suspect says nothing beyond its samples.
    """
    all_suspect = (suspect > 0) & (suspect == counts.c)
    return min(counts.k_max, int(counts.n[all_suspect].min(initial=counts.k_max)))


def _fail(rule: StoppingRule | None, n: int, c: int, s: int, k: int) -> float:
    """Unbiased fail@k of one problem; nan where k is not supported."""
    stopped = rule is not None and bool(rule.stopped(n, c))
    if k > n:
        return 0.0 if stopped and c > s else nan
    before = 0
    if rule is not None and stopped:
        before = (0, *rule.looks)[bisect_left(rule.looks, n)]
    if not before:
        return comb(n - (c - s), k) / comb(n, k)
    assert rule is not None  # `before` is a look of it
    orders = allowed = 0
    for early in range(max(0, c - (n - before)), min(rule.r - 1, before, c) + 1):
        ways = comb(before, early) * comb(n - before, c - early)
        orders += ways * comb(c, s)
        allowed += _allowed(n, c, s, k, before, early)
    return allowed / orders


def _allowed(n: int, c: int, s: int, k: int, before: int, early: int) -> int:
    """Marked orders with `early` of the c passes among the first `before` samples whose first k
    samples have no pass that counts.
    """
    batch, late = n - before, c - early
    found = 0
    for clean in range(max(0, early - s), min(early, c - s) + 1):
        marks_late = s - (early - clean)  # suspect passes in the last batch
        if not 0 <= marks_late <= late:
            continue
        clean_late = late - marks_late
        if k <= before:
            first = comb(before - k, clean) * comb(before - clean, early - clean)
            last = comb(batch, late) * comb(late, marks_late)
        else:
            first = comb(before, early) if clean == 0 else 0
            last = comb(n - k, clean_late) * comb(batch - clean_late, marks_late)
        found += first * last
    return found
