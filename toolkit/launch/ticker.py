"""What a launch that stays shows while array tasks work: bars on a terminal, lines in a log."""

import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from toolkit.cli import how_many
from toolkit.launch.progress import Ledger, tail
from toolkit.progress_bar import ProgressBar, progress_bar, time_left
from toolkit.records import Slice
from toolkit.runs.run import Run

LOG_SECONDS = 15.0
"""Between lines in a log. And so often the logs of array tasks are looked at: that costs an
operation for each."""
SILENT_SECONDS = 60.0
"""A task that has written nothing for longer has ended, or says nothing of its progress."""
SAMPLING = re.compile(r"(\d+)/\d+ samples?, (\d+) tokens, .* (\d+) tokens/s")
JUDGED = re.compile(r"(\d+)/(\d+) judged, (.*)")


@dataclass(frozen=True, slots=True)
class TaskLogs:
    """The progress that array tasks logged last.

    newest: the newest line. tasks: those that sample now; samples, tokens: what they have drawn;
    tokens_per_second: all together. judged, to_judge: of the evaluation task that logged last,
    None if none did; pace: its rate and time left, in its words.
    """

    newest: str = ""
    tasks: int = 0
    samples: int = 0
    tokens: int = 0
    tokens_per_second: int = 0
    judged: int | None = None
    to_judge: int = 0
    pace: str = ""

    def note(self, missing: int) -> str:
        """Speed and time left for so many missing samples, by the tokens of those drawn."""
        if not self.tokens_per_second:
            return self.newest
        each = self.tokens / max(1, self.samples)
        left = time_left(missing * each / self.tokens_per_second)
        return f"{how_many(self.tasks, 'task')}, {self.tokens_per_second} tokens/s, {left}"


def read_logs(folder: Path, since: float) -> TaskLogs:
    """The progress in the logs of `folder` that were written to after the time `since`."""
    found = [(path.stat().st_mtime, path) for path in folder.glob("*_log.out")]
    lines = [_last_line(path) for at, path in sorted(found) if at >= since]
    newest = lines[-1] if lines else ""
    sampling = [match for line in lines if (match := SAMPLING.search(line))]
    judged = JUDGED.search(newest)
    return TaskLogs(
        newest=newest,
        tasks=len(sampling),
        samples=sum(int(match[1]) for match in sampling),
        tokens=sum(int(match[2]) for match in sampling),
        tokens_per_second=sum(int(match[3]) for match in sampling),
        judged=int(judged[1]) if judged else None,
        to_judge=int(judged[2]) if judged else 0,
        pace=judged[3] if judged else "",
    )


def _last_line(log: Path) -> str:
    """The last line that the toolkit wrote into a log, without its time and host."""
    ours = [line for line in tail(log) if line[:2] == "20" and "Z " in line]
    return ours[-1].split("Z ", 1)[1].partition(" ")[2] if ours else ""


@dataclass(slots=True)
class Ticker:
    """Shows how a run goes on. A context: at its end the bars are left as they are."""

    run: Run
    stream: TextIO
    _shown: str = ""
    _at: float = field(default=-LOG_SECONDS)
    # The plan, read anew when there is another round.
    _slices: list[Slice] = field(default_factory=list)
    _rounds: int = 0
    _logs: TaskLogs = field(default_factory=TaskLogs)
    _looked: float = field(default=-LOG_SECONDS)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _sampled: ProgressBar | None = None
    _judged: ProgressBar | None = None

    def __enter__(self) -> "Ticker":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self) -> None:
        """Show the state now, unless nothing is new or it was shown a moment ago."""
        now = time.monotonic()
        if self.stream.isatty():
            self._look(now)
            self._show_bars(self._ledger())
        elif now - self._at >= LOG_SECONDS:
            self._at = now
            self._look(now)
            line = f"{self._ledger().line()} | {self._logs.newest}"
            if line != self._shown:
                self._shown = line
                self.stream.write(f"{line}\n")
                self.stream.flush()

    def _show_bars(self, ledger: Ledger) -> None:
        if self._sampled is None:
            bar = progress_bar("sampled", ledger.samples_planned, "samples")
            self._sampled = self._stack.enter_context(bar)
        missing = ledger.samples_planned - ledger.samples
        note = self._logs.note(missing) if missing else ""
        self._sampled.show(ledger.samples, note, ledger.samples_planned)
        if ledger.sampled and self._logs.judged is not None:
            if self._judged is None:
                bar = progress_bar("judged", self._logs.to_judge, "answers")
                self._judged = self._stack.enter_context(bar)
            self._judged.show(self._logs.judged, self._logs.pace, self._logs.to_judge)

    def _ledger(self) -> Ledger:
        if (rounds := self.run.round_count()) != self._rounds:
            self._slices, self._rounds = self.run.slices(), rounds
        return Ledger.of(self._slices, self.run.done())

    def _look(self, now: float) -> None:
        if now - self._looked >= LOG_SECONDS:
            self._logs = read_logs(self.run.slurm_dir, time.time() - SILENT_SECONDS)
            self._looked = now
