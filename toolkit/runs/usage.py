"""What sampling has cost: tokens in and out, and the time of its GPUs.

The shards tell the tokens and the time of the processes that wrote them. What is paid for is more:
attempts that were lost, and the time before the first slice. Slurm's accounting knows those.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, TypeVar

from toolkit.runs.history import recorded_config
from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_cache import read_all_facts
from toolkit.runs.shard_facts import FeedFacts, ShardFacts, Times

ASSUMED_TOKENS_PER_SECOND = 4000.0
"""Output tokens/s of a GPU where nothing is known: the public experiment's, an 8B model with 256
sequences on an A100-40GB."""
NO_GPU = ("none", "cpu")
"""Devices that the backends name where there is no GPU. A server is named by its URL."""

Amount = TypeVar("Amount", int, float)


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over the sampling tasks of a run: the processes that sampled, by one or more engines.

    All seconds are the time of an engine times its `tensor_parallel_size`: GPU seconds. Of a run
    that was sampled without a GPU (`on_gpus` is False) they are seconds of its engines.

    - sampling_seconds: from the start of the first slice to the end of the last one, without the
      restarts of engines between.
    - startup_seconds: all starts of engines, staging included.
    - staging_seconds: the part of it in which the model was copied to the node.
    - tokens: of the completions. None where nothing was sampled here.
    - prompt_tokens: of the prompts as submitted. None unless every shard tells them.
    - cached_tokens: those prompt tokens that were in the engine's prefix cache. None likewise.
    - shared_tokens: output tokens that were not computed, because another sample of the problem has
      them too (`--share-prefixes`). None where no shard shares.
    - preemptions: sequences that the engine began again. None likewise.
    - kv_cache_peak: the largest share of a KV cache in use that any shard tells, 0 to 1.
    - devices: name of the GPU -> number of engines. For an engine on two GPUs the name is
      "2 x name".
    - engines: their number. One that replaces another in the same task is no further one.
    - on_gpus: whether any of them is a GPU, as far as the shards say.
    """

    tasks: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    shared_tokens: int | None = None
    sampling_seconds: float = 0.0
    startup_seconds: float = 0.0
    staging_seconds: float = 0.0
    kv_cache_peak: float | None = None
    preemptions: int | None = None
    devices: dict[str, int] = field(default_factory=dict)
    on_gpus: bool = False
    engines: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens per second of one GPU while it sampled. None without a GPU."""
        if not self.on_gpus or not self.tokens or self.sampling_seconds <= 0:
            return None
        return self.tokens / self.sampling_seconds


@dataclass(frozen=True, slots=True)
class Allocation:
    """What Slurm gave to one attempt of a job: so many GPUs for so many seconds.

    job: the id that sbatch gave. sampling: whether it was to sample.
    """

    job: str
    sampling: bool
    seconds: float
    gpus: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run is paid for, and what part of it went into sampling.

    - on_gpus: whether seconds are GPU seconds. Otherwise they are seconds of sampling tasks, and
      there are no GPU hours.
    - seconds: all that is paid for. Of Slurm's jobs: from the start of each attempt to its end.
    - sampling_seconds: the part in which engines sampled, as the shards say.
    - source: who says the seconds: "sacct", "the shards", or each for a part.
    - usd: of the tokens of a hosted model, at its prices. None without prices.
    """

    on_gpus: bool
    seconds: float
    sampling_seconds: float
    source: str
    usd: float | None = None

    @property
    def gpu_hours(self) -> float | None:
        """The GPU hours to pay for. None without a GPU."""
        return self.seconds / 3600 if self.on_gpus else None

    @property
    def efficiency(self) -> float | None:
        """The share of the paid time that went into sampling. None if nothing was paid for."""
        return min(1.0, self.sampling_seconds / self.seconds) if self.seconds > 0 else None

    def line(self) -> str:
        """For people: `3.21 GPU-hours paid (says sacct), 85 % of them sampling`."""
        amount = f"{self.seconds / 3600:.2f} GPU-hours" if self.on_gpus else f"{self.seconds:.0f} s"
        paid = f"{amount} paid" if self.on_gpus else f"{amount} of sampling tasks, no GPU"
        share = "" if self.efficiency is None else f", {self.efficiency:.0%} of it sampling"
        tokens = "" if self.usd is None else f"{self.usd:.4g} $ of tokens; "
        return f"{tokens}{paid} (from {self.source}){share}"


