"""The engines of an array task: started, fed from one pool of slices, replaced when they die.

Each engine is a process of its own, on its own devices. Here it has a thread, which feeds it. One
engine alone is fed by the caller's thread.

Until an engine is up, only one at a time starts. It reads the model and compiles; the others then
find the model in the node's memory, and the compiled code on its disk.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from toolkit.backends import Backend
from toolkit.errors import EngineFailure, EngineRefused, StartInterrupted
from toolkit.records import Prompt
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.stages.progress import SamplingProgress
from toolkit.stages.sampler import Sampler
from toolkit.stages.slice_pool import SlicePool

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""How soon a thread that waits notices a stop. Signals reach the waiting main thread at once."""
MOST_FRUITLESS = 2
"""An engine that has died so often in a row without a new sample on disk is given up."""

Opener = Callable[[int, Callable[[], bool]], AbstractContextManager[tuple[Backend, ShardFacts]]]
"""Starts an engine: takes its number of restarts, and a function that tells it to stop starting.

Gives the engine, and what its shards record. It is closed at the end of the context.
"""


@dataclass(slots=True)
class Seat:
    """The place of one engine in a task: `name` for people, how to start it, and how it fared."""

    name: str
    open: Opener
    restarts: int = 0
    fruitless: int = 0


class Crew:
    """The engines that sample the slices of a pool."""

    def __init__(
        self,
        run: Run,
        pool: SlicePool,
        prompts: Mapping[str, Prompt],
        seats: Sequence[Seat],
        progress: SamplingProgress,
        stop_requested: Callable[[], bool],
    ) -> None:
        """prompts: task_id -> prompt. progress: of the whole task."""
        self._run, self._pool, self._prompts = run, pool, prompts
        self._seats, self._progress = seats, progress
        self._stop_requested = stop_requested
        self._changed = threading.Condition()
        self._up = self._first_starts = False
        self._fruitless = self._given_up = 0
        self._error: BaseException | None = None
        pool.set_engines(len(seats))

    def work(self) -> bool:
        """Sample to the end, or until a stop is requested. True if every shard is written.

        An engine that dies is started again, and meanwhile the others go on with its slices. It is
        given up once it dies a second time in a row without a new sample on disk, or says why it
        cannot start. Raises the `EngineFailure` of the last engine that is given up; of the second
        one that dies at its start, as long as none was up: the others would fare likewise. Any
        other error ends all engines, and is raised.
        """
        if len(self._seats) == 1:
            self._serve(self._seats[0])
            return self._pool.empty
        threads = [
            threading.Thread(
                target=self._serve_in_thread, args=(seat,), daemon=True, name=seat.name
            )
            for seat in self._seats
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(POLL_SECONDS)
        except BaseException as error:  # a second Ctrl-C
            self._error = error
            raise
        if self._error is not None:
            raise self._error
        return self._pool.empty

    def _stopping(self) -> bool:
        return self._stop_requested() or self._error is not None

    def _serve_in_thread(self, seat: Seat) -> None:
        try:
            self._serve(seat)
        except EngineFailure as failure:
            self._give_up(seat, failure)
        except BaseException as error:
            self._error = self._error or error

    def _give_up(self, seat: Seat, failure: EngineFailure) -> None:
        with self._changed:
            self._given_up += 1
            self._pool.set_engines(len(self._seats) - self._given_up)
            hopeless = not self._up and self._fruitless >= MOST_FRUITLESS
            if hopeless or self._given_up == len(self._seats):
                self._error = self._error or failure
                return
        log.error("%s is given up: %s; the other engines do its work", seat.name, failure)

    def _serve(self, seat: Seat) -> None:
        """Keep an engine in this seat, as long as there may be work for it."""
        while self._pool.wait(self._stopping):
            sampler = None
            try:
                with self._started(seat) as (backend, facts):
                    sampler = Sampler(
                        self._run, self._pool, self._prompts, backend, facts, task=self._progress
                    )
                    if not sampler.sample(self._stopping):
                        return
            except StartInterrupted:
                return
            except EngineFailure as failure:
                if self._stopping():  # Slurm may have ended the engine's processes as well
                    return
                self._note_failure(seat, sampler, failure)
                who = f"{seat.name}: " if seat.name else ""
                log.warning("%s%s: starting it again to sample what is missing", who, failure)

    def _note_failure(self, seat: Seat, sampler: Sampler | None, failure: EngineFailure) -> None:
        """Raise the failure if this engine is to be given up."""
        kept = sampler.progress.kept if sampler else 0
        if sampler:
            sampler.progress.samples = kept  # the others were lost with it
        seat.fruitless = 0 if kept else seat.fruitless + 1
        with self._changed:
            self._fruitless += not self._up
            hopeless = not self._up and self._fruitless >= MOST_FRUITLESS
        if hopeless or seat.fruitless >= MOST_FRUITLESS or isinstance(failure, EngineRefused):
            raise failure
        seat.restarts += 1

    @contextlib.contextmanager
    def _started(self, seat: Seat) -> Iterator[tuple[Backend, ShardFacts]]:
        with contextlib.ExitStack() as stack:
            with self._turn():
                opened = stack.enter_context(seat.open(seat.restarts, self._unwanted))
            yield opened

    def _unwanted(self) -> bool:
        """An engine need not start any more."""
        return self._stopping() or self._pool.empty

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """A time in which an engine may start: alone if none has been up yet."""
        with self._changed:
            while self._first_starts and not self._up and not self._unwanted():
                self._changed.wait(POLL_SECONDS)
            if self._unwanted():
                raise StartInterrupted("no engine is needed any more")
            first = self._first_starts = not self._up
        try:
            yield
            self._up = True
        finally:
            with self._changed:
                self._first_starts = self._first_starts and not first
                self._changed.notify_all()
