"""The processor of logits with which vLLM draws for all samples that share a prefix.

vLLM calls it where the logits are. It draws the next token of every sample of every row, and makes
the token that the row goes on with the largest. The requests are greedy, so that token is taken.
See `toolkit.backends.prefix_tree` for the rows, `toolkit.backends.shared_prefixes` for the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from toolkit.backends.prefix_tree import Row, positions

ROWS: dict[str, Row] = {}
"""Name -> row. A request carries the name of its row, and the processor finds the row by it."""
ENDS: set[int] = set()
"""The tokens that end a sample, as vLLM has them from the model."""
LIKELY = 64
"""So many tokens are first looked at for those that hold top_p; then eight times more."""
FORCED = 1e30
"""The logit of the token that is to be taken."""


class SharedDraws(LogitsProcessor):  # type: ignore[misc]  # vllm has no types
    """Draws the next token of every sample of every row, and lets the rows split."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[Row, Any]] = {}

    def is_argmax_invariant(self) -> bool:
        """No: it decides which logit is the largest."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests through the batch, in the order that vLLM asks for."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows.pop(index, None)
        for index, params, _, _ in batch_update.added:
            self._rows.pop(index, None)
            if settings := params.extra_args:
                ENDS.update(params.all_stop_token_ids)
                self._rows[index] = ROWS[settings["row"]], settings
        for source, target, way in batch_update.moved:
            moved, replaced = self._rows.pop(source, None), self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if replaced is not None and way == MoveDirectionality.SWAP:
                self._rows[source] = replaced

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw, and make the token of each row the largest. Shape: rows of the batch, tokens."""
        if not self._rows:
            return logits
        index = sorted(self._rows)
        rows = [self._rows[i][0] for i in index]
        settings = self._rows[index[0]][1]
        mine = logits if len(index) == len(logits) else logits[index]
        drawn = draw(mine, rows, settings["temperature"], settings["top_p"])
        ends = np.cumsum([len(row.seeds) for row in rows])
        parts = np.split(drawn, ends[:-1])
        tokens = [row.take(part) for row, part in zip(rows, parts, strict=True)]
        logits[index, tokens] = FORCED
        return logits


def draw(
    logits: torch.Tensor, rows: Sequence[Row], temperature: float, top_p: float
) -> NDArray[np.int64]:
    """A token of each sample of the rows, one row after the other.

    logits: of the rows' next tokens; shape (rows, tokens). As vLLM's sampler has it: the softmax of
    logits / temperature, of which the smallest set of most likely tokens is kept that holds top_p.
    """
    scaled = logits.float() / temperature
    if top_p < 1:
        chances, tokens = nucleus(scaled, top_p)
    else:
        chances, tokens = torch.softmax(scaled, -1), None
    cumulated = torch.cumsum(chances, -1, dtype=torch.float64)
    cumulated /= cumulated[:, -1:].clone()
    which, numbers = positions(rows)
    of_row = torch.from_numpy(which).to(logits.device)
    asked = torch.from_numpy(numbers).to(logits.device)
    # Row r ascends from r to r + 1: one search finds the token of every sample.
    cumulated += torch.arange(len(rows), device=logits.device, dtype=torch.float64)[:, None]
    width = cumulated.shape[1]
    found = torch.searchsorted(cumulated.flatten(), asked + of_row, right=True) - of_row * width
    last = (chances > 0).int().mul(torch.arange(1, width + 1, device=logits.device)).argmax(-1)
    found = torch.minimum(found, last[of_row])  # a number next to 1 may round up to it
    if tokens is not None:
        found = tokens[of_row, found]
    drawn: NDArray[np.int64] = found.cpu().numpy()
    return drawn


def nucleus(scaled: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely tokens of each row that together hold top_p, and their probabilities.

    Returns probabilities, largest first and 0 outside the set, and tokens; shape (rows, k) both.
    A full sort of the vocabulary, as vLLM does it on a CPU, takes as long as a small model.
    """
    total = torch.logsumexp(scaled, -1, keepdim=True)
    k = min(LIKELY, scaled.shape[1])
    while True:
        top, tokens = torch.topk(scaled, k, -1)
        chances = torch.exp(top - total)
        before = torch.cumsum(chances, -1) - chances
        held = before[:, -1] + chances[:, -1]
        if k == scaled.shape[1] or bool((held >= top_p).all()):
            return torch.where(before < top_p, chances, 0.0), tokens
        k = min(8 * k, scaled.shape[1])
