"""Maxima of many small concave-near-the-top problems at once: one batched, damped Newton.

A bootstrap fits the same law to hundreds of reweighted tallies. One by one, most of the time is
spent between the fits; here every step is one array operation over all replicates.
"""

from collections.abc import Callable

import numpy as np

from toolkit.stats.arrays import Floats

Objective = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]
"""(x: (R, d), weights: (R, J)) -> value (R,), gradient (R, d), Hessian (R, d, d)."""

STEPS = 40
LARGEST_STEP = 1.5
BOUND = 14.0
"""Of every coordinate. They are logarithms and logits, so this is no restriction in practice."""


def maximize(objective: Objective, start: Floats, weights: Floats) -> Floats:
    """The rows x, shape (R, d), at which `objective` is largest, from `start` (R, d).

    Levenberg-Marquardt damping of each row by itself: a step that does not improve is taken back
    and shortened. Eigenvalues of the Hessian count by their absolute value, so that a saddle is
    left uphill (Nocedal and Wright 2006, "Numerical Optimization", section 3.4).
    """
    x = start.copy()
    value, slope, bend = objective(x, weights)
    damping = np.full(len(x), 1e-3)
    active = np.arange(len(x))
    for _ in range(STEPS):
        if not len(active):
            break
        curvature, axes = np.linalg.eigh(-bend[active])
        along = np.einsum("rji,rj->ri", axes, slope[active])
        along /= np.maximum(np.abs(curvature), 1e-6) + damping[active, None]
        step = np.clip(np.einsum("rij,rj->ri", axes, along), -LARGEST_STEP, LARGEST_STEP)
        tried = np.clip(x[active] + step, -BOUND, BOUND)
        found = objective(tried, weights[active])
        better = found[0] >= value[active] - 1e-10
        gain = np.abs(found[0] - value[active])
        rows = active[better]
        x[rows] = tried[better]
        for kept, new in zip((value, slope, bend), found, strict=True):
            kept[rows] = new[better]
        damping[active] *= np.where(better, 0.1, 100.0)
        ended = (better & (gain < 1e-6)) | (damping[active] > 1e8)
        active = active[~ended]
    return x
