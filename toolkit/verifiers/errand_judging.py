"""What judges have in common whose answers are errands of one runner."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from toolkit.sandbox.runner import Runner


class ErrandJudging:
    """See `Judging`, all but `judge`. The runner is closed when the context ends."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def isolation(self) -> Mapping[str, str]:
        """See `Judging.isolation`."""
        return self._runner.isolation_report

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`."""
        return self._runner.slow()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.close()
