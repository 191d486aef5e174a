"""The signals that ask a sampling process to stop."""

import logging
import signal
from types import FrameType

log = logging.getLogger(__name__)


class StopRequest:
    """Set by a signal, and looked at about once a second, whatever the engine does.

    SIGUSR2 is Slurm's signal before a time limit or a preemption. A cancelled job gets SIGTERM, and
    Ctrl-C is SIGINT. Slurm sends its signals to the engine's processes too, but those block them
    (see `toolkit.backends.engine_host`).
    """

    def __init__(self) -> None:
        self.requested = False
        self.near_time_limit = False
        numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._set) for number in numbers}

    def release(self) -> None:
        """Let the signals mean again what they did before, for a stage that follows here."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        log.warning("%s: stopping; finished samples are kept", signal.Signals(number).name)
        self.requested = True
        # A cancelled job gets SIGTERM. It must not put itself back in the queue.
        self.near_time_limit |= number == signal.SIGUSR2
