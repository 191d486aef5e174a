"""The slices of an array task that its engines share: each takes one when it has room."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from toolkit.records import Slice
from toolkit.runs.budget import Account, Amount
from toolkit.runs.partials import Partial, read_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shares import Share

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""How soon a stop is noticed by who waits for a slice."""


class SlicePool:
    """The slices that wait, and those that an engine has in hand. For several threads.

    A slice is in hand from `take` until its shard is written, or its engine gives it back. Then it
    is the next to be taken, with the finished samples of its partial file.

    An engine's queue may have room for many slices. It has at most its share of those that wait or
    are in hand, and leaves the last ones to engines that have none. So all end together.
    """

    def __init__(
        self,
        run: Run,
        slices: Sequence[Slice],
        partials: Mapping[str, Partial] | None = None,
        account: Account | None = None,
        share: Share | None = None,
    ) -> None:
        """partials: slice -> what is finished of it already. account: what the run may spend.

        share: gives further slices, which are planned meanwhile.
        """
        self._run = run
        self._account, self._share = account, share
        self.out_of_budget: Amount | None = None
        self._waiting = deque(slices)
        self._partials = dict(partials or {})
        self._engines = 1
        self._in_hand: dict[str, object] = {}
        self._returned: set[str] = set()
        self._changed = threading.Condition()
        finished = sum(len(p.samples) for p in self._partials.values())
        self.planned_samples = sum(map(len, slices)) - finished

    @property
    def empty(self) -> bool:
        """Nothing waits, is in hand, or may still come: no engine is needed any more."""
        with self._changed:
            if self._waiting or self._in_hand:
                return False
            return self._share is None or bool(self.out_of_budget) or self._share.over(idle=True)

    def set_engines(self, count: int) -> None:
        """So many engines share the slices from now on."""
        with self._changed:
            self._engines = count

    def take(
        self, engine: object, drawn: Callable[[], Mapping[str, ShardFacts]] = dict
    ) -> tuple[Slice, Partial | None] | None:
        """The next slice for this engine, and what is finished of it. None if there is none.

        None also if the budget is spent: then no slice waits any more. drawn: gives what the engine
        has drawn of the slices that it has in hand.
        """
        while True:
            with self._changed:
                self._comes()
                if not self._may_take(engine) or self._spent(drawn):
                    return None
                slice_ = self._waiting.popleft()
                self._in_hand[slice_.name] = engine
                partial = self._partials.pop(slice_.name, None)
                returned = slice_.name in self._returned
                self._returned.discard(slice_.name)
            if not returned:
                return slice_, partial
            # Read only now: who gives back slices has no time for it after a signal.
            if not self._run.shard_path(slice_.name).exists():
                return slice_, read_partials(self._run, [slice_]).get(slice_.name)
            self.written(slice_)

    def _may_take(self, engine: object) -> bool:
        own = sum(holder is engine for holder in self._in_hand.values())
        if not own:
            return bool(self._waiting)
        without = self._engines - len(set(map(id, self._in_hand.values())))
        outstanding = len(self._waiting) + len(self._in_hand)
        return len(self._waiting) > without and own * self._engines < outstanding

    def _comes(self) -> bool:
        """Whether a slice waits, perhaps one that was planned meanwhile."""
        share = None if self._waiting or self.out_of_budget else self._share
        if share and (further := share.take()):
            self._waiting.append(further)
            self.planned_samples += len(further)
        return bool(self._waiting)

    def _spent(self, drawn: Callable[[], Mapping[str, ShardFacts]]) -> bool:
        """Whether the budget is spent. Then the slices that wait are dropped."""
        if self._account is None:
            return False
        self.out_of_budget = self._account.reached(drawn())
        if self.out_of_budget:
            said = self.out_of_budget.line()
            log.info("the budget is spent, no further slice is begun: %s", said)
            dropped = [
                self._partials[s.name].samples for s in self._waiting if s.name in self._partials
            ]
            self.planned_samples -= sum(map(len, self._waiting)) - sum(map(len, dropped))
            self._waiting.clear()
            self._changed.notify_all()
        return self.out_of_budget is not None

    def written(self, slice_: Slice) -> None:
        """The shard of a slice is on disk."""
        with self._changed:
            self._in_hand.pop(slice_.name, None)
            self._changed.notify_all()

    def give_back(self, slices: Sequence[Slice]) -> None:
        """An engine lets go of these slices, which have no shard yet."""
        with self._changed:
            for slice_ in slices:
                self._in_hand.pop(slice_.name, None)
                self._returned.add(slice_.name)
            if self.out_of_budget is None:
                self._waiting.extendleft(reversed(slices))
            self._changed.notify_all()

    def wait(self, stop_requested: Callable[[], bool]) -> bool:
        """Wait until a slice can be taken. False if none can come any more, or a stop is requested.

        While another engine has slices in hand, it may still give them back. And rounds may follow.
        """
        with self._changed:
            while not (self._comes() or self.empty or stop_requested()):
                self._changed.wait(POLL_SECONDS)
            return bool(self._waiting) and not stop_requested()
