"""What sampling has cost: tokens in and out, and the time of its tasks, as the shards say."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from toolkit.runs.run import Run, metadata

TASK = ("host", "slurm_job", "slurm_task", "slurm_restarts", "process")
"""The metadata that tell one task's life from another's."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over the sampling tasks of a run. Seconds are those of a GPU: a task's time counts
    `tensor_parallel_size` times.

    sampling_seconds: from the start of a task's first slice to the end of its last, less the
    starts of engines between; startup_seconds: starts of engines, `staging_seconds` included,
    the time in which the model was copied to the node. prompt_tokens, cached_tokens (of them, in
    the engine's prefix cache) and preemptions are None unless every shard tells; kv_cache_peak is
    the largest share in use that any tells. devices: name (of an engine of two GPUs "2 x name") ->
    tasks.
    """

    tasks: int = 0
    tokens: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    sampling_seconds: float = 0.0
    startup_seconds: float = 0.0
    staging_seconds: float = 0.0
    kv_cache_peak: float | None = None
    preemptions: int | None = None
    devices: dict[str, int] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens of one GPU while it sampled; None where nothing is known."""
        known = self.tokens and self.sampling_seconds > 0
        return self.tokens / self.sampling_seconds if known else None

    @property
    def gpu_hours(self) -> float:
        """What is paid for: a GPU costs as much while its engine starts."""
        return (self.sampling_seconds + self.startup_seconds) / 3600


def read_spent(run: Run) -> Spent:
    """From the metadata of all shards."""
    return spent_of(metadata(path) for path in run.samples_dir.glob("*.parquet"))


def spent_of(shards: Iterable[Mapping[str, str]]) -> Spent:
    """From shards' metadata; those without times (ingested ones) cost nothing."""
    timed = [s for s in shards if "started" in s]
    timed.sort(key=lambda s: (_task(s), float(s["started"])))
    tasks = [list(group) for _, group in groupby(timed, _task)]
    times = [_times(task) for task in tasks]
    return Spent(
        tasks=len(tasks),
        tokens=_total(timed, "tokens") or 0,
        prompt_tokens=_total(timed, "prompt_tokens"),
        cached_tokens=_total(timed, "cached_tokens"),
        sampling_seconds=sum(t[0] for t in times),
        startup_seconds=sum(t[1] for t in times),
        staging_seconds=sum(t[2] for t in times),
        kv_cache_peak=max((float(s["kv_cache_peak"]) for s in timed if "kv_cache_peak" in s),
                          default=None),
        preemptions=_total(timed, "preemptions"),
        devices=dict(Counter(_device(task[0]) for task in tasks)),
    )  # fmt: skip


def _task(shard: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(shard.get(name, "") for name in TASK)


def _device(shard: Mapping[str, str]) -> str:
    name, gpus = shard.get("device", "unknown"), _gpus(shard)
    return f"{gpus} x {name}" if gpus > 1 else name


def _gpus(shard: Mapping[str, str]) -> int:
    return int(shard.get("tensor_parallel_size", "1"))


def _total(shards: Sequence[Mapping[str, str]], name: str) -> int | None:
    if not shards or any(name not in s for s in shards):
        return None
    return sum(int(s[name]) for s in shards)


def _times(shards: Sequence[Mapping[str, str]]) -> tuple[float, float, float]:
    """GPU-seconds of sampling, start-up and staging of one task, from its shards by `started`.

    An engine that died is started again in the same task, between two slices: the time from the
    first slice to the last holds every start but the first.
    """
    starts: dict[str, tuple[float, float]] = {}
    for s in shards:
        times = float(s.get("startup_seconds", "0")), float(s.get("staging_seconds", "0"))
        starts.setdefault(s.get("engine_restarts", "0"), times)
    first, *later = (startup + staging for startup, staging in starts.values())
    span = max(float(s["ended"]) for s in shards) - float(shards[0]["started"])
    gpus = _gpus(shards[0])
    return (
        gpus * max(0.0, span - sum(later)),
        gpus * (first + sum(later)),
        gpus * sum(staging for _, staging in starts.values()),
    )
