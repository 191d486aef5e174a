"""What a shard records about itself, in the key-value metadata of its parquet file.

The keys and their texts are part of a run's format. Only `facts_to_metadata` writes them, and only
`facts_of_metadata` reads them. None means that the shard does not say: no engine made an ingested
shard, and older versions of the toolkit recorded less.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import CorruptShard
from toolkit.records import EngineFacts
from toolkit.runs.tables import metadata, remedy


@dataclass(frozen=True, slots=True)
class Origin:
    """Which process made a shard, with which version of the toolkit.

    process: its id on the host. slurm_job, slurm_task: ids of the job and of the array task, ""
    outside Slurm. slurm_restarts: how often Slurm had put the job back in the queue.

    Of an array task with several engines also slot: which of them, from 0; and gpus: the devices
    that it was given, as CUDA_VISIBLE_DEVICES names them.
    """

    toolkit: str | None = None
    host: str | None = None
    process: int | None = None
    slurm_job: str | None = None
    slurm_task: str | None = None
    slurm_restarts: int | None = None
    slot: int | None = None
    gpus: str | None = None

    @property
    def task(self) -> tuple[str, ...]:
        """Identifies the process. A restarted job gets another one."""
        parts = (self.host, self.slurm_job, self.slurm_task, self.slurm_restarts, self.process)
        return tuple("" if part is None else str(part) for part in parts)

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the place of an engine: the process, and which of its engines."""
        return self.task if self.slot is None else (*self.task, str(self.slot))


