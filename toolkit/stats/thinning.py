"""Counts as if every problem had fewer samples, exactly: all subsets of m samples at once.

Of n samples with c passes, a subset of m has a hypergeometric number of passes. So a problem
becomes a distribution over (m, 0), (m, 1) ...: fractional weights, no random draw. The unbiased
curve of these cells is the curve of the counts themselves, for every k up to m.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from toolkit.stats.arrays import Floats, Ints, log_choose
from toolkit.stats.curve import Counts

EXACT = 60
"""Cells of more passes are merged: they are easy problems, and say little about large k."""
MERGED = 24


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells (n, c), shape (J,), and the share of each pair of counts in them, (pairs, J)."""

    n: Floats
    c: Floats
    shares: Floats


def largest_thinning(counts: Counts) -> int:
    """The most samples to which every problem can be thinned exactly."""
    return counts.k_max if counts.rule is None else min(counts.k_max, counts.rule.looks[0])


def thinned(counts: Counts, m: int) -> Cells:
    """Cells of m samples, m <= `largest_thinning`; `counts`: one row a pair.

    Under a stopping rule only the outcomes before the last look are in an exchangeable order. Of c
    passes, s came before it with probability w_s (`toolkit.stats.stopping`, S5).
    """
    n, c = counts.n.copy(), counts.c.copy()
    passes = np.arange(min(m, EXACT) + 1)
    shares = _hypergeometric(n, c, m, passes)
    if counts.rule is not None:
        before = np.concatenate([[0], counts.rule.looks])[np.searchsorted(counts.rule.looks, n)]
        late = np.flatnonzero(counts.rule.stopped(n, c) & (before > 0))
        if len(late):
            t, left = before[late][:, None], (n - before)[late][:, None]
            s = np.arange(counts.rule.r)[None, :]
            possible = (s <= t) & (c[late][:, None] - s <= left) & (s <= c[late][:, None])
            log_w = _log_choose(t, s) + _log_choose(left, c[late][:, None] - s)
            w = special.softmax(np.where(possible, log_w, -np.inf), axis=1)
            parts = [_hypergeometric(before[late], s_j, m, passes) for s_j in range(s.size)]
            shares[late] = np.einsum("js,sjm->jm", w, np.nan_to_num(np.stack(parts)))
            c[late], n[late] = np.rint((w * s).sum(axis=1)), before[late]
    return _with_the_rest(shares, m, n, c)


def _with_the_rest(shares: Floats, m: int, n: Ints, c: Ints) -> Cells:
    """Add cells for what has over `EXACT` passes, at the mean number of passes there."""
    passes = np.arange(shares.shape[1])
    rest = np.clip(1 - shares.sum(axis=1), 0, None)
    sizes, cells = np.full(len(passes), float(m)), passes.astype(float)
    if m <= EXACT or not (rest > 1e-9).any():
        return Cells(sizes, cells, shares)
    mean = (m * c / n - shares @ passes) / np.maximum(rest, 1e-9)
    mean = np.clip(mean, EXACT + 1, m)
    share = np.log(mean / EXACT) / np.log(m / EXACT)
    bin_of = np.minimum((share * MERGED).astype(int), MERGED - 1)
    bin_of = np.where(mean >= m - 0.5, MERGED, bin_of)  # what never fails keeps a cell of its own
    merged = np.zeros((len(n), MERGED + 1))
    merged[np.arange(len(n)), bin_of] = rest
    weight = merged.sum(axis=0)
    used = weight > 0
    means = (mean @ merged)[used] / weight[used]
    return Cells(
        np.append(sizes, np.full(len(means), float(m))),
        np.append(cells, means),
        np.hstack([shares, merged[:, used]]),
    )


def _hypergeometric(n: Ints, c: Ints | int, m: int, passes: Ints) -> Floats:
    """P(so many of m samples pass) of n with c passes, (pairs, passes)."""
    n = np.asarray(n)[:, None]
    c = np.broadcast_to(np.asarray(c).reshape(-1, 1), n.shape)
    x = passes[None, :]
    log_p = _log_choose(c, x) + _log_choose(n - c, m - x) - log_choose(n, np.minimum(m, n))
    return np.exp(log_p)


def _log_choose(n: Ints, c: Ints) -> Floats:
    """log C(n, c); -inf where c is not among 0 ... n."""
    inside = (c >= 0) & (c <= n)
    return np.where(inside, log_choose(np.maximum(n, 0), np.where(inside, c, 0)), -np.inf)
