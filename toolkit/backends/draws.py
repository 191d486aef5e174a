"""From the logits of rows to a token of each of their samples.

As vLLM's sampler has it: the softmax of logits / temperature, of which the smallest set of most
likely tokens is kept that holds top_p. What a sample draws depends on the logits of its own row and
on its own random number. See `toolkit.backends.prefix_tree` for the rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.backends.prefix_tree import Row, positions

LIKELY = 64
"""So many tokens are first looked at for those that hold top_p; then eight times more."""


def draw(
    logits: torch.Tensor, rows: Sequence[Row], temperature: float, top_p: float
) -> NDArray[np.int64]:
    """A token of each sample of the rows, one row after the other.

    logits: of the rows' next tokens; shape (rows, tokens).
    """
    scaled = logits.float() / temperature
    which, numbers = positions(rows)
    of_row = torch.from_numpy(which).to(logits.device)
    asked = torch.from_numpy(numbers).to(logits.device)
    if top_p < 1:
        found = torch.empty_like(of_row)
        for some, chances, tokens in nuclei(scaled, top_p):
            place = torch.full((len(rows),), -1, device=logits.device)
            place[some] = torch.arange(len(some), device=logits.device)
            theirs = torch.nonzero(place[of_row] >= 0).flatten()
            among = place[of_row[theirs]]
            found[theirs] = tokens[among, inverted(chances, among, asked[theirs])]
    else:
        found = inverted(torch.softmax(scaled, -1), of_row, asked)
    drawn: NDArray[np.int64] = found.cpu().numpy()
    return drawn


def inverted(chances: torch.Tensor, of_row: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Where each random number falls in its row's cumulative distribution: a column of `chances`.

    chances: shape (rows, columns); a row need not add up to 1. of_row, asked: the row and the
    number, from 0 to below 1, of each sample. A column with no chance is never found.
    """
    rows, width = chances.shape
    cumulated = torch.cumsum(chances, -1, dtype=torch.float64)
    cumulated /= cumulated[:, -1:].clone()
    # Row r ascends from r to r + 1: one search finds the token of every sample.
    cumulated += torch.arange(rows, device=chances.device, dtype=torch.float64)[:, None]
    found = torch.searchsorted(cumulated.flatten(), asked + of_row, right=True) - of_row * width
    last = (chances > 0).int().mul(torch.arange(1, width + 1, device=chances.device)).argmax(-1)
    return torch.minimum(found, last[of_row])  # a number next to 1 may round up to it


def nuclei(
    scaled: torch.Tensor, top_p: float
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The most likely tokens of each row that together hold top_p, and their probabilities.

    Yields some of the rows at a time, each row once: the rows, as indices of `scaled`;
    probabilities, largest first and 0 outside the set; and tokens, shape (rows, k) both. Only
    those rows are looked at again, with a larger k, whose k most likely tokens hold less.
    A full sort of the vocabulary, as vLLM does it on a CPU, takes as long as a small model.
    """
    rows = torch.arange(len(scaled), device=scaled.device)
    total = torch.logsumexp(scaled, -1, keepdim=True)
    k = min(LIKELY, scaled.shape[1])
    while len(rows):
        top, tokens = torch.topk(scaled, k, -1)
        chances = torch.exp(top - total)
        before = torch.cumsum(chances, -1) - chances
        kept = torch.where(before < top_p, chances, 0.0)
        # All tokens together may hold a little less than top_p, by rounding.
        enough = (before[:, -1] + chances[:, -1] >= top_p) | (k == scaled.shape[1])
        yield rows[enough], kept[enough], tokens[enough]
        rows, scaled, total = rows[~enough], scaled[~enough], total[~enough]
        k = min(8 * k, scaled.shape[1])
