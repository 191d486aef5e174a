"""When an evaluation beside a sampling array ends: how it learns that the array is over.

On Slurm it asks the queue, once a minute, and at first somewhat sooner. When all that is planned
has its shard, nobody need be asked. On one machine the launch keeps a file as long as it samples.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import SlurmFailure
from toolkit.launch.queue import jobs_of_launch
from toolkit.runs.run import Run

log = logging.getLogger(__name__)

QUEUE_SECONDS = (15.0, 60.0)
"""The shortest and the longest time between two questions to Slurm's controller."""


@dataclass(slots=True)
class ArrayInQueue:
    """Tells whether the sampling array of a launch has left the queue.

    launch: the id of the launch, which the names of its jobs hold. A requeued array task is in the
    queue, and so is one that is held. While Slurm does not answer, the array is taken to go on.
    """

    run: Run
    launch: str
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _asked: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._asked = self.clock()

    def over(self) -> bool:
        """Asks Slurm if it was not asked a moment ago; False otherwise."""
        now, (shortest, longest) = self.clock(), QUEUE_SECONDS
        if now - self._asked < min(max(shortest, (now - self._began) / 100), longest):
            return False
        self._asked = now
        try:
            return all(job.stage != "sample" for job in jobs_of_launch(self.run, self.launch))
        except SlurmFailure as error:
            log.warning("%s", error)
            return False


def sampling_over(run: Run, launch: str) -> Callable[[], bool]:
    """A function that tells whether the sampling of a launch is over: of this machine, or Slurm."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        sign = _sign(launch)
        return lambda: not sign.exists()
    return ArrayInQueue(run, launch).over


@contextlib.contextmanager
def sampling_here(launch: str) -> Iterator[None]:
    """A context in which a launch samples on this machine."""
    sign = _sign(launch)
    sign.touch()
    try:
        yield
    finally:
        sign.unlink(missing_ok=True)


def _sign(launch: str) -> Path:
    return Path(tempfile.gettempdir()) / f"inference-scaling-{os.getuid()}-samples-{launch}"
