"""`status.py` on 8,000 slices: the first time, and again when nothing has changed.

The second one takes what the first has read from `results/shards.parquet`. Each is a process of its
own; the files are in the page cache both times. What a shared file system adds is latency for each
operation, of which `tests/runs/test_shard_cache.py` counts those of the second.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scale import measured

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

from many_slices import make_run  # noqa: E402 - tests/ is no package

REPEATS = 3


def bench() -> Iterator[dict[str, object]]:
    """One row for each size of a slice; seconds are the fastest of three."""
    for samples in (2, 128):
        with tempfile.TemporaryDirectory() as folder:
            run = make_run(Path(folder), 8000, samples, 400)
            cache = run.results_dir / "shards.parquet"
            first, second = [], []
            for _ in range(REPEATS):
                cache.unlink(missing_ok=True)
                first.append(measured(folder, "status.py", "run")[0])
                second.append(measured(folder, "status.py", "run")[0])
            yield {
                "slices": 8000,
                "samples": f"{8000 * samples:,}",
                "first status, s": f"{min(first):.2f}",
                "second status, s": f"{min(second):.2f}",
                "ratio": f"{min(first) / min(second):.1f}",
                "cache, MB": f"{cache.stat().st_size / 1e6:.2f}",
            }
