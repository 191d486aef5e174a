"""From logits to a token of each sample: rows of a batch, sharp and flat, do not touch each other."""

import numpy as np
import pytest
import torch

from toolkit.backends.draws import LIKELY, draw, nuclei
from toolkit.backends.prefix_tree import Row, stream_of

VOCABULARY = 4_000
SPREADS = (9.0, 0.1, 2.5, 9.0, 0.1, 2.5, 2.5, 9.0)
"""Of the logits of the rows: sharp, flat and between, so that rows of a kind do not stand together."""
WIDTHS = (LIKELY, VOCABULARY, 8 * LIKELY) * 2 + (8 * LIKELY, LIKELY)
"""So many tokens hold a top_p of .8 of each row."""


def batch(per_row=40):
    """Logits of rows, and the rows; row i has per_row + i samples."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(len(SPREADS), VOCABULARY, generator=generator)
    rows = []
    for i in range(len(SPREADS)):
        seeds = np.arange(per_row + i)
        streams = np.array([stream_of(i, seed) for seed in seeds], np.uint64)
        rows.append(Row(f"t/{i}", seeds, streams))
    return logits * torch.tensor(SPREADS)[:, None], rows


def drawn_by_definition(logits, row, temperature, top_p):
    """By a sort of all tokens, or with top_p 1 in their own order, in float64."""
    chances = np.exp((logits.double() / temperature).numpy())
    chances /= chances.sum()
    order = np.argsort(-chances) if top_p < 1 else np.arange(len(chances))
    sorted_chances = chances[order]
    kept = sorted_chances * (np.cumsum(sorted_chances) - sorted_chances < top_p)
    cumulated = np.cumsum(kept) / kept.sum()
    return order[np.searchsorted(cumulated, row.uniforms(), side="right")].tolist()


@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_each_sample_draws_from_its_own_row_by_its_own_number(top_p):
    logits, rows = batch()
    together = draw(logits, rows, 1.0, top_p)
    parts = np.split(together, np.cumsum([len(row.seeds) for row in rows])[:-1])
    for part, row, of_row in zip(parts, rows, logits, strict=True):
        assert part.tolist() == drawn_by_definition(of_row, row, 1.0, top_p)
        assert part.tolist() == draw(of_row[None], [row], 1.0, top_p).tolist()


def test_only_rows_that_need_more_tokens_are_looked_at_again():
    logits, _ = batch()
    seen = {}
    for rows, chances, tokens in nuclei(logits, 0.8):
        assert chances.shape == tokens.shape
        assert not seen.keys() & set(rows.tolist())
        seen |= dict.fromkeys(rows.tolist(), chances.shape[1])
        # The smallest set: it holds top_p, and without its least likely token it would not.
        held = chances.sum(1)
        least = torch.where(chances > 0, chances, 1.0).min(1).values
        assert bool((held >= 0.8 - 1e-6).all())
        assert bool((held - least < 0.8).all())
    assert tuple(seen[i] for i in range(len(SPREADS))) == WIDTHS


def test_equally_likely_tokens_are_taken_alike_beside_a_row_that_needs_more():
    """Where several tokens are as likely, their order depends on how many are looked at."""
    logits, rows = batch()
    tied = torch.stack([torch.round(logits[0] / 9 * 4), logits[1]])
    together = draw(tied, rows[:2], 1.0, 0.8)
    alone = draw(tied[:1], rows[:1], 1.0, 0.8)
    assert together[: len(alone)].tolist() == alone.tolist()
