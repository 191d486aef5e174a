"""How busy an engine was kept: readings of its feed, in the metadata of the shards."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from toolkit.records import Load
from toolkit.runs.shards import looks_whole
from toolkit.runs.usage import TASK
from toolkit.runs.run import Run, metadata

SECONDS = 1.0
"""Between two readings."""
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

Reading = tuple[float, int, int, bool, float | None, int | None]


@dataclass(slots=True)
class Feed:
    """Readings of one engine, about one a second: [time, fewest samples in flight since the last
    one, output tokens since its start, whether samples were left to submit, largest share of its
    KV cache in use since the last one, preemptions since its start].

    load: asked for the last two, which are null where the engine does not tell.
    """

    load: Callable[[], Load]
    _readings: list[Reading] = field(default_factory=list)
    _fewest: int | None = None
    _at: float = 0.0
    _fullest: float | None = None
    _peak: float | None = None
    _preemptions: int | None = None
    _counted: int = 0

    def note(self, in_flight: int, tokens: int, feeding: bool) -> None:
        """Called once a step of the engine, before it gets new samples."""
        self._fewest = in_flight if self._fewest is None else min(self._fewest, in_flight)
        now = time.time()
        if now - self._at >= SECONDS:
            self._look()
            share = None if self._fullest is None else round(self._fullest, 4)
            self._readings.append(
                (round(now, 2), self._fewest, tokens, feeding, share, self._preemptions)
            )
            self._fewest, self._fullest, self._at = None, None, now

    def take(self) -> dict[str, str]:
        """What was seen since the last call, as metadata of the shard that is about to be
        written: the readings as JSON, and what the engine told of KV cache and preemptions.
        """
        self._look()
        facts = {"feed": json.dumps(self._readings)}
        if self._peak is not None:
            facts["kv_cache_peak"] = f"{self._peak:.4f}"
        if self._preemptions is not None:
            facts["preemptions"] = str(self._preemptions - self._counted)
            self._counted = self._preemptions
        self._readings, self._peak = [], None
        return facts

    def _look(self) -> None:
        load = self.load()
        if load.kv_cache is not None:
            self._fullest = max(self._fullest or 0.0, load.kv_cache)
            self._peak = max(self._peak or 0.0, load.kv_cache)
        self._preemptions = load.preemptions


def read_feed(run: Run) -> pl.DataFrame:
    """All readings of a run: task, time, in_flight, wanted (max_num_seqs), tokens, feeding,
    kv_cache, preemptions; the last two are null where they were not recorded.
    """
    rows = []
    for path in sorted(run.samples_dir.glob("*.parquet")):
        facts = metadata(path) if looks_whole(path) else {}
        task = "/".join(facts.get(name, "") for name in TASK)
        for reading in json.loads(facts.get("feed", "[]")):
            at, in_flight, *rest = reading
            # A reading of the first version ends with `feeding`.
            rest += [None] * (4 - len(rest))
            rows.append((task, at, in_flight, int(facts.get("max_num_seqs", "1")), *rest))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("task", "time")
