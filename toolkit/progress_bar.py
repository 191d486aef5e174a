"""A progress bar on a terminal, and how times are written on it. In a log there is none."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}"


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """One line on stderr in the terminal's width. `shown` is False where stderr is no terminal."""

    _bar: Any = None

    @property
    def shown(self) -> bool:
        """Whether there is a bar. Where there is none, a log line now and then tells the same."""
        return self._bar is not None

    def show(self, done: int, note: str = "", total: int | None = None) -> None:
        """Show that so many are done. The terminal is written to a few times a second at most."""
        if self._bar is not None:
            self._bar.total = self._bar.total if total is None else total
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)


@contextlib.contextmanager
def progress_bar(what: str, total: int, unit: str) -> Iterator[ProgressBar]:
    """Show a bar in this context, with what it is about and the unit of `total`.

    Log lines of this context are written above the bar.
    """
    if not sys.stderr.isatty():
        yield ProgressBar()
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        logging_redirect_tqdm([logging.getLogger("toolkit")]),
        tqdm(desc=what, total=total, unit=unit, dynamic_ncols=True, bar_format=FORMAT) as bar,
    ):
        yield ProgressBar(bar)
        bar.refresh()


def time_left(seconds: float | None) -> str:
    """For instance "3.4 min left". "" if it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min left"
    return f"{seconds / 3600:.1f} h left"
