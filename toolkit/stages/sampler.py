"""Feeds one engine with the samples of many slices, and writes each finished slice as a shard.

The loop submits single samples, slice after slice. So samples of the next slice enter the batch
while the last ones of the current slice still run. When the last sample of a slice is there, the
slice becomes a shard. A thread of its own writes files, so that the engine does not wait.

The slices come from a list, or from a pool that the engines of an array task share. An engine that
runs dry then waits: another one may die, and its slices are to be sampled too.

What is finished of the other slices becomes partial files, when sampling is interrupted and now
and then before (`toolkit.runs.partials`).
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from toolkit.backends import Backend
from toolkit.cli import how_many
from toolkit.errors import EngineFailure, ToolkitError
from toolkit.records import Prompt, Request, Sample, Slice
from toolkit.runs.feed import Feed
from toolkit.runs.partials import Partial, discard_partial, write_partial
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import FeedFacts, ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.stages.open_slice import OpenSlice
from toolkit.stages.progress import REPORT_SECONDS, SamplingProgress
from toolkit.stages.slice_pool import SlicePool
from toolkit.stages.writer import Writer

log = logging.getLogger(__name__)

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


class Sampler:
    """Feeds one engine with the samples of a list of slices, or of a pool that it shares.

    Memory depends on the unfinished samples and the slices they belong to. It does not depend on
    the number of planned samples.
    """

    def __init__(
        self,
        run: Run,
        slices: Sequence[Slice] | SlicePool,
        prompts: Mapping[str, Prompt],
        backend: Backend,
        facts: ShardFacts | None = None,
        partials: Mapping[str, Partial] | None = None,
        task: SamplingProgress | None = None,
    ) -> None:
        """prompts: task_id -> prompt. facts: what all shards of this engine record.

        partials: slice -> what is finished of it already, for a list of slices. task: how far the
        whole array task is; not given, this engine is all of it.
        """
        self._run = run
        self._prompts = prompts
        self._backend = backend
        self._facts = facts or ShardFacts()
        self._pool = slices if isinstance(slices, SlicePool) else SlicePool(run, slices, partials)
        self._task = task or SamplingProgress(self._pool.planned_samples)
        self.progress = self._task.engine()
        self._requests: Iterator[tuple[OpenSlice, Request]] = iter(())
        self._owner: dict[tuple[str, int], OpenSlice] = {}
        self._open: dict[str, OpenSlice] = {}
        self._in_hand: dict[str, Slice] = {}
        self._finished: dict[str, ShardFacts] = {}
        self._feed = Feed(backend.load)
        self._feeding = True
        self._writer = Writer()
        self._refused = False

    def sample(self, stop_requested: Callable[[], bool] = lambda: False) -> bool:
        """Run until no slice is left, or a stop is requested. True if every shard is written.

        If the budget is spent first, that holds of the slices that were begun.

        However it ends, what is finished is on disk afterwards. After a stop or an error this takes
        at most `STOP_SECONDS`. Raises `ToolkitError` if a shard cannot be written, for instance to
        a full disk. If a partial file cannot, the log says so.
        """
        try:
            self._feed_engine(stop_requested)
            return self._pool.empty
        finally:
            try:
                self._leave()
            finally:
                self._pool.give_back(list(self._in_hand.values()))
                self.progress.in_flight = 0
            self._task.tell()

    def _feed_engine(self, stop_requested: Callable[[], bool]) -> None:
        looked = time.monotonic()
        while not stop_requested():
            self._fill()
            if not self._owner:
                if self._settle(0, stop_requested) and self._pool.wait(stop_requested):
                    continue
                break
            finished = self._backend.step()
            self.progress.in_flight = len(self._owner) - len(finished)
            self._feed.note(self.progress.in_flight, self.progress.tokens, self._feeding)
            for sample in finished:
                self._take(sample)
            self._settle(MAX_UNWRITTEN, stop_requested)
            self._task.show(finished=bool(finished))
            if time.monotonic() - looked > REPORT_SECONDS:
                looked = time.monotonic()
                self._keep(looked - KEEP_SECONDS)

    def _fill(self) -> None:
        while len(self._owner) < self._backend.max_in_flight:
            following = next(self._requests, None)
            while following is None:
                taken = self._pool.take(self, self._drawn)
                self._feeding = taken is not None
                if taken is None:
                    return
                self._task.planned_samples = self._pool.planned_samples
                self._requests = self._open_slice(*taken)
                following = next(self._requests, None)
            work, request = following
            self._backend.submit(request)
            self._owner[request.task_id, request.seed] = work

    def _drawn(self) -> Mapping[str, ShardFacts]:
        """What is drawn of the slices in hand, for the budget: also of those to be written."""
        return dict(self._finished) | {
            name: work.facts(self._facts) for name, work in self._open.items()
        }

    def _open_slice(
        self, slice_: Slice, partial: Partial | None
    ) -> Iterator[tuple[OpenSlice, Request]]:
        """The samples to draw of a slice, which is open from now on."""
        work = OpenSlice(slice_, partial)
        self._open[slice_.name] = work
        self._in_hand[slice_.name] = slice_
        if work.complete:  # an earlier process could not write its shard
            self._finish(work)
        drawn = {(s.task_id, s.seed) for s in work.earlier}
        for task_id, seed in slice_.sample_keys():
            if (task_id, seed) not in drawn:
                yield work, Request(task_id, seed, self._prompts[task_id])

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
        self._finished[work.slice_.name] = facts = work.facts(self._facts)
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
                    "%s: the file system is slow; %s not written after %.0f s: their samples are "
                    "drawn again",
                    self._run.path,
                    how_many(self._writer.unwritten, "file is", "files are"),
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
        log.info("shard %s: %s", slice_.name, how_many(len(slice_), "sample"))
        if work.partial or work.kept:
            discard_partial(run, slice_.name)
        self._in_hand.pop(slice_.name)
        self._finished.pop(slice_.name, None)
        self._pool.written(slice_)

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
            "slice %s: %d of %s kept",
            work.slice_.name,
            len(samples),
            how_many(len(work.slice_), "sample"),
        )
