"""The rule by which a task decides that its engine is dead, stopped or silent.

A dead engine is seen at once, because its connection ends. This module finds the others. It looks
at the processes of the engine every few seconds.

Stopped: one of the processes is in state T (SIGSTOP) for `Limits.stopped` seconds.

Silent: no step has ended for `Limits.idle` seconds, or ten times the longest step so far. And the
processes use no CPU time: less than a fiftieth of a core together, and none of them waits for a
core. An honest step that takes so long uses the CPU. It computes there, compiles a kernel, or waits
for the GPU in a loop.

Lost: no step has ended for `Limits.step` seconds, or ten times the longest so far, whatever the
processes do. They may turn in a loop. A lost GPU looks like that.

While an engine starts, it may wait long for a slow file system. So only the first rule and
`Limits.startup` hold then.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.backends.processes import RUNNABLE, STOPPED, Process
from toolkit.errors import EngineFailure

log = logging.getLogger(__name__)

IDLE_CORES = 0.02
"""An engine that uses less of a core than this does nothing."""
LONGEST_STEPS = 10
"""A step may take this many times as long as the longest before it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When an engine has failed, in seconds. check: the time between two looks at it."""

    check: float = 4.0
    stopped: float = 8.0
    idle: float = 20.0
    step: float = 300.0
    startup: float = 3600.0


class EngineWatch:
    """Counts the seconds in which nothing came from the engine, and looks at its processes.

    The caller tells how much time has passed. So time in which the task itself was suspended does
    not count.
    """

    def __init__(self, look: Callable[[], Sequence[Process]], limits: Limits) -> None:
        """look: returns the processes of the engine."""
        self._look, self._limits = look, limits
        self._starting = True
        self._quiet = self._unchecked = self._longest = 0.0
        self._stopped: dict[int, float] = {}
        self._baseline: tuple[float, dict[int, float]] | None = None
        self._noted = False

    def heard(self) -> None:
        """Something came from the engine: it is up, or it has made a step."""
        if not self._starting:
            self._longest = max(self._longest, self._quiet)
        self._starting, self._noted = False, False
        self._quiet, self._baseline = 0.0, None

    def passed(self, seconds: float) -> None:
        """Nothing has come for so many more seconds. Raises `EngineFailure` by the rule above."""
        self._quiet += seconds
        self._unchecked += seconds
        if self._unchecked >= self._limits.check:
            processes = self._look()
            self._check_stopped(processes)
            self._check_silent(processes)
            self._unchecked = 0.0

    def _check_stopped(self, processes: Sequence[Process]) -> None:
        now = {p.pid: p for p in processes if p.state == STOPPED}
        # The first look that finds it counts nothing: it may have been stopped just now.
        self._stopped = {
            pid: self._stopped[pid] + self._unchecked if pid in self._stopped else 0.0
            for pid in now
        }
        for pid, seconds in self._stopped.items():
            if seconds >= self._limits.stopped:
                raise EngineFailure(f"{now[pid]} was stopped by a signal, for {seconds:.0f} s")

    def _check_silent(self, processes: Sequence[Process]) -> None:
        limits, quiet = self._limits, self._quiet
        if self._starting:
            if quiet >= limits.startup:
                raise EngineFailure(f"it was not up after {quiet:.0f} s")
            return
        cores = self._cores_in_use(processes)
        patience = LONGEST_STEPS * self._longest
        working = any(p.state == RUNNABLE for p in processes)
        idle = cores is not None and cores < IDLE_CORES and not working
        if idle and quiet >= max(limits.idle, patience):
            raise EngineFailure(f"it was silent: no step in {quiet:.0f} s, and no CPU time used")
        if quiet >= max(limits.step, patience):
            raise EngineFailure(f"it was lost: no step in {quiet:.0f} s")
        if quiet >= max(limits.idle, self._longest) and not self._noted:
            self._noted = True
            log.warning(
                "the engine has made no step for %.0f s; the longest before took %.0f s; its "
                "processes use %.1f cores; it is given up after %.0f s",
                quiet,
                self._longest,
                cores or 0.0,
                max(limits.step, patience),
            )

    def _cores_in_use(self, processes: Sequence[Process]) -> float | None:
        """Mean over this silence, as far as it was watched; None at the first look at it."""
        used = {p.pid: p.cpu_seconds for p in processes}
        if self._baseline is None:
            self._baseline = self._quiet, used
            return None
        since, before = self._baseline
        return sum(s - before.get(pid, 0.0) for pid, s in used.items()) / (self._quiet - since)
