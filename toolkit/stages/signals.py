"""The signals that ask a sampling process to stop, and the engine's protection from them."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType

log = logging.getLogger(__name__)


class StopRequest:
    """Set by Slurm's signal before a time limit or a preemption. Read between engine steps."""

    def __init__(self) -> None:
        self.requested = False
        self.near_time_limit = False
        signal.signal(signal.SIGUSR2, self._set)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Protect an engine while it starts.

        Slurm sends its signals to the engine's processes too, which would die of them. In this
        context they inherit that the signals are blocked or ignored. A stop that is requested
        meanwhile takes effect afterwards.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, self._set)
            signal.signal(signal.SIGINT, self._set)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        log.warning("%s: stopping; finished samples are kept", signal.Signals(number).name)
        self.requested = True
        # A cancelled job gets SIGTERM. It must not put itself back in the queue.
        self.near_time_limit |= number == signal.SIGUSR2