class GpuSeconds(NamedTuple):
    """The GPU seconds of one engine of a sampling task. Fields as in `Spent`."""

    sampling: float
    startup: float
    staging: float


TimedShard = tuple[Times, ShardFacts]


def facts_of_work(run: Run, *, skip_damaged: bool = False) -> list[ShardFacts]:
    """What the shards of a run say, and the partial files of its interrupted slices.

    Raises `CorruptShard` for a shard that cannot be read, unless those are to be left out.
    """
    shards = read_all_facts(run, skip_damaged=skip_damaged)
    return [*shards, *(partial.facts for partial in list_partials(run))]


class TokenPrices(NamedTuple):
    """Dollars for a token of a prompt, and for one of a completion."""

    prompt: float
    output: float

    def of(self, spent: Spent) -> float:
        """Dollars of these tokens. Prompts whose tokens the server does not tell cost nothing."""
        return self.prompt * (spent.prompt_tokens or 0) + self.output * (spent.tokens or 0)


def token_prices(run: Run) -> TokenPrices | None:
    """What the newest launch says of a hosted model's prices. None if it says nothing.

    A price that is not given beside the other is 0.
    """
    engine = recorded_config(run).get("engine", {})
    names = ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
    told = [engine.get(name) for name in names]
    if told == [None, None]:
        return None
    return TokenPrices(*(float(price or 0.0) / 1e6 for price in told))


def usd_of_tokens(run: Run, shards: Iterable[ShardFacts]) -> float | None:
    """What the tokens of a run have cost, at the prices of its newest launch. None without prices.

    The prompts' tokens count as the server has counted them; of one that tells none, as 0.
    """
    prices = token_prices(run)
    if prices is None:
        return None
    return prices.of(spent_of(shards))


def read_spent(run: Run) -> Spent:
    """What a run has cost, from all that it has drawn."""
    return spent_of(facts_of_work(run))


def cost_of(
    shards: Iterable[ShardFacts],
    allocations: Sequence[Allocation] = (),
    jobs: Collection[str] = (),
) -> Cost:
    """What a run is paid for, by Slurm's accounting as far as that goes.

    allocations: those that accounting knows. jobs: the ids of all jobs that were to sample.

    The shards speak for what accounting does not know: work outside Slurm, and jobs that it has
    forgotten. They also do where it says nothing of the GPUs that were used.
    """
    facts = [attempt for s in shards for attempt in s.attempts()]
    spent = spent_of(facts)
    if spent.on_gpus and not any(a.gpus for a in allocations):
        allocations = ()
    on_gpus = spent.on_gpus or any(a.gpus for a in allocations)
    counted = [a for a in allocations if on_gpus or a.sampling]
    known = {a.job for a in counted}
    rest = spent_of(s for s in facts if s.origin.slurm_job not in known)
    untold = rest.sampling_seconds + rest.startup_seconds if rest.on_gpus == on_gpus else 0.0
    return Cost(
        on_gpus=on_gpus,
        seconds=sum(a.seconds * (a.gpus if on_gpus else 1) for a in counted) + untold,
        sampling_seconds=spent.sampling_seconds if spent.on_gpus == on_gpus else 0.0,
        source=_source(len(known.intersection(jobs)), len(jobs), untold > 0),
    )


def _source(known: int, jobs: int, rest: bool) -> str:
    """Who says what a run is paid for."""
    if not known:
        return "the shards"
    if known < jobs:
        return f"sacct for {known} of {jobs} sampling jobs, the shards for the rest"
    return "sacct and the shards" if rest else "sacct"