@dataclass(frozen=True, slots=True)
class EngineStart:
    """How the engine that made a shard was started.

    restarts: how many engines of the same process died before it. staging_seconds: time to copy the
    model to the node. startup_seconds: time until the engine was up, without staging. Both are wall
    clock, not multiplied by GPUs. max_num_seqs: maximum number of sequences in its batch.
    """

    restarts: int | None = None
    staging_seconds: float | None = None
    startup_seconds: float | None = None
    max_num_seqs: int | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """When a slice's first sample was submitted and its last one finished.

    Both are in seconds since the epoch.
    """

    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Sums over a shard's samples.

    output: tokens of the completions. prompt: tokens of the prompts. cached: those prompt tokens
    that the engine's prefix cache held already. prompt and cached are None unless they are known
    for every sample. shared: those output tokens that were not computed, because another sample has
    them too (`--share-prefixes`). None where nothing is shared.
    """

    output: int | None = None
    prompt: int | None = None
    cached: int | None = None
    shared: int | None = None

    def plus(self, other: "TokenCounts", sign: int = 1) -> "TokenCounts":
        """The sums over both; with sign -1 what is left without the other."""
        return TokenCounts(
            _sum(self.output, other.output, sign),
            _sum(self.prompt, other.prompt, sign),
            _sum(self.cached, other.cached, sign),
            None
            if self.shared is None and other.shared is None
            else (self.shared or 0) + sign * (other.shared or 0),
        )


class Reading(NamedTuple):
    """How busy an engine was at one moment.

    time: seconds since the epoch. in_flight: the fewest unfinished samples since the reading
    before. tokens: output tokens since the engine's start. feeding: whether samples were left to
    submit. kv_cache: the largest share of the KV cache in use since the reading before, 0 to 1.
    preemptions: sequences begun again since the engine's start. The last two are None if the engine
    does not say.
    """

    time: float
    in_flight: int
    tokens: int
    feeding: bool
    kv_cache: float | None = None
    preemptions: int | None = None


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """How busy the engine was since the shard before.

    readings_json: a JSON array of readings. It stays text, because a long run has millions of
    readings and only `readings` needs to parse them. kv_cache_peak: the largest share of the KV
    cache in use, 0 to 1. preemptions: sequences begun again.
    """

    readings_json: str | None = None
    kv_cache_peak: float | None = None
    preemptions: int | None = None

    @classmethod
    def of(
        cls,
        readings: Iterable[Reading],
        kv_cache_peak: float | None = None,
        preemptions: int | None = None,
    ) -> "FeedFacts":
        """The facts with these readings as JSON."""
        return cls(json.dumps(list(readings)), kv_cache_peak, preemptions)

    def readings(self) -> list[Reading]:
        """The readings in their order. Those of the first versions end with `feeding`."""
        return [Reading(*values) for values in json.loads(self.readings_json or "[]")]

    def plus(self, later: "FeedFacts") -> "FeedFacts":
        """The facts of this time and of a later one together."""
        if self.readings_json is None:
            return later
        peaks = [p for p in (self.kv_cache_peak, later.kv_cache_peak) if p is not None]
        preemptions = _sum(self.preemptions, later.preemptions)
        readings = [*self.readings(), *later.readings()]
        return FeedFacts.of(readings, max(peaks, default=None), preemptions)


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """All that a shard records about itself beside its samples.

    The first four fields are set when the shard is written. run: the digest of its run. slice: the
    name of its slice. content: the digest of its rows. shard: a random id, which tells a shard from
    one that it replaced. times: None if no engine made the samples.

    earlier: the attempts at the slice that were interrupted, oldest first, if their samples are in
    the shard. `tokens` are sums over all samples. All other fields tell of the last attempt.
    """

    run: str | None = None
    slice: str | None = None
    content: str | None = None
    shard: str | None = None
    origin: Origin = field(default_factory=Origin)
    engine: EngineFacts = field(default_factory=EngineFacts)
    start: EngineStart = field(default_factory=EngineStart)
    times: Times | None = None
    tokens: TokenCounts = field(default_factory=TokenCounts)
    feed: FeedFacts = field(default_factory=FeedFacts)
    earlier: tuple["ShardFacts", ...] = ()

    def attempts(self) -> tuple["ShardFacts", ...]:
        """All attempts at the slice, oldest first, each with the tokens of its own samples."""
        tokens = self.tokens
        for attempt in self.earlier:
            tokens = tokens.plus(attempt.tokens, -1)
        last = replace(
            self, run=None, slice=None, content=None, shard=None, tokens=tokens, earlier=()
        )
        return (*self.earlier, last)

    def after(self, attempts: tuple["ShardFacts", ...]) -> "ShardFacts":
        """The facts of a file that also has the samples of these attempts, oldest first."""
        tokens = self.tokens
        for attempt in attempts:
            tokens = tokens.plus(attempt.tokens)
        return replace(self, tokens=tokens, earlier=attempts)


def read_facts(path: Path) -> ShardFacts:
    """The facts in a shard's footer. `CorruptShard` names the file if it cannot be read."""
    found = metadata(path)
    try:
        return facts_of_metadata(found)
    except ValueError as error:
        raise CorruptShard(
            f"{path}: its metadata cannot be read ({error}); {remedy(path)}"
        ) from None


def facts_to_metadata(facts: ShardFacts) -> dict[str, str]:
    """The facts as parquet's keys and texts. A fact that is None gets no key."""
    origin, engine, start, times = facts.origin, facts.engine, facts.start, facts.times
    values = {
        "run": facts.run,
        "slice": facts.slice,
        "content": facts.content,
        "shard": facts.shard,
        "toolkit": origin.toolkit,
        "host": origin.host,
        "process": origin.process,
        "slurm_job": origin.slurm_job,
        "slurm_task": origin.slurm_task,
        "slurm_restarts": origin.slurm_restarts,
        "slot": origin.slot,
        "gpus": origin.gpus,
        "engine": engine.engine,
        "device": engine.device,
        "dtype": engine.dtype,
        "max_model_len": engine.max_model_len,
        "tensor_parallel_size": engine.tensor_parallel_size,
        "served_model": engine.served_model,
        "replay_file": engine.replay_file,
        "model_commit": engine.model_commit,
        "opens_thought": engine.opens_thought or None,
        "engine_seed": engine.engine_seed,
        "shape": engine.shape,
        "engine_restarts": start.restarts,
        "staging_seconds": _rounded(start.staging_seconds, 1),
        "startup_seconds": _rounded(start.startup_seconds, 1),
        "max_num_seqs": start.max_num_seqs,
        "started": None if times is None else f"{times.started:.3f}",
        "ended": None if times is None else f"{times.ended:.3f}",
        "tokens": facts.tokens.output,
        "prompt_tokens": facts.tokens.prompt,
        "cached_tokens": facts.tokens.cached,
        "shared_tokens": facts.tokens.shared,
        "feed": facts.feed.readings_json,
        "kv_cache_peak": _rounded(facts.feed.kv_cache_peak, 4),
        "preemptions": facts.feed.preemptions,
        "earlier": _earlier_json(facts.earlier),
    }
    return {key: str(value) for key, value in values.items() if value is not None}


