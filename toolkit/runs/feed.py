"""How busy the engine was: readings of its feed, which the shards record."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from toolkit.records import Load
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import FeedFacts, Reading, ShardFacts, read_facts
from toolkit.runs.shards import looks_whole

SECONDS = 1.0
"""Time between two readings."""
SCHEMA = pl.Schema(
    {
        "task": pl.String(),
        "time": pl.Float64(),
        "in_flight": pl.UInt32(),
        "wanted": pl.UInt32(),
        "tokens": pl.UInt64(),
        "feeding": pl.Boolean(),
        "kv_cache": pl.Float64(),
        "preemptions": pl.UInt64(),
    }
)


@dataclass(slots=True)
class Feed:
    """Takes readings of one engine, about one per second.

    load: a function that tells the KV cache and the preemptions.
    """

    load: Callable[[], Load]
    _readings: list[Reading] = field(default_factory=list)
    _fewest: int | None = None
    _at: float = 0.0
    # The largest share of the KV cache in use since the last reading, and since the last shard.
    _fullest: float | None = None
    _peak: float | None = None
    # Preemptions since the engine's start: until now, and until the last shard.
    _preemptions: int | None = None
    _counted: int = 0

    def note(self, in_flight: int, tokens: int, feeding: bool) -> None:
        """Take a reading if one is due. Call it after each engine step, before new samples.

        in_flight: unfinished samples. tokens: output tokens so far. feeding: samples are left.
        """
        self._fewest = in_flight if self._fewest is None else min(self._fewest, in_flight)
        now = time.time()
        if now - self._at >= SECONDS:
            self._ask()
            share = None if self._fullest is None else round(self._fullest, 4)
            self._readings.append(
                Reading(round(now, 2), self._fewest, tokens, feeding, share, self._preemptions)
            )
            self._fewest, self._fullest, self._at = None, None, now

    def take(self) -> FeedFacts:
        """What was read since the last call, for the shard that is written next."""
        self._ask()
        preemptions = None
        if self._preemptions is not None:
            preemptions = self._preemptions - self._counted
            self._counted = self._preemptions
        facts = FeedFacts.of(self._readings, self._peak, preemptions)
        self._readings, self._peak = [], None
        return facts

    def _ask(self) -> None:
        load = self.load()
        if load.kv_cache is not None:
            self._fullest = max(self._fullest or 0.0, load.kv_cache)
            self._peak = max(self._peak or 0.0, load.kv_cache)
        self._preemptions = load.preemptions


def read_feed(run: Run) -> pl.DataFrame:
    """All readings of a run, with the columns of `SCHEMA`; for their meaning see `Reading`.

    task: the process that sampled. wanted: max_num_seqs of its engine. kv_cache and preemptions are
    null if they were not recorded.
    """
    rows: list[tuple[str | float | None, ...]] = []
    for path in sorted(run.samples_dir.glob("*.parquet")):
        if looks_whole(path):
            for attempt in read_facts(path).attempts():
                rows += _rows(attempt)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("task", "time")


def _rows(facts: ShardFacts) -> list[tuple[str | float | None, ...]]:
    task = "/".join(facts.origin.key)
    wanted = 1 if facts.start.max_num_seqs is None else facts.start.max_num_seqs
    return [
        (task, r.time, r.in_flight, wanted, r.tokens, r.feeding, r.kv_cache, r.preemptions)
        for r in facts.feed.readings()
    ]
