"""The processor of logits with which vLLM draws for all samples that share a prefix.

vLLM calls it where the logits are. It draws the next token of every sample of every row, and makes
the token that the row goes on with the largest. The requests are greedy, so that token is taken.
See `toolkit.backends.prefix_tree` for the rows, `toolkit.backends.draws` for how a token is drawn,
`toolkit.backends.shared_prefixes` for the rest.
"""

from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from toolkit.backends.draws import draw
from toolkit.backends.prefix_tree import Row

ROWS: dict[str, Row] = {}
"""Name -> row. A request carries the name of its row, and the processor finds the row by it."""
ENDS: set[int] = set()
"""The tokens that end a sample, as vLLM has them from the model."""
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
