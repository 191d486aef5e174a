"""How often a request to a server is made again, and after what pause.

- Too many requests (429): until `PATIENCE_SECONDS` are over.
- A fault of the server (5xx), a lost connection, a torn answer: `ATTEMPTS` times in all, and no
  longer than that.

`Retry-After` is obeyed, and all requests of this process wait for it, not only the one that was
told. Without it, the pause doubles from a second on, up to a minute. Of that, a random part between
half and all is waited (jitter), so that many clients do not come back together. See Brooker,
"Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

ATTEMPTS = 6
PATIENCE_SECONDS = 900.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def pause(attempt: int, asked: float | None = None) -> float:
    """Seconds to wait after a failed attempt; the first one is 1. asked: by `Retry-After`."""
    own = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
    return own if asked is None else asked + random.uniform(0.0, min(1.0, own))


def retry_after(header: str | None) -> float | None:
    """The seconds that a `Retry-After` asks for, given as a number or as a date (RFC 9110, 10.2.3).

    None without one, and for what is neither.
    """
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


class Turnstile:
    """Where all requests of a process wait when the server wants fewer of them."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._until = 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long; a longer hold stays."""
        self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> bool:
        """Wait so long, and for the end of a hold. False if it was closed meanwhile."""
        ready = time.monotonic() + seconds
        while not self._closed.is_set():
            left = max(ready, self._until) - time.monotonic()
            if left <= 0:
                return True
            self._closed.wait(left)
        return False

    def close(self) -> None:
        """Wake all who wait: nothing is asked any more."""
        self._closed.set()
