"""Unbiased pass@k and fail@k, and their standard errors.

Notation: problem i has n_i samples of which c_i passed; P problems. Chen et al. 2021, "Evaluating
Large Language Models Trained on Code", arXiv 2107.03374, equation 1:

    fail@k of a problem = C(n - c, k) / C(n, k)        pass@k = 1 - fail@k

the probability that k of its samples, drawn without replacement, all fail: the unbiased estimate
of (1 - p)^k. It is undefined for k > n. A benchmark's value is the mean over its problems.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def log_fail_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """log fail@k, element by element (n, c, k broadcast); -inf where n - c < k, nan where k > n.

    C(n-c, k) / C(n, k) is symmetric in c and k: with m = min(c, k) and M = max(c, k) it is the
    product over i < m of (n - i - M) / (n - i), summed here as log1p(-M / (n - i)), or as the
    logarithm of the ratio itself where M / (n - i) is at least 1/2. The error stays at some 1e-16
    up to n = 100,000, where gammaln loses small values.
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
    pairs = np.stack([n[open_], many[open_]], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    terms, values = few[open_], np.empty(pairs.shape[0])
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(unique) + 1))
    for (n_j, many_j), start, stop in zip(unique, bounds[:-1], bounds[1:], strict=True):
        members = order[start:stop]
        sums = np.cumsum(_log_ratios(int(n_j), int(many_j), int(terms[members].max())))
        values[members] = sums[terms[members] - 1]
    result[open_] = values
    return result


def _log_ratios(n: int, many: int, count: int) -> Floats:
    """log((n - i - many) / (n - i)) for i < count."""
    left = n - np.arange(count, dtype=np.float64)
    ratio = many / left
    return np.where(ratio < 0.5, np.log1p(-np.minimum(ratio, 0.5)), np.log((left - many) / left))


def fail_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased fail@k in [0, 1], broadcast over n, c, k; nan (undefined) where k > n."""
    return np.exp(log_fail_at_k(n, c, k))


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased pass@k = 1 - fail@k in [0, 1], exact also where it is small."""
    return -np.expm1(log_fail_at_k(n, c, k))


@dataclass(frozen=True, slots=True)
class Curve:
    """The benchmark's curve; all arrays have the shape of `k`.

    `se_fixed_set` speaks of these very problems sampled again (undefined, nan, where 2k > n);
    `se_superpopulation` of other problems of this kind. The second is mostly the larger.
    """

    k: Ints
    pass_at_k: Floats
    fail_at_k: Floats
    se_fixed_set: Floats
    se_superpopulation: Floats
    problems: Ints


def curve(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Curve:
    """Mean pass@k over the problems that have k samples, with both standard errors.

    n, c: shape (P,); k: shape (K,). With U_i(k) the unbiased fail@k of problem i:
    fixed set: sqrt(sum_i [U_i(k)^2 - U_i(2k)]) / P, unbiased for the variance since
    E U_i(2k) = (1 - p_i)^(2k); super-population: s / sqrt(P) with s the standard deviation of
    U_i over problems.
    """
    n, c, k = (np.asarray(a, dtype=np.int64) for a in (n, c, k))
    columns = [_point(n, c, int(k_j)) for k_j in k]
    passed, failed, fixed, superpopulation, problems = np.array(columns).reshape(-1, 5).T
    return Curve(k, passed, failed, fixed, superpopulation, problems.astype(np.int64))


def _point(n: Ints, c: Ints, k: int) -> tuple[float, float, float, float, float]:
    has = n >= k
    count = int(has.sum())
    if not count:
        return np.nan, np.nan, np.nan, np.nan, 0.0
    log_fail = log_fail_at_k(n[has], c[has], k)
    fail = np.exp(log_fail)
    fixed = np.nan
    if np.all(n[has] >= 2 * k):
        variance = np.sum(fail**2 - fail_at_k(n[has], c[has], 2 * k))
        fixed = np.sqrt(max(variance, 0.0)) / count
    spread = float(fail.std(ddof=1)) / np.sqrt(count) if count > 1 else np.nan
    return float(np.mean(-np.expm1(log_fail))), float(fail.mean()), fixed, spread, count


def k_grid(n: int) -> Ints:
    """1, 2, 5, 10, 20, 50 ... up to n, and n itself."""
    decades = range(len(str(n)))
    grid = [m * 10**d for d in decades for m in (1, 2, 5) if m * 10**d <= n]
    return np.unique(np.array([*grid, n], dtype=np.int64))
