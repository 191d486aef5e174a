"""A coverage against a figure of others: the interval of the difference."""

import numpy as np
from scipy import special

from toolkit.stats.forecast import TAILS, Interval


def exact_binomial(passes: int, tries: int) -> Interval:
    """passes / tries with the 95 % interval of Clopper and Pearson (1934), Biometrika 26."""
    low = special.betaincinv(passes, tries - passes + 1, TAILS[0]) if passes else 0.0
    high = special.betaincinv(passes + 1, tries - passes, TAILS[1]) if passes < tries else 1.0
    return Interval(passes / tries, float(low), float(high))


def difference(one: Interval, other: Interval) -> Interval:
    """one - other, of two independent estimates, from their own 95 % intervals.

    lo = d - sqrt((one - one.lo)^2 + (other.hi - other)^2), and hi alike: MOVER, "method of variance
    estimates recovery" (Zou and Donner 2008, Statist. Med. 27; for two proportions it is method 10
    of Newcombe 1998, Statist. Med. 17). Two models on the same problems mostly agree on which are
    hard. Then the interval is wider than need be.
    """
    change = one.estimate - other.estimate
    down = np.hypot(one.estimate - one.lo, other.hi - other.estimate)
    up = np.hypot(one.hi - one.estimate, other.estimate - other.lo)
    return Interval(change, float(change - down), float(change + up))