def _rounded(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def facts_of_metadata(found: Mapping[str, str]) -> ShardFacts:
    """The facts from parquet's keys and texts. Other keys are ignored.

    Raises `ValueError` if a text is not a number where one is expected.
    """
    started, ended = _real(found, "started"), _real(found, "ended")
    return ShardFacts(
        run=found.get("run"),
        slice=found.get("slice"),
        content=found.get("content"),
        shard=found.get("shard"),
        origin=Origin(
            toolkit=found.get("toolkit"),
            host=found.get("host"),
            process=_whole(found, "process"),
            slurm_job=found.get("slurm_job"),
            slurm_task=found.get("slurm_task"),
            slurm_restarts=_whole(found, "slurm_restarts"),
            slot=_whole(found, "slot"),
            gpus=found.get("gpus"),
        ),
        engine=EngineFacts(
            engine=found.get("engine"),
            device=found.get("device"),
            dtype=found.get("dtype"),
            max_model_len=_whole(found, "max_model_len"),
            tensor_parallel_size=_whole(found, "tensor_parallel_size"),
            served_model=found.get("served_model"),
            replay_file=found.get("replay_file"),
            model_commit=found.get("model_commit"),
            opens_thought=True if found.get("opens_thought") == "True" else None,
            engine_seed=_whole(found, "engine_seed"),
            shape=found.get("shape"),
        ),
        start=EngineStart(
            restarts=_whole(found, "engine_restarts"),
            staging_seconds=_real(found, "staging_seconds"),
            startup_seconds=_real(found, "startup_seconds"),
            max_num_seqs=_whole(found, "max_num_seqs"),
        ),
        times=None if started is None or ended is None else Times(started, ended),
        tokens=TokenCounts(
            output=_whole(found, "tokens"),
            prompt=_whole(found, "prompt_tokens"),
            cached=_whole(found, "cached_tokens"),
            shared=_whole(found, "shared_tokens"),
        ),
        feed=FeedFacts(
            readings_json=found.get("feed"),
            kv_cache_peak=_real(found, "kv_cache_peak"),
            preemptions=_whole(found, "preemptions"),
        ),
        earlier=_earlier_of(found.get("earlier")),
    )


def _earlier_json(attempts: Iterable[ShardFacts]) -> str | None:
    """Each attempt as it would be the metadata of a shard."""
    return json.dumps([facts_to_metadata(each) for each in attempts]) if attempts else None


def _earlier_of(text: str | None) -> tuple[ShardFacts, ...]:
    attempts = json.loads(text) if text else []
    if not isinstance(attempts, list) or not all(isinstance(each, dict) for each in attempts):
        raise ValueError("the earlier attempts are no list of objects")
    return tuple(facts_of_metadata(each) for each in attempts)


def _whole(found: Mapping[str, str], key: str) -> int | None:
    text = found.get(key)
    return int(text) if text else None


def _real(found: Mapping[str, str], key: str) -> float | None:
    text = found.get(key)
    return float(text) if text else None


def _sum(one: int | None, other: int | None, sign: int = 1) -> int | None:
    return None if one is None or other is None else one + sign * other
