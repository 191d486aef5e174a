"""How busy an engine was kept: readings of its feed, in the metadata of the shards."""

import json
import time
from dataclasses import dataclass, field

import polars as pl

from toolkit.shards import looks_whole
from toolkit.spent import TASK
from toolkit.store import Run, metadata

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
    }
)


@dataclass(slots=True)
class Feed:
    """Readings of one task: [time, fewest samples in flight since the last one, output tokens
    since its start, whether samples were left to submit], about one a second.
    """

    _readings: list[tuple[float, int, int, bool]] = field(default_factory=list)
    _fewest: int | None = None
    _at: float = 0.0

    def note(self, in_flight: int, tokens: int, feeding: bool) -> None:
        """Called once a step of the engine, before it gets new samples."""
        self._fewest = in_flight if self._fewest is None else min(self._fewest, in_flight)
        now = time.time()
        if now - self._at >= SECONDS:
            self._readings.append((round(now, 2), self._fewest, tokens, feeding))
            self._fewest, self._at = None, now

    def take(self) -> str:
        """The readings since the last call, as JSON, for the shard that is about to be written."""
        taken, self._readings = self._readings, []
        return json.dumps(taken)


def read_feed(run: Run) -> pl.DataFrame:
    """All readings of a run: task, time, in_flight, wanted (max_num_seqs), tokens, feeding."""
    rows = []
    for path in sorted(run.samples_dir.glob("*.parquet")):
        facts = metadata(path) if looks_whole(path) else {}
        task = "/".join(facts.get(name, "") for name in TASK)
        for reading in json.loads(facts.get("feed", "[]")):
            at, in_flight, tokens, feeding = reading
            rows.append((task, at, in_flight, int(facts.get("max_num_seqs", "1")), tokens, feeding))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("task", "time")
