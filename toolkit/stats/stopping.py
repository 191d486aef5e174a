"""Sampling that stops because of successes, and the estimators that stay unbiased under it.

A `StoppingRule` looks at a problem after looks[0], looks[1], ... samples and stops at the first
look with at least r passes, or at the last one. The plain estimator is then biased: it sees too
many problems just after a success. Conditional on what the rule leaves, N samples with c passes,
all orders of these that obey the rule are equally likely, whatever the problem's p; so the share
of them whose first k samples all fail is unbiased for (1 - p)^k (Rao-Blackwell; for looks after
every sample it is the negative-binomial estimator of Haldane 1945, "On a method of estimating
frequencies", Biometrika 33).

With t the look before N (none at the first look) and w_s the probability that s < r of the c
passes came before t, w_s ~ C(t, s) C(N - t, c - s):

    stopped at the first look, or at the last one with c < r   C(N-c, k) / C(N, k)
    stopped later, k <= t                       sum_s w_s C(t-s, k) / C(t, k)
    stopped later, k > t                        w_0 C(N-t-c, k-t) / C(N-t, k-t)

With a look after every sample c = r, w_{r-1} = 1, and the second form is
C(N-1-k, r-1) / C(N-1, r-1). The stopped problems have passes among their first N samples, so that
their estimate is 0 for k > N: they support any k, and the curve reaches the cap of the rule.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.errors import UsageError
from toolkit.stats import passk

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNBOUNDED = 2**62
"""The support of a problem whose estimate is known to be 0 beyond its samples."""


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Stop at the first of `looks` (numbers of samples, rising) with r passes, or at the last."""

    r: int
    looks: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((0, *self.looks), self.looks, strict=False))
        if self.r < 1 or not self.looks or not rising:
            raise UsageError(f"stopping rule: r = {self.r}, looks = {self.looks}: need r >= 1 and "
                             "rising looks")  # fmt: skip

    @classmethod
    def batches(cls, r: int, minimum: int, cap: int, batch: int) -> "StoppingRule":
        """At least `minimum` samples, then `batch` more at a time, at most `cap`.

        batch 0: half as many again as there are (1, 2, 3, 4, 6, 9 ...): few rounds up to a high
        cap, for at most half as many samples again as were needed.
        """
        if not 1 <= minimum <= cap or batch < 0:
            raise UsageError(
                f"stopping rule: --stop-min {minimum} --stop-cap {cap} --stop-batch {batch}: need "
                "1 <= min <= cap and a batch of 0 or more"
            )
        return cls(r, (minimum,)).up_to(cap, batch)

    def up_to(self, cap: int, batch: int) -> "StoppingRule":
        """The same rule with further looks, up to a higher cap; the looks so far stay."""
        looks = list(self.looks)
        while looks[-1] < cap:
            step = batch or max(1, looks[-1] // 2)
            looks.append(min(cap, looks[-1] + step))
        return StoppingRule(self.r, tuple(looks))

    @property
    def cap(self) -> int:
        """The most samples of a problem."""
        return self.looks[-1]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"r": self.r, "looks": list(self.looks)}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "StoppingRule":
        """From what `document` gave."""
        return cls(int(document["r"]), tuple(map(int, document["looks"])))

    def stopped(self, n: ArrayLike, c: ArrayLike) -> NDArray[np.bool_]:
        """Which problems, of n samples with c passes, the rule stopped because of their passes."""
        return np.isin(n, self.looks) & (np.asarray(c) >= self.r)

    def before(self, n: int, c: int) -> int:
        """The fewest of c passes that can have come before the last batch of n samples."""
        position = bisect_left(self.looks, n)
        if position == 0 or n not in self.looks:
            return 0
        return max(0, c - (n - self.looks[position - 1]))

    def next_look(self, n: int, c: int) -> int | None:
        """Samples to have at the next look; None where the rule has stopped. n must be a look,
        or below the first.
        """
        if n < self.looks[0]:
            return self.looks[0]
        return None if c >= self.r else next((t for t in self.looks if t > n), None)

    def support(self, n: ArrayLike, c: ArrayLike) -> Ints:
        """Largest k with an unbiased estimate, shape of n; a problem whose sampling was cut off
        at a look before the rule stopped it has its n.
        """
        return np.where(self.stopped(n, c), UNBOUNDED, np.asarray(n, dtype=np.int64))

    def log_fail_at_k(self, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats:
        """log of the unbiased fail@k; n, c: shape (P,), k: shape (K,); result (P, K).

        -inf where no order of the outcomes has k failures first, nan where k > `support`.
        Each problem's n must be a look, or below the first look (cut off there).
        """
        n, c, k = (np.asarray(a, dtype=np.int64) for a in (n, c, k))
        position = np.searchsorted(self.looks, n)
        before = np.concatenate([[0], self.looks])[position]
        stopped = self.stopped(n, c)
        result = passk.log_fail_at_k(n[:, None], c[:, None], k[None, :])
        result[stopped[:, None] & (k[None, :] > n[:, None])] = -np.inf
        late = stopped & (before > 0)
        if late.any():
            result[late] = self._log_fail_late(n[late], c[late], before[late], k)
        return result

    def _log_fail_late(self, n: Ints, c: Ints, before: Ints, k: Ints) -> Floats:
        """Of problems stopped after the first look: the second and third form above."""
        s = np.arange(self.r)
        batch, left = (n - before)[:, None], c[:, None] - s[None, :]
        possible = (left >= 0) & (left <= batch) & (s[None, :] <= before[:, None])
        if np.any(~possible.any(axis=1)):
            raise UsageError("stopping rule: counts that it cannot have left")
        # w_s / w_{s-1} = (t-s+1) (c-s+1) / (s (N-t-c+s)): no gamma function, no cancellation.
        up = (before[:, None] - s + 1.0) * (left + 1)
        down = s * (batch - left)
        follows = possible & np.roll(possible, 1, axis=1) & (s > 0)
        steps = np.log(np.where(follows, up, 1.0) / np.where(follows, down, 1.0))
        log_w = np.where(possible, np.cumsum(steps, axis=1), -np.inf)
        log_w -= np.logaddexp.reduce(log_w, axis=1, keepdims=True)
        early = np.minimum(k[None, :], before[:, None])
        terms = [
            log_w[:, i, None]
            + passk.log_fail_at_k(before[:, None], np.minimum(i, before)[:, None], early)
            for i in range(self.r)
        ]
        inside = np.logaddexp.reduce(np.stack(terms), axis=0)
        beyond = np.clip(k[None, :] - before[:, None], 1, batch)
        outside = log_w[:, 0, None] + passk.log_fail_at_k(
            batch, np.minimum(c[:, None], batch), beyond
        )
        outside[k[None, :] > n[:, None]] = -np.inf
        return np.where(k[None, :] <= before[:, None], inside, outside)

    def expected_samples(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """E N of problems with p ~ Beta(a, b); a, b: shape (P,), result (P,).

        E N = t_0 + sum_j (t_{j+1} - t_j) P(C_j < r), C_j beta-binomial over t_j samples.
        """
        # Here, so that status, which only reads counts, does not load SciPy.
        from scipy import special

        from toolkit.stats.laws import log_choose

        a, b = np.asarray(a, dtype=float)[:, None], np.asarray(b, dtype=float)[:, None]
        s = np.arange(self.r)[None, :]
        total = np.full(a.shape[0], float(self.looks[0]))
        for t, following in zip(self.looks, self.looks[1:], strict=False):
            log_p = log_choose(t, np.minimum(s, t)) + special.betaln(
                a + s, b + np.maximum(t - s, 0)
            )
            going_on = np.where(s <= t, np.exp(log_p - special.betaln(a, b)), 0.0).sum(axis=1)
            total += (following - t) * going_on
        return cast(Floats, total)

    def settle(self, judged: Ints, passed: Ints) -> tuple[Ints, Ints]:
        """What the rule makes of a problem's verdicts, batch by batch: its n and c.

        judged, passed: shape (P, looks): samples with a verdict, and passes, among the seeds
        from each look to the next. A batch that lacks verdicts ends the problem at the look
        before it (what is missing does not depend on outcomes); of the first batch all
        verdicts count.
        """
        sizes = np.diff((0, *self.looks))
        c = np.cumsum(passed, axis=1)
        whole = np.logical_and.accumulate(judged == sizes, axis=1)
        last_whole = whole.sum(axis=1) - 1
        reached = c >= self.r
        first_reached = np.where(reached.any(axis=1), reached.argmax(axis=1), len(sizes) - 1)
        at = np.minimum(last_whole, first_reached)
        rows = np.arange(len(c))
        n = np.where(at >= 0, np.asarray(self.looks)[at], judged[:, 0])
        return n.astype(np.int64), np.where(at >= 0, c[rows, at], passed[:, 0]).astype(np.int64)

    def simulate(self, p: ArrayLike, random: np.random.Generator) -> tuple[Ints, Ints]:
        """n and c of problems with pass probability p, shape (P,)."""
        p = np.asarray(p, dtype=float)
        sizes = np.diff((0, *self.looks))
        passed = random.binomial(sizes[None, :], p[:, None])
        return self.settle(np.broadcast_to(sizes, passed.shape), passed)
