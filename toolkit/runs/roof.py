"""The share of its roof that a run has reached: `toolkit.stats.roofline`, from what shards say."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_cache import open_cache
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.usage import facts_of_work, spent_of
from toolkit.stats.roofline import Card, Roof, Shape, card_of


@dataclass(frozen=True, slots=True)
class RunRoof:
    """The roof of a run's engines, averaged over the time that they sampled.

    tokens_per_second: of one GPU. share: what was reached of it, with the edges of the array, where
    batches were not full. sequences: of the largest batch. context: mean tokens of a sequence in
    the middle of its completion. cards: as in `toolkit.stats.roofline`.
    """

    tokens_per_second: float
    share: float
    sequences: int
    context: float
    cards: tuple[str, ...]

    def line(self) -> str:
        """For people: `64% of 30,164 tokens/s a GPU (H100, ...)`."""
        return f"{self.share:.0%} of {self.tokens_per_second:,.0f} tokens/s a GPU ({self._of()})"

    def speed_line(self) -> str:
        """The same where no speed stands beside it: `19,305 tokens/s a GPU, 64% of ...`."""
        reached = self.share * self.tokens_per_second
        return (
            f"{reached:,.0f} tokens/s a GPU, {self.share:.0%} of the roof of "
            f"{self.tokens_per_second:,.0f} ({self._of()})"
        )

    def _of(self) -> str:
        return f"{', '.join(self.cards)}, {self.sequences} sequences, context {self.context:.0f}"


def engine_of_run(run: Run) -> tuple[Card, Shape, int] | None:
    """Card, shape and number of GPUs of an engine of the run: of its last shard that tells them."""
    for facts in reversed(facts_of_work(run, skip_damaged=True)):
        engine = facts.engine
        card = card_of(engine.device or "")
        if card and engine.shape:
            return card, Shape(**json.loads(engine.shape)), engine.tensor_parallel_size or 1
    return None


def read_roof(run: Run) -> RunRoof | None:
    """The roof of all that a run has drawn. Damaged shards say nothing. None as for `roof_of`."""
    partials = list_partials(run)
    cache = open_cache(run)
    shards = cache.shards(skip_damaged=True)
    cache.save()
    samples = sum(len(s) for s in run.slices() if s.name in shards)
    samples += sum(partial.samples for partial in partials)
    return roof_of([*shards.values(), *(partial.facts for partial in partials)], samples)


def roof_of(shards: Iterable[ShardFacts], samples: int) -> RunRoof | None:
    """The roof of these shards with so many samples. None if any of them does not tell enough.

    That is: without a GPU, of a card or a model that is not known, or of older versions' shards.
    """
    attempts = [attempt for each in shards for attempt in each.attempts() if attempt.times]
    spent = spent_of(attempts)
    if not (samples and spent.tokens and spent.prompt_tokens and spent.tokens_per_second):
        return None
    context = (spent.prompt_tokens + spent.tokens / 2) / samples
    kinds: dict[tuple[str | None, str | None, int, int], list[ShardFacts]] = {}
    for each in attempts:
        engine = each.engine
        gpus, sequences = engine.tensor_parallel_size or 1, each.start.max_num_seqs or 0
        kinds.setdefault((engine.device, engine.shape, gpus, sequences), []).append(each)
    possible, cards = 0.0, dict[str, int]()
    for (device, shape, gpus, sequences), made in kinds.items():
        card = card_of(device or "")
        if card is None or shape is None or not sequences:
            return None
        roof = Roof(Shape(**json.loads(shape)), card, sequences, context, gpus)
        possible += roof.tokens_per_second * spent_of(made).sampling_seconds / gpus
        cards[card.name] = max(sequences, cards.get(card.name, 0))
    if not possible:
        return None
    per_gpu = possible / spent.sampling_seconds
    share = spent.tokens / possible
    return RunRoof(per_gpu, share, max(cards.values()), context, tuple(sorted(cards)))
