"""What sampling has cost, as the shards say: tokens in and out, and the time of its processes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_cache import read_all_facts
from toolkit.runs.shard_facts import ShardFacts, Times


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over the sampling tasks of a run: the processes that sampled, one engine each.

    All seconds are GPU seconds: the time of a sampling task times its `tensor_parallel_size`.

    - sampling_seconds: from the start of the first slice to the end of the last one, without the
      restarts of engines between.
    - startup_seconds: all starts of engines, staging included.
    - staging_seconds: the part of it in which the model was copied to the node.
    - tokens: of the completions.
    - prompt_tokens: of the prompts as submitted. None unless every shard tells them.
    - cached_tokens: those prompt tokens that were in the engine's prefix cache. None likewise.
    - preemptions: sequences that the engine began again. None likewise.
    - kv_cache_peak: the largest share of a KV cache in use that any shard tells, 0 to 1.
    - devices: name of the GPU -> number of sampling tasks. For an engine on two GPUs the name is
      "2 x name".
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
        """Output tokens per second of one GPU while it sampled. None if nothing is known."""
        known = self.tokens and self.sampling_seconds > 0
        return self.tokens / self.sampling_seconds if known else None

    @property
    def gpu_hours(self) -> float:
        """The GPU hours to pay for. Starts of engines are included, because they cost as much."""
        return (self.sampling_seconds + self.startup_seconds) / 3600


class GpuSeconds(NamedTuple):
    """The GPU seconds of one sampling task. Fields as in `Spent`."""

    sampling: float
    startup: float
    staging: float


TimedShard = tuple[Times, ShardFacts]


def read_spent(run: Run) -> Spent:
    """What a run has cost, from all its shards and partial files."""
    return spent_of([*read_all_facts(run), *(partial.facts for partial in list_partials(run))])


def spent_of(shards: Iterable[ShardFacts]) -> Spent:
    """What these shards have cost, with the interrupted attempts at them.

    Shards without times (ingested ones) cost nothing.
    """
    timed = [(each.times, each) for s in shards for each in s.attempts() if each.times]
    timed.sort(key=lambda each: (_task(each), each[0].started))
    tasks = [list(group) for _, group in groupby(timed, _task)]
    seconds = [_gpu_seconds(task) for task in tasks]
    peaks = [s.feed.kv_cache_peak for _, s in timed if s.feed.kv_cache_peak is not None]
    return Spent(
        tasks=len(tasks),
        tokens=_total([s.tokens.output for _, s in timed]) or 0,
        prompt_tokens=_total([s.tokens.prompt for _, s in timed]),
        cached_tokens=_total([s.tokens.cached for _, s in timed]),
        sampling_seconds=sum(each.sampling for each in seconds),
        startup_seconds=sum(each.startup for each in seconds),
        staging_seconds=sum(each.staging for each in seconds),
        kv_cache_peak=max(peaks, default=None),
        preemptions=_total([s.feed.preemptions for _, s in timed]),
        devices=dict(Counter(_device(task[0][1]) for task in tasks)),
    )


def _task(shard: TimedShard) -> tuple[str, ...]:
    return shard[1].origin.key


def _device(shard: ShardFacts) -> str:
    name = "unknown" if shard.engine.device is None else shard.engine.device
    gpus = _gpus(shard)
    return f"{gpus} x {name}" if gpus > 1 else name


def _gpus(shard: ShardFacts) -> int:
    told = shard.engine.tensor_parallel_size
    return 1 if told is None else told


def _total(counts: Sequence[int | None]) -> int | None:
    """The sum of the counts. None if there are no counts or if one is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _gpu_seconds(shards: Sequence[TimedShard]) -> GpuSeconds:
    """The GPU seconds of one sampling task, from its shards in the order of their start.

    An engine that died is started again in the same process, between two slices. So the time from
    the first slice to the last one includes every start except the first.
    """
    staging: dict[int, float] = {}
    starting: dict[int, float] = {}
    for _, s in shards:
        restarts = s.start.restarts or 0
        staging.setdefault(restarts, s.start.staging_seconds or 0.0)
        starting.setdefault(restarts, staging[restarts] + (s.start.startup_seconds or 0.0))
    first, *later = starting.values()
    span = max(times.ended for times, _ in shards) - shards[0][0].started
    gpus = _gpus(shards[0][1])
    return GpuSeconds(
        sampling=gpus * max(0.0, span - sum(later)),
        startup=gpus * (first + sum(later)),
        staging=gpus * sum(staging.values()),
    )
