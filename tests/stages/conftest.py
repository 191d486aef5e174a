"""What several tests of sampling share."""

import signal

import pytest

from toolkit.stages.signals import StopRequest


@pytest.fixture
def stop():
    """A request to stop; the handlers of signals are as before after the test."""
    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)}
    yield StopRequest()
    for number, handler in before.items():
        signal.signal(number, handler)
