"""Do errands in confined processes, one child each: for judges that are not Python unit tests.

    with Runner("toolkit.sandbox.main_program:run", workers=4, limits=Limits()) as runner:
        for result in runner.run(errands):
            ...

An errand is data for one function of this toolkit. The workers (`toolkit.sandbox.errand_worker`)
are fresh interpreters that import the function, confine themselves, and fork a child for each
errand. What an errand executes or parses ends with its child: by itself, by its own clock, or by a
limit. Nothing that comes from a worker is unpickled or evaluated.

R1. A result depends on the errand alone: not on load, order, neighbours or the number of workers.
    A timeout on a busy machine is doubtful: it is confirmed when nothing else of ours runs.
    Test: tests/sandbox/test_runner.py::test_results_do_not_depend_on_neighbours_or_load
R2. Data of other errands are not in a child's reach: a worker reads one errand at a time.
    Test: tests/sandbox/test_runner.py::test_an_errand_finds_nothing_of_others
    Test: tests/sandbox/test_followers.py::test_no_data_of_errands_stay_in_the_worker
    An errand that `follows` upon another may be done by the child of that one, or by a fresh one:
    its result may depend on what was done there before. Who asks for it must know what to believe.
    Test: tests/sandbox/test_followers.py::test_a_fresh_child_finds_nothing_of_one_that_waits
    Test: tests/sandbox/test_followers.py::test_who_only_says_that_it_waits_gains_nothing
    Test: tests/sandbox/test_followers.py::test_who_harms_its_process_harms_no_other_errand
R3. A worker that dies is replaced; an errand whose worker died twice ends in an error, which is
    ours.
    Test: tests/sandbox/test_runner.py::test_an_errand_that_kills_its_worker_is_an_error
"""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

from toolkit.errors import ToolkitError, UsageError
from toolkit.sandbox import confine, errand_schedule
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.errand_handle import ErrandHandle
from toolkit.sandbox.errands import Errand, Result
from toolkit.sandbox.process import end_workers, start_workers
from toolkit.sandbox.protocol import ErrandSetup
from toolkit.sandbox.usage import memory_share

__all__ = ["Errand", "IsolationLevel", "Limits", "Result", "Runner"]

OUTPUT_BYTES: Final = 16 << 20
"""An errand that writes more has failed."""


class Runner(Closing):
    """Workers that do errands; leaving the context ends and reaps all of them.

    function: "package.module:name" of a function that maps a payload to an output (bytes both). It
    is called in a child of its own for each errand. An exception is the errand's failure;
    `ErrandFailed` names its kind. Its module is imported before the worker confines itself, so it
    imports at its top what it needs of this toolkit. If the module has `prepare(libraries)`, the
    worker calls it once it is confined; else it imports the libraries.

    libraries: what is imported beside the standard library, by name; each must be installed.
    readable: files and directories that errands may read, beside the system and this Python.
    limits: of each errand; its `timeout` counts for nothing, as each errand has its own.

    `isolation_report` says of each mechanism "on" or "off: why".

    Raises `IsolationUnavailable` when the node offers less than the minimum, unless
    `isolation="weak"`, or where the function or a library cannot be imported.
    """

    def __init__(
        self,
        function: str,
        *,
        workers: int,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        isolation: IsolationLevel = "strongest",
        libraries: Sequence[str] = (),
        readable: Sequence[str] = (),
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed")
        tree_bytes = min(limits.tree_bytes, memory_share(workers))
        self._wall_seconds = limits.wall_seconds
        self._setup = ErrandSetup(
            limits=asdict(replace(limits, tree_bytes=tree_bytes)),
            disabled=confine.disabled_at_first(),
            scratch_root=tempfile.gettempdir(),
            libraries=list(libraries),
            function=function,
            readable=list(readable),
            output_bytes=OUTPUT_BYTES,
        )
        self._run: errand_schedule.Run | None = None
        self._numbers = itertools.count(1)
        self._workers, self.isolation_report = start_workers(
            self._start, workers, self._setup, isolation
        )

    def close(self) -> None:
        """See `Closing.close`."""
        end_workers(self._workers)
        self._workers.clear()

    def run(
        self, errands: Iterable[Errand], then: Callable[[Result], Errand | None] | None = None
    ) -> Iterator[Result]:
        """The results, in the order in which they are reached; few errands are read ahead.

        then: gives the errand that follows upon a result, which is then not yielded; None: it is.
        So an errand may have several steps, each known only after the one before. One run at a
        time: it may be called again when it has ended or was closed.
        """
        if not self._workers:
            raise ToolkitError("the runner is closed: open a new one")
        self._run = errand_schedule.Run(
            self._workers, self._start, self._numbers, self._wall_seconds
        )
        yield from self._run.results(iter(errands), then)

    def slow(self) -> tuple[int, float]:
        """The errands in hand that take long, and the seconds all they take at most."""
        return self._run.slow() if self._run else (0, 0.0)

    def _start(self) -> ErrandHandle:
        return ErrandHandle(self._setup)
