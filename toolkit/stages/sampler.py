"""Feeds one engine with the samples of many slices, and writes each finished slice as a shard.

The loop submits single samples, slice after slice. So samples of the next slice enter the batch
while the last ones of the current slice still run. When the last sample of a slice is there, the
slice becomes a shard. A thread of its own writes files, so that the engine does not wait.

What is finished of the other slices becomes partial files, when sampling is interrupted and now
and then before (`toolkit.runs.partials`).
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.backends import Backend
from toolkit.errors import EngineFailure, ToolkitError
from toolkit.progress_bar import ProgressBar, progress_bar, time_left
from toolkit.records import Prompt, Request, Sample, Slice
from toolkit.runs.feed import Feed
from toolkit.runs.partials import Partial, discard_partial, write_partial
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import FeedFacts, ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.stages.open_slice import OpenSlice
from toolkit.stages.pace import Pace
from toolkit.stages.writer import Writer

log = logging.getLogger(__name__)

RATE_SECONDS = 60.0
"""Speed is over this time."""
REPORT_SECONDS = 15.0
"""Time between two progress lines in the log."""
MAX_UNWRITTEN = 4
"""How many finished shards may wait for a slow disk. With more, the engine waits too."""
KEEP_SECONDS = 300.0
"""A slice that takes longer gets a partial file so often. So a kill -9 costs at most this time.

