"""Unbiased pass@k and fail@k of a problem with n samples of which c passed.

Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1:

    fail@k of a problem = C(n - c, k) / C(n, k)        pass@k = 1 - fail@k

the probability that k of its samples, drawn without replacement, all fail: the unbiased estimate
of (1 - p)^k. It is undefined for k > n. A benchmark's value is the mean over its problems
(`toolkit.stats.curve`).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from toolkit.errors import UsageError
from toolkit.stats.arrays import Floats, Ints

ENTRIES = 2**16
"""Of a table of sums: it stays in the processor's cache."""


def log_fail_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """log fail@k, element by element (n, c, k broadcast); -inf where n - c < k, nan where k > n.

    C(n-c, k) / C(n, k) is symmetric in c and k. With m = min(c, k) and M = max(c, k) it is the
    product over i < m of (n - i - M) / (n - i). Its logarithm is summed here from the terms
    log1p(-M / (n - i)). Where M / (n - i) is at least 1/2, a term is the logarithm of the ratio
    itself. The error stays near 1e-16 up to n = 100,000, where gammaln loses small values.
    """
    n, c, k = (np.asarray(a, dtype=np.int64) for a in (n, c, k))
    if np.any(c < 0) or np.any(c > n) or np.any(k < 1):
        raise UsageError("pass@k needs 0 <= c <= n and k >= 1")
    n, c, k = np.broadcast_arrays(n, c, k)
    few, many = np.minimum(c, k), np.maximum(c, k)
    result = np.zeros(n.shape)
    defined = k <= n
    impossible = defined & (n - c < k)
    result[~defined] = np.nan
    result[impossible] = -np.inf
    open_ = defined & ~impossible & (few > 0)
    # Equal (n, M) share one cumulative sum: a benchmark has few distinct n.
    terms = few[open_]
    base = int(n.max(initial=0)) + 1
    unique, inverse = np.unique(n[open_] * base + many[open_], return_inverse=True)
    longest = np.zeros(len(unique), dtype=np.int64)
    np.maximum.at(longest, inverse, terms)
    by_length = np.argsort(longest, kind="stable")
    place = np.empty(len(unique), dtype=np.int64)  # of a key in that order
    place[by_length] = np.arange(len(unique))
    places = place[inverse]
    members = np.argsort(places, kind="stable")
    values = np.empty(len(terms))
    for start, stop in _blocks(longest[by_length]):
        keys = unique[by_length[start:stop]]
        sums = _log_sums(keys // base, keys % base, longest[by_length[start:stop]])
        first, last = np.searchsorted(places[members], [start, stop])
        some = members[first:last]
        values[some] = sums[places[some] - start, terms[some] - 1]
    result[open_] = values
    return result


def _blocks(lengths: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of the ascending `lengths` that differ by at most a factor of 2, in `ENTRIES`."""
    start = 0
    while start < len(lengths):
        stop = int(np.searchsorted(lengths, 2 * lengths[start], "right"))
        stop = min(stop, start + max(1, ENTRIES // int(lengths[stop - 1])))
        yield start, stop
        start = stop


def _log_sums(n: Ints, many: Ints, counts: Ints) -> Floats:
    """Sums over i < j of log((n - i - many) / (n - i)), for j = 1 ... count, a row for each n.

    What follows in a row whose count is not the largest means nothing.
    """
    i = np.arange(int(counts.max()))
    left = (n[:, None] - i).astype(np.float64)
    many_each = np.broadcast_to(many[:, None], left.shape)
    used = i < counts[:, None]
    # The ratio many / left rises with i: the first terms are those under 1/2.
    small = i < np.minimum(counts, np.maximum(0, n - 2 * many))[:, None]
    rest = used & ~small
    terms = np.zeros(left.shape)
    terms[small] = np.log1p(-many_each[small] / left[small])
    terms[rest] = np.log((left[rest] - many_each[rest]) / left[rest])
    return np.asarray(np.cumsum(terms, axis=1, out=terms))


def fail_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased fail@k in [0, 1], broadcast over n, c, k; nan (undefined) where k > n."""
    return np.exp(log_fail_at_k(n, c, k))


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased pass@k = 1 - fail@k in [0, 1], exact also where it is small."""
    return -np.expm1(log_fail_at_k(n, c, k))


def k_grid(n: int) -> Ints:
    """1, 2, 5, 10, 20, 50 ... up to n, and n itself."""
    decades = range(len(str(n)))
    grid = [m * 10**d for d in decades for m in (1, 2, 5) if m * 10**d <= n]
    return np.unique(np.array([*grid, n], dtype=np.int64))
