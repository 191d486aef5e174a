"""Sampling that stops because of passes, and the estimators that stay unbiased under it.

A `StoppingRule` looks at a problem after looks[0], looks[1], ... samples. It stops at the first
look with at least r passes, or at the last look. It leaves N samples, of which c passed.

Two symbols more. t is the look before N, and 0 where N is the first look. w_s is the probability
that s < r of the c passes came before t: in proportion to C(t, s) C(N - t, c - s).

The claims, and the test that holds each:

S1  The plain estimator is biased here: it sees too many problems just after a pass.
    tests/stats/test_stopping.py::test_the_plain_estimator_is_biased_there
S2  Given N and c, all orders of the outcomes that obey the rule are equally likely, whatever p is.
    The estimate of fail@k is the share of these orders that begin with k failures.
    tests/stats/test_stopping.py::test_the_estimate_is_the_share_of_orders_that_begin_with_failures
S3  That share is unbiased for (1 - p)^k, for every k up to the cap (Rao-Blackwell).
    tests/stats/test_stopping.py::test_the_expectation_is_exact_for_every_k_up_to_the_cap
S4  Where N is the first look, or c < r at the last one, every order obeys the rule. The estimate
    is then the plain one, C(N-c, k) / C(N, k).
    tests/stats/test_stopping.py::test_it_is_the_plain_estimate_where_every_order_obeys_the_rule
S5  Stopped later, it is sum_s w_s C(t-s, k) / C(t, k) for k <= t.
    For k > t it is w_0 C(N-t-c, k-t) / C(N-t, k-t).
    tests/stats/test_stopping.py::test_the_forms_of_a_later_stop
S6  With a look after every sample it is C(N-1-k, r-1) / C(N-1, r-1): the negative-binomial
    estimator of Haldane 1945, "On a method of estimating frequencies", Biometrika 33.
    tests/stats/test_stopping.py::test_a_look_after_every_sample_is_the_negative_binomial_form
S7  The likelihood of N and c gains a factor without p: the number of orders that obey the rule.
    So the laws of `toolkit.stats.laws` are fitted as they are.
    tests/stats/test_stopping.py::test_a_law_is_fitted_as_if_there_were_no_rule
S8  A stopped problem has passes among its N samples, so its estimate is 0 for k > N. It supports
    every k, and the curve reaches the cap.
    tests/stats/test_stopping.py::test_a_stopped_problem_supports_every_k
S9  A batch without all its verdicts ends its problem at the look before it. Which verdicts are
    missing does not depend on outcomes, so nothing becomes biased.
    tests/stats/test_stopping.py::test_missing_verdicts_end_a_problem_at_the_look_before_them
S10 For p ~ Beta(a, b), E N = t_0 + sum_j (t_{j+1} - t_j) P(C_j < r). t_j are the looks, C_j the
    passes of t_j samples: beta-binomial.
    tests/stats/test_stopping.py::test_expected_samples_are_those_of_statistics
S11 Each problem's batches may be planned by themselves, in whatever order verdicts come. Its N and
    c are those of the rule alone, and S3 holds. A part of a batch plans nothing.
    tests/stats/test_batches.py::test_the_estimate_is_unbiased_for_every_k_whatever_comes_first
S12 A budget that cuts at whole batches, and not by outcomes, leaves the estimate unbiased for every
    k up to the samples of the cut. With parts of batches it would be biased.
    tests/stats/test_batches.py::test_a_budget_that_cuts_at_whole_batches_leaves_it_unbiased
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from toolkit.errors import UsageError
from toolkit.stats import passk
from toolkit.stats.arrays import Bools, Floats, Ints, log_choose

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
            raise UsageError(
                f"stopping rule: r = {self.r}, looks = {self.looks}: need r >= 1 and rising looks"
            )

    @classmethod
    def batches(cls, r: int, minimum: int, cap: int, batch: int) -> "StoppingRule":
        """At least `minimum` samples, then `batch` more at a time, at most `cap`.

        batch 0: half as many again as there are (1, 2, 3, 4, 6, 9 ...). A high cap then takes few
        rounds, and at most half as many samples again as were needed.
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

    def stopped(self, n: ArrayLike, c: ArrayLike) -> Bools:
        """Which problems, of n samples with c passes, the rule stopped because of their passes."""
        return np.isin(n, self.looks) & (np.asarray(c) >= self.r)

    def before(self, n: int, c: int) -> int:
        """The fewest of c passes that can have come before the last batch of n samples."""
        position = bisect_left(self.looks, n)
        if position == 0 or n not in self.looks:
            return 0
        return max(0, c - (n - self.looks[position - 1]))

    def next_look(self, n: int, c: int) -> int | None:
        """Samples to have at the next look; None where the rule has stopped.

        n must be a look, or below the first.
        """
        if n < self.looks[0]:
            return self.looks[0]
        return None if c >= self.r else next((t for t in self.looks if t > n), None)

    def support(self, n: ArrayLike, c: ArrayLike) -> Ints:
        """Largest k with an unbiased estimate, shape of n.

        It is n where sampling was cut off at a look before the rule stopped it.
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
        """Of problems stopped after the first look: the two forms of S5."""
        s = np.arange(self.r)
        batch, left = (n - before)[:, None], c[:, None] - s[None, :]
        possible = (left >= 0) & (left <= batch) & (s[None, :] <= before[:, None])
        if np.any(~possible.any(axis=1)):
            raise UsageError("stopping rule: it cannot have left these counts")
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

    def wanted(self, planned: int, n: int, c: int) -> int:
        """Samples that a problem is to have: those of its next look, once all planned ones count.

        planned: how many are planned. n, c: as `settle` gives them. While a batch lacks verdicts, n
        is under `planned`, and nothing is planned from its part.
        """
        if n < planned or n < self.looks[0]:
            return max(self.looks[0], planned)
        return self.next_look(n, c) or n

    def expected_samples(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """E N of problems with p ~ Beta(a, b), by S10; a, b: shape (P,), result (P,)."""
        # Here, so that status, which only reads counts, does not load SciPy.
        from scipy import special

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
        before it (S9). Of the first batch all verdicts count.
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
