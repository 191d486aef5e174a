"""The arrays that the statistics take and give, and a function of them that many need."""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def log_choose(n: ArrayLike, c: ArrayLike) -> Floats:
    """log C(n, c), element by element."""
    # Here, so that status, which needs the arrays' names only, does not load SciPy.
    from scipy import special

    n, c = np.asarray(n, dtype=float), np.asarray(c, dtype=float)
    value = special.gammaln(n + 1) - special.gammaln(c + 1) - special.gammaln(n - c + 1)
    return cast(Floats, value)
