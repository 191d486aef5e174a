"""A simulated engine whose steps take what the roof of its model on its card says.

A step that computes n tokens (one of each running sequence, and those of prefill), with K tokens in
the KV cache, takes by the roofline of `toolkit.stats.roofline`

    t(n, K) = (max(W / M, 2 P n / F) + K kv / M) / s

s is the share of the roof that engines reach: 0.61 to 0.68 on an H100 with vLLM, at batches of 64
to 512 (docs/roof.md). It is one number, because it was about the same for all these batches.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.stats.arrays import Floats
from toolkit.stats.roofline import Card, Roof, Shape

MEASURED_SHARE = 0.65
"""Of the roof: the middle of what was measured on an H100, docs/roof.md."""


@dataclass(frozen=True, slots=True)
class RoofEngine:
    """One engine on one GPU, as `toolkit.planning.simulation.Engine` asks.

    - share: of the roof that is reached, over 0 and at most 1.
    - prompt, uncached: tokens, as in `toolkit.planning.simulation.EngineModel`.
    """

    shape: Shape
    card: Card
    batch: int
    share: float = MEASURED_SHARE
    prompt: int = 200
    uncached: int = 8

    def step_seconds(self, running: Floats, kv_tokens: Floats, prefill: Floats) -> Floats:
        """Seconds of each step: its sequences, the tokens in their KV cache, those of prefill."""
        # Few numbers of tokens occur, each in many steps.
        tokens, place = np.unique(running + prefill, return_inverse=True)
        computed = np.array([Roof(self.shape, self.card, n, 0).step_seconds for n in tokens])
        attend = kv_tokens * self.shape.kv_bytes / self.card.bandwidth
        found: Floats = (computed[place] + attend) / self.share
        return found

    def line(self, lengths: Floats) -> str:
        """For people: the speed of a full batch with completions of these lengths.

        A running sequence holds, on average over time, its prompt and E[l^2] / (2 E[l]) tokens of
        its completion.
        """
        held = self.prompt + float((lengths**2).mean() / (2 * lengths.mean()))
        roof = Roof(self.shape, self.card, self.batch, held).tokens_per_second
        return (
            f"{self.share * roof:,.0f} tokens/s, {self.share:.0%} of the roof of {roof:,.0f} "
            f"({self.card.name}, {self.batch} sequences, context {held:.0f})"
        )
