"""What k samples of a problem cost in output tokens: the price of coverage, beside k.

Let t_i be the mean number of output tokens of a sample of problem i, over all its samples, passed
or not. If each of P problems gets k samples, the expected number of output tokens a problem is

    T(k) = k (1 / P) sum_i t_i

since the k samples of a problem are drawn independently of one another. The points
(T(k), pass@k) are coverage against output tokens: the same curve as against k, in units that
compare a model of long answers with one of short ones. Problems weigh equally in both coordinates.

Where sampling stopped by passes, t_i is a ratio of two random sums. Its numerator has the mean
E n_i E t_i (Wald's identity), so what bias there is falls as 1 / n_i.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from toolkit.stats.arrays import Floats


@dataclass(frozen=True, slots=True)
class TokensOfSamples:
    """Output tokens of a sample, as a mean over problems.

    mean: (1 / P) sum_i t_i. standard_error: of the mean, if other such problems had been drawn;
    nan for a single problem.
    """

    mean: float
    standard_error: float

    def at_k(self, k: ArrayLike) -> Floats:
        """Expected output tokens a problem for k samples of each: T(k), the shape of k."""
        return np.asarray(k, dtype=np.float64) * self.mean


def tokens_of_samples(tokens: ArrayLike, samples: ArrayLike) -> TokensOfSamples:
    """From the sums over each problem's samples.

    tokens: output tokens of all samples of a problem, shape (P,). samples: how many samples these
    are, shape (P,), each at least 1.
    """
    each = np.asarray(tokens, dtype=np.float64) / np.asarray(samples, dtype=np.float64)
    error = float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return TokensOfSamples(float(each.mean()), error)