A partial file takes the writer some 20 ms, the engine none.
"""
STOP_SECONDS = 8.0
"""So long a stopped process waits for its files to be written. Slurm allows it little more."""
POLL_SECONDS = 0.2
"""How soon a stop is noticed while the engine waits for a slow disk."""


@dataclass(slots=True)
class SamplingProgress:
    """What one sampling process has done so far.

    tokens: output tokens. kept: how many of `samples` are on disk, in shards and partial files.
    """

    started: float = field(default_factory=time.monotonic)
    planned_samples: int = 0
    samples: int = 0
    kept: int = 0
    tokens: int = 0
    shards: int = 0
    _pace: Pace | None = None

    def note(self, in_flight: int) -> str:
        """What goes on: samples in the engine, speed of the last minute, and time left.

        The time left is that of the tokens to come: the missing samples are taken to be as long as
        those that are finished.
        """
        now = time.monotonic()
        self._pace = self._pace or Pace(self.started, (RATE_SECONDS,))
        self._pace.note(now, self.tokens)
        rate = self._pace.rate(now, self.tokens)
        missing = self.planned_samples - self.samples
        left = missing * self.tokens / max(1, self.samples) / rate if rate else None
        parts = [f"{in_flight} in flight", f"{rate:.0f} tokens/s", time_left(left)]
        return ", ".join(filter(None, parts))

    def line(self, in_flight: int) -> str:
        """One log line."""
        return (
            f"{self.samples}/{self.planned_samples} samples, {self.tokens} tokens, "
            f"{self.shards} shards, {self.note(in_flight)}"
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
        partials: Mapping[str, Partial] | None = None,
    ) -> None:
        """prompts: task_id -> prompt. facts: what all shards of this engine record.

        partials: slice -> what is finished of it already.
        """
        self._run = run
        self._backend = backend
        self._facts = facts or ShardFacts()
        self._partials = dict(partials or {})
        finished = sum(len(p.samples) for p in self._partials.values())
        self.progress = SamplingProgress(planned_samples=sum(map(len, slices)) - finished)
        self._requests = self._open_slices(slices, prompts)
        self._owner: dict[tuple[str, int], OpenSlice] = {}
        self._open: dict[str, OpenSlice] = {}
        self._feed = Feed(backend.load)
        self._feeding = True
        self._writer = Writer()
        self._refused = False

    def sample(self, stop_requested: Callable[[], bool] = lambda: False) -> bool:
        """Run to the end, or until a stop is requested. True if every shard is written.

        However it ends, what is finished is on disk afterwards. After a stop or an error this takes
        at most `STOP_SECONDS`. Raises `ToolkitError` if a shard cannot be written, for instance to
        a full disk. If a partial file cannot, the log says so.
        """
        try:
            with progress_bar("sampled", self.progress.planned_samples, "samples") as bar:
                self._feed_engine(stop_requested, bar)
            drawn = self.progress.samples == self.progress.planned_samples
            return drawn and self._settle(0, stop_requested)
        finally:
            self._leave()
            log.info("%s", self.progress.line(in_flight=len(self._owner)))

    def _feed_engine(self, stop_requested: Callable[[], bool], bar: ProgressBar) -> None:
        reported = time.monotonic()
        while not stop_requested():
            self._fill()
            if not self._owner:
                break
            finished = self._backend.step()
            left = len(self._owner) - len(finished)
            self._feed.note(left, self.progress.tokens, self._feeding)
            for sample in finished:
                self._take(sample)
            self._settle(MAX_UNWRITTEN, stop_requested)
            if bar.shown and finished:
                bar.show(self.progress.samples, self.progress.note(in_flight=len(self._owner)))
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                if not bar.shown:
                    log.info("%s", self.progress.line(in_flight=len(self._owner)))
                self._keep(reported - KEEP_SECONDS)

    def _open_slices(
        self, slices: Sequence[Slice], prompts: Mapping[str, Prompt]
    ) -> Iterator[tuple[OpenSlice, Request]]:
        """The samples to draw. A slice is open from its first one on."""
        for slice_ in slices:
            work = OpenSlice(slice_, self._partials.pop(slice_.name, None))
            self._open[slice_.name] = work
            if work.complete:  # an earlier process could not write its shard
                self._finish(work)
            drawn = {(s.task_id, s.seed) for s in work.earlier}
            for task_id, seed in slice_.sample_keys():
                if (task_id, seed) not in drawn:
                    yield work, Request(task_id, seed, prompts[task_id])

    def _fill(self) -> None:
        while len(self._owner) < self._backend.max_in_flight:
            following = next(self._requests, None)
            if following is None:
                self._feeding = False
                return
            work, request = following
            self._backend.submit(request)
            self._owner[request.task_id, request.seed] = work

    def _take(self, sample: Sample) -> None:
        work = self._owner.pop((sample.task_id, sample.seed))
        work.samples.append(sample)
        self.progress.samples += 1
        self.progress.tokens += sample.n_tokens or 0
        if work.complete:
            self._finish(work)

    def _finish(self, work: OpenSlice) -> None:
        del self._open[work.slice_.name]
        work.feed = work.feed.plus(self._read_feed())
        facts = work.facts(self._facts)
        self._writer.submit(
            functools.partial(self._write_shard, work, [*work.earlier, *work.samples], facts)
        )
        self.progress.shards += 1

    def _keep(self, before: float) -> None:
        """Write partial files of the slices with new samples that were not kept since `before`.

        before: a time of `time.monotonic`.
        """
        due = [
            work
            for work in self._open.values()
            if work.kept_at <= before and len(work.samples) > work.kept
        ]
        # If time is short, those first that have most to lose.
        for work in sorted(due, key=lambda each: each.kept - len(each.samples)):
            work.feed = work.feed.plus(self._read_feed())
            work.kept_at = time.monotonic()
            write = functools.partial(
                self._write_partial,
                work,
                len(work.samples),
                [*work.earlier, *work.samples],
                work.facts(self._facts),
            )
            self._writer.submit(write)

    def _read_feed(self) -> FeedFacts:
        try:
            return self._feed.take()
        except EngineFailure:  # a dead engine may not say how full it was
            return FeedFacts()

    def _leave(self) -> None:
        """Keep what is finished, in the time that there is."""
        self._keep(time.monotonic())
        try:
            if not self._writer.settle(0, STOP_SECONDS):
                log.warning(
                    "%s: the file system is slow; %d files are not written after %.0f s, and their "
                    "samples are drawn again",
                    self._run.path,
                    self._writer.unwritten,
                    STOP_SECONDS,
                )
        finally:
            self._writer.close()

    def _settle(self, leave: int, stop_requested: Callable[[], bool]) -> bool:
        """Wait until at most `leave` files are unwritten. False if a stop is requested first.

        Raises the error of a failed write.
        """
        while not (few := self._writer.settle(leave, POLL_SECONDS)) and not stop_requested():
            pass
        return few

    def _write_shard(self, work: OpenSlice, samples: list[Sample], facts: ShardFacts) -> None:
        run, slice_ = self._run, work.slice_
        try:
            write_shard(run, slice_, samples, facts)
        except OSError as error:
            raise ToolkitError(
                f"{run.shard_path(slice_.name)}: cannot be written: {error.strerror}; make room or "
                "mend the permissions, then launch again to sample what is missing"
            ) from None
        self.progress.kept += len(work.samples) - work.kept
        log.info("shard %s: %d samples", slice_.name, len(slice_))
        if work.partial or work.kept:
            discard_partial(run, slice_.name)

    def _write_partial(
        self, work: OpenSlice, count: int, samples: list[Sample], facts: ShardFacts
    ) -> None:
        """count: how many of the samples this process has drawn."""
        try:
            write_partial(self._run, work.slice_, samples, facts)
        except ToolkitError as error:
            if not self._refused:
                log.warning("%s; finished samples of unfinished slices are drawn again", error)
            self._refused = True
            return
        self._refused = False
        self.progress.kept += count - work.kept
        work.kept = count
        log.info(
            "slice %s: %d of %d samples kept", work.slice_.name, len(samples), len(work.slice_)
        )
