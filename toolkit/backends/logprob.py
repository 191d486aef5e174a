"""The mean log-probability of a sample's tokens, as --store-logprob asks for it.

It is a score without a second model: Chen et al. 2021, arXiv 2107.03374, section 3.3, choose the
sample whose tokens have the largest mean. Unlike the sum, it does not prefer short samples.
"""

import math


def mean_logprob(total: float | None, tokens: int) -> float | None:
    """The mean over `tokens` tokens whose log-probabilities have the sum `total`, both in nats.

    None if there is no token, if the sum is not known, or if it is no finite number.
    """
    if total is None or tokens == 0 or not math.isfinite(total):
        return None
    return total / tokens
