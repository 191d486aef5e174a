"""Feeds one engine with the samples of many slices, and writes each finished slice as a shard.

The loop submits single samples, slice after slice. So samples of the next slice enter the batch
while the last ones of the current slice still run. When the last sample of a slice is there, the
slice becomes a shard. A thread of its own writes shards, so that the engine does not wait.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from toolkit.backends import Backend
from toolkit.errors import ToolkitError
from toolkit.records import Prompt, Request, Sample, Slice
from toolkit.runs.feed import Feed
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts, Times, TokenCounts
from toolkit.runs.shards import write_shard

log = logging.getLogger(__name__)

REPORT_SECONDS = 15.0
"""Time between two progress lines in the log."""
MAX_UNWRITTEN = 4
"""How many finished shards may wait for a slow disk. With more, the engine waits too."""


@dataclass(slots=True)
class SamplingProgress:
    """What one sampling process has done so far. tokens: output tokens."""

    started: float = field(default_factory=time.monotonic)
    planned_samples: int = 0
    samples: int = 0
    tokens: int = 0
    shards: int = 0

    def line(self, in_flight: int) -> str:
        """One log line."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.samples / seconds
        left = (self.planned_samples - self.samples) / rate if rate else float("inf")
        return (
            f"{self.samples}/{self.planned_samples} samples, {self.shards} shards, "
            f"{in_flight} in flight, {self.tokens / seconds:.0f} tokens/s, "
            f"{left / 60:.1f} min left"
        )


class Sampler:
    """Feeds one engine with the samples of a list of slices.

    Memory depends on the unfinished samples and the slices they belong to. It does not depend on
    the number of planned samples.
    """

    def __init__(
        self,
        run: Run,
        slices: Sequence[Slice],
        prompts: Mapping[str, Prompt],
        backend: Backend,
        facts: ShardFacts | None = None,
    ) -> None:
        """prompts: task_id -> prompt. facts: what all shards of this engine record."""
        self.progress = SamplingProgress(planned_samples=sum(map(len, slices)))
        self._run = run
        self._backend = backend
        self._facts = facts or ShardFacts()
        self._requests = _requests(slices, prompts)
        self._owner: dict[tuple[str, int], Slice] = {}
        self._finished: dict[str, list[Sample]] = {}
        self._opened: dict[str, float] = {}
        self._feed = Feed(backend.load)
        self._feeding = True
        self._writes: deque[Future[None]] = deque()

    def sample(self, stop_requested: Callable[[], bool] = lambda: False) -> bool:
        """Run to the end, or until a stop is requested. True if every shard is written.

        Raises `ToolkitError` if a shard cannot be written, for instance to a full disk.
        """
        reported = time.monotonic()
        with ThreadPoolExecutor(1, thread_name_prefix="shards") as writer:
            while not stop_requested():
                self._fill()
                if not self._owner:
                    break
                finished = self._backend.step()
                left = len(self._owner) - len(finished)
                self._feed.note(left, self.progress.tokens, self._feeding)
                for sample in finished:
                    self._take(sample, writer)
                self._settle(MAX_UNWRITTEN)
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    log.info("%s", self.progress.line(in_flight=len(self._owner)))
            self._settle(0)
        log.info("%s", self.progress.line(in_flight=len(self._owner)))
        return self.progress.samples == self.progress.planned_samples

    def _fill(self) -> None:
        while len(self._owner) < self._backend.max_in_flight:
            following = next(self._requests, None)
            if following is None:
                self._feeding = False
                return
            slice_, request = following
            self._backend.submit(request)
            self._owner[request.task_id, request.seed] = slice_
            if slice_.name not in self._finished:
                self._finished[slice_.name] = []
                self._opened[slice_.name] = time.time()

    def _take(self, sample: Sample, writer: ThreadPoolExecutor) -> None:
        slice_ = self._owner.pop((sample.task_id, sample.seed))
        samples = self._finished[slice_.name]
        samples.append(sample)
        self.progress.samples += 1
        self.progress.tokens += sample.n_tokens
        if len(samples) == len(slice_):
            del self._finished[slice_.name]
            facts = replace(
                self._facts,
                times=Times(started=self._opened.pop(slice_.name), ended=time.time()),
                tokens=_tokens(samples),
                feed=self._feed.take(),
            )
            self._writes.append(writer.submit(_write, self._run, slice_, samples, facts))
            self.progress.shards += 1

    def _settle(self, leave: int) -> None:
        """Wait until at most `leave` shards are unwritten. Raises the error of a failed write."""
        while self._writes and (len(self._writes) > leave or self._writes[0].done()):
            self._writes.popleft().result()


def _requests(
    slices: Sequence[Slice], prompts: Mapping[str, Prompt]
) -> Iterator[tuple[Slice, Request]]:
    for slice_ in slices:
        for task_id, seed in slice_.sample_keys():
            yield slice_, Request(task_id, seed, prompts[task_id])


def _tokens(samples: Sequence[Sample]) -> TokenCounts:
    """Sums over a shard. Those of the prompts only if the backend knows them for every sample."""
    asked = [s.prompt_tokens for s in samples if s.prompt_tokens is not None]
    cached = [s.cached_tokens for s in samples if s.cached_tokens is not None]
    return TokenCounts(
        output=sum(s.n_tokens for s in samples),
        prompt=sum(asked) if len(asked) == len(samples) else None,
        cached=sum(cached) if len(cached) == len(samples) else None,
    )


def _write(run: Run, slice_: Slice, samples: list[Sample], facts: ShardFacts) -> None:
    try:
        write_shard(run, slice_, samples, facts)
    except OSError as error:
        raise ToolkitError(
            f"{run.shard_path(slice_.name)}: cannot be written: {error.strerror}; make room or "
            "mend the permissions, then launch again to sample what is missing"
        ) from None
    log.info("shard %s: %d samples", slice_.name, len(slice_))