def spent_of(shards: Iterable[ShardFacts]) -> Spent:
    """What these shards have cost, with the interrupted attempts at them.

    Shards without times (ingested ones) cost nothing.
    """
    timed = _timed(shards, _engine)
    engines = [list(group) for _, group in groupby(timed, _engine)]
    on_gpus = any(_on_gpu(shards) for shards in engines)
    # A trial on a CPU is no GPU time, though it may be a part of the same run.
    seconds = [_gpu_seconds(shards) for shards in engines if _on_gpu(shards) or not on_gpus]
    peaks = [s.feed.kv_cache_peak for _, s in timed if s.feed.kv_cache_peak is not None]
    return Spent(
        tasks=len({shards[0][1].origin.task for shards in engines}),
        tokens=_total([s.tokens.output for _, s in timed]),
        prompt_tokens=_total([s.tokens.prompt for _, s in timed]),
        cached_tokens=_total([s.tokens.cached for _, s in timed]),
        shared_tokens=sum_of_known(s.tokens.shared for _, s in timed),
        sampling_seconds=sum(each.sampling for each in seconds),
        startup_seconds=sum(each.startup for each in seconds),
        staging_seconds=sum(each.staging for each in seconds),
        kv_cache_peak=max(peaks, default=None),
        preemptions=_total([s.feed.preemptions for _, s in timed]),
        devices=dict(Counter(_device(shards[0][1]) for shards in engines)),
        on_gpus=on_gpus,
        engines=len(engines),
    )


def condensed(shards: Iterable[ShardFacts]) -> list[ShardFacts]:
    """One row for each start of an engine, as if all that it drew were one attempt at one slice.

    `spent_of` says the same of the rows as of the shards, also where other shards come beside. So
    who asks it again and again need not keep each shard.
    """
    return [_joined(list(starts)) for _, starts in groupby(_timed(shards, _start), _start)]


def _joined(shards: Sequence[TimedShard]) -> ShardFacts:
    """The attempts of one start of an engine, in the order of their start, as one."""
    first = shards[0][1]
    tokens, preemptions = first.tokens, _total([s.feed.preemptions for _, s in shards])
    for _, later in shards[1:]:
        tokens = tokens.plus(later.tokens)
    peaks = [s.feed.kv_cache_peak for _, s in shards if s.feed.kv_cache_peak is not None]
    return ShardFacts(
        origin=first.origin,
        engine=first.engine,
        start=first.start,
        times=Times(shards[0][0].started, max(times.ended for times, _ in shards)),
        tokens=tokens,
        feed=FeedFacts(kv_cache_peak=max(peaks, default=None), preemptions=preemptions),
    )


def _timed(
    shards: Iterable[ShardFacts], key: Callable[[TimedShard], tuple[str, ...]]
) -> list[TimedShard]:
    """The attempts at these shards that tell their times, by this key and by their start."""
    timed = [(each.times, each) for s in shards for each in s.attempts() if each.times]
    return sorted(timed, key=lambda each: (key(each), each[0].started))


def _on_gpu(shards: Sequence[TimedShard]) -> bool:
    """Whether an engine had a GPU. Shards of the first versions do not say: it had."""
    device = shards[0][1].engine.device
    return device is None or not (device.lower() in NO_GPU or "://" in device)


def _engine(shard: TimedShard) -> tuple[str, ...]:
    return shard[1].origin.key


def _start(shard: TimedShard) -> tuple[str, ...]:
    """Identifies an engine and which of its starts."""
    return (str(shard[1].start.restarts or 0), *_engine(shard))


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


def sum_of_known(amounts: Iterable[Amount | None]) -> Amount | None:
    """The sum of the amounts that are known. None if none is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _gpu_seconds(shards: Sequence[TimedShard]) -> GpuSeconds:
    """The GPU seconds of one engine, from its shards in the order of their start.

    One that died is started again in the same process, between two slices. So the time from the
    first slice to the last one includes every start except the first.
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
