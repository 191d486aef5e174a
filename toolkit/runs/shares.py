"""Rounds that are planned while an array samples, and how its array tasks share them.

Such a round names its launch in its plan. Its slices are dealt to nobody: an array task that has
room takes the next one. A slice is taken by making a file of its name in a folder of the launch,
which only one process can do. So no slice is sampled twice, and no task waits for another.

These files are no part of the ledger. They hold for one launch: a later launch deals anew what has
no shard. A task that was requeued goes on with the slices that it had taken.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.files import make_directory, publish_once
from toolkit.records import Slice
from toolkit.runs.rounds import read_round, round_name
from toolkit.runs.run import Run
from toolkit.runs.tables import read_json

ASK_SECONDS = 3.0
"""Time between two looks for slices, where there was none to take."""
WAIT_SECONDS = 120.0
"""So long a task may wait for slices in all, however short it has been at work."""
WAIT_SHARE = 0.1
"""This share of its time it may wait in all, if that is more. A GPU that waits is paid for."""


@dataclass(frozen=True, slots=True)
class Follows:
    """What a round says that was planned while an array samples.

    launch: the id of the array's launch. last: no round follows for this array.
    """

    launch: str
    last: bool = False


def follows_of(run: Run, index: int) -> Follows | None:
    """What a round says of it; None for a round that a launch has planned."""
    found = read_json(run.path / "rounds" / round_name(index)).get("follows")
    return Follows(str(found["launch"]), bool(found["last"])) if found else None


@dataclass(slots=True)
class Share:
    """What an array task samples beyond the slices that its launch has dealt to it.

    run: its run. launch: the id of its launch. task: its index in the array. clock: seconds.
    """

    run: Run
    launch: str
    task: int
    clock: Callable[[], float] = time.monotonic
    taken: list[Slice] = field(default_factory=list)
    """The slices that it has taken, the newest last."""
    _open: list[Slice] = field(default_factory=list)
    _rounds: int = 0
    _last: bool = False
    _began: float = field(init=False)
    _asked: float | None = None
    _idle_since: float | None = None
    _waited: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clock()

    def resume(self) -> list[Slice]:
        """The slices that this task had taken before it was requeued and that have no shard."""
        self._read_rounds()
        mine = {p.name for p in self._folder.glob("r*") if p.read_text() == str(self.task)}
        done = self.run.done()
        self.taken += [s for s in self._open if s.name in mine and s.name not in done]
        return list(self.taken)

    def take(self) -> Slice | None:
        """The next slice that nobody has taken; None if there is none now, see `over`.

        Where there was none a moment ago, it does not look again. Raises `WriteFailure`.
        """
        now = self.clock()
        if self._asked is not None and now - self._asked < ASK_SECONDS:
            return None
        self._read_rounds()
        others = {path.name for path in self._folder.glob("r*")}
        self._open = [s for s in self._open if s.name not in others]
        while self._open:
            found = self._open.pop(0)
            if self._claim(found.name):
                self.taken.append(found)
                self._asked = None
                self._idle(now, False)
                return found
        self._asked = now
        return None

    def over(self, idle: bool) -> bool:
        """Whether the task need not look for slices any more.

        So it is after the last round, and when it has waited long enough. idle: whether it has
        nothing to do; what it waits is summed up.
        """
        now = self.clock()
        self._idle(now, idle)
        longest = max(WAIT_SECONDS, WAIT_SHARE * (now - self._began))
        return (self._last and not self._open) or self._waited > longest

    def _idle(self, now: float, idle: bool) -> None:
        if self._idle_since is not None:
            self._waited += now - self._idle_since
        self._idle_since = now if idle else None

    @property
    def _folder(self) -> Path:
        return self.run.slurm_dir / f"taken-{self.launch}"

    def _read_rounds(self) -> None:
        """The slices of the rounds that are new, if they are for this array."""
        count = self.run.round_count()
        for index in range(self._rounds, count):
            found = follows_of(self.run, index)
            if found and found.launch == self.launch:
                self._open += read_round(self.run.path / "rounds" / round_name(index))
                self._last = found.last
        self._rounds = count

    def _claim(self, name: str) -> bool:
        """Whether this process is the one that takes the slice."""
        make_directory(self._folder)
        return publish_once(self._folder / name, str(self.task).encode())
