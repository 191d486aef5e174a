"""How a pilot goes on: how many fresh samples a design takes, and the command that samples them.

The pilot's samples are part of the larger run: only what is missing is sampled. Where launch would
refuse to go on (ingested samples; another stopping rule; a fixed n after adaptive sampling), a new
run has to sample everything.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from scipy import special

from toolkit.cli import job_command
from toolkit.stats.arrays import Floats, Ints, log_choose
from toolkit.stats.curve import Counts
from toolkit.stats.laws import BetaBinomial
from toolkit.stats.stopping import StoppingRule


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a pilot's run holds.

    - counts: judged samples and passes, of P problems.
    - planned: samples planned so far of each of them, judged or not, (P,).
    - most: the most samples planned of any problem.
    - ingested: they came from elsewhere, so that no launch goes on.
    """

    path: Path
    counts: Counts
    planned: Ints
    most: int
    ingested: bool

    def rule(self, r: int, minimum: int, cap: int) -> StoppingRule:
        """The adaptive rule that a launch takes: the pilot's own, its cap raised; else a new one
        whose first look is where every problem's samples end.
        """
        old = self.counts.rule
        if old is not None:
            return old.up_to(cap, 0) if cap > old.cap else old
        first = max(1 if self.ingested else self.most, min(minimum, cap))
        return StoppingRule.batches(r, first, max(first, cap), 0)

    def goes_on(self, *, adaptive: bool) -> bool:
        """Whether a launch of this design takes the pilot's samples."""
        return not self.ingested and (adaptive or self.counts.rule is None)

    def fresh_fixed(self, k: float) -> Floats:
        """Samples of each problem that are missing to k, (P,)."""
        had = self.planned if self.goes_on(adaptive=False) else 0
        return np.asarray(np.maximum(0.0, k - np.broadcast_to(had, self.planned.shape)))

    def fresh_adaptive(self, rule: StoppingRule, law: BetaBinomial) -> Floats:
        """Expected fresh samples of each problem under `rule`, (P,).

        p has its posterior, Beta(a + c, b + n - c). Where the run goes on, the passes that a
        problem has count towards r.
        """
        counts = self.counts
        a = np.asarray(law.a + counts.c, dtype=np.float64)
        b = np.asarray(law.b + counts.n - counts.c, dtype=np.float64)
        if not self.goes_on(adaptive=True):
            return rule.expected_samples(a, b)
        return expected_more(rule, counts.n, counts.c, self.planned, a, b)

    def command(self, k: int, rule: StoppingRule | None) -> str | None:
        """What samples up to k, as it can be typed; None where no launch goes on."""
        if not self.goes_on(adaptive=rule is not None):
            return None
        start = f"{job_command('launch')} --resume --run {shlex.quote(str(self.path))}"
        if rule is None:
            return f"{start} --samples {k}"
        stop = f"--stop-r {rule.r} --stop-min {rule.looks[0]} --stop-cap {rule.cap}"
        return f"{start} --adaptive {stop}"


def expected_more(
    rule: StoppingRule, n: Ints, c: Ints, planned: Ints, a: Floats, b: Floats
) -> Floats:
    """Expected samples beyond `planned` of problems with n samples and c passes; all (P,).

    a, b: of the Beta posterior of p given n and c. A problem goes on beyond look t with the
    probability that c and the passes of its t - n further samples are under r together.
    """
    total = np.maximum(planned, rule.looks[0]).astype(float)
    for t, following in zip(rule.looks, rule.looks[1:], strict=False):
        step = np.maximum(0, following - np.maximum(t, planned))
        ahead = np.maximum(t - n, 0)
        going_on = np.zeros(len(n))
        for passes in range(rule.r):
            possible = (passes < rule.r - c) & (passes <= ahead)
            few = np.minimum(passes, ahead)
            log_p = log_choose(ahead, few) + special.betaln(a + few, b + ahead - few)
            going_on += np.where(possible, np.exp(log_p - special.betaln(a, b)), 0.0)
        total += step * going_on
    return cast(Floats, total - planned)
