"""A slice that is being sampled, between its first request and its shard."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from toolkit.records import Sample, Slice
from toolkit.runs.partials import Partial
from toolkit.runs.shard_facts import FeedFacts, ShardFacts, Times, TokenCounts


@dataclass(slots=True)
class OpenSlice:
    """A slice in work: what is finished of it, in this process and before.

    partial: what earlier processes left. samples: those that this process drew. kept: how many of
    these are on disk. kept_at: when they were written, by `time.monotonic`. feed: what was read of
    the engine, as far as this slice's files record it.
    """

    slice_: Slice
    partial: Partial | None
    started: float = field(default_factory=time.time)
    samples: list[Sample] = field(default_factory=list)
    feed: FeedFacts = field(default_factory=FeedFacts)
    kept: int = 0
    kept_at: float = field(default_factory=time.monotonic)

    @property
    def earlier(self) -> Sequence[Sample]:
        """The samples of earlier processes."""
        return self.partial.samples if self.partial else ()

    @property
    def complete(self) -> bool:
        """All samples of the slice are there."""
        return len(self.earlier) + len(self.samples) == len(self.slice_)

    def facts(self, common: ShardFacts) -> ShardFacts:
        """Those of a file that is written now. common: what all files of this engine record."""
        facts = replace(
            common,
            times=Times(started=self.started, ended=time.time()),
            tokens=_tokens(self.samples),
            feed=self.feed,
        )
        return facts.after(self.partial.facts.attempts()) if self.partial else facts


def _tokens(samples: Sequence[Sample]) -> TokenCounts:
    """Sums over a shard. Those of the prompts only if the backend knows them for every sample."""
    asked = [s.prompt_tokens for s in samples if s.prompt_tokens is not None]
    cached = [s.cached_tokens for s in samples if s.cached_tokens is not None]
    return TokenCounts(
        output=sum(s.n_tokens or 0 for s in samples),
        prompt=sum(asked) if len(asked) == len(samples) else None,
        cached=sum(cached) if len(cached) == len(samples) else None,
        shared=_shared(samples),
    )


def _shared(samples: Sequence[Sample]) -> int | None:
    """Output tokens that these samples have from other ones. None: they share nothing."""
    sharing = [s for s in samples if s.computed_tokens is not None]
    if not sharing:
        return None
    return sum((s.n_tokens or 0) - (s.computed_tokens or 0) for s in sharing)
