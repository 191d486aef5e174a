"""What judges have in common whose answers are errands of one runner."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from toolkit.records import DETAIL_CHARACTERS, Answer, FailureKind, Problem, Verdict
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.runner import Errand, Result, Runner


class ErrandJudging(Closing):
    """See `Judging`, all but `judge`. The runner is closed when the context ends.

    timeout: of an answer, in seconds.
    """

    def __init__(self, runner: Runner, timeout: float) -> None:
        self._runner = runner
        self._timeout = timeout

    @property
    def isolation(self) -> Mapping[str, str]:
        """See `Judging.isolation`."""
        return self._runner.isolation_report

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`."""
        return self._runner.slow()

    def seconds(self, problem: Problem) -> float:
        """See `Judging.seconds`: that of the judge."""
        return self._timeout

    def _verdicts(
        self,
        errands: Iterable[Errand],
        at_once: deque[Verdict],
        verdict: Callable[[Result], Verdict],
    ) -> Iterator[Verdict]:
        """Run the errands. at_once: verdicts that need none; whoever makes the errands adds them
        there. verdict: that of an errand's result.
        """
        for result in self._runner.run(errands):
            while at_once:
                yield at_once.popleft()
            yield verdict(result)
        yield from at_once

    def close(self) -> None:
        """See `Closing.close`."""
        self._runner.close()


def failed(answer: Answer, kind: FailureKind, detail: str, seconds: float = 0.0) -> Verdict:
    """An answer that does not pass. The detail is shortened."""
    detail = detail[:DETAIL_CHARACTERS] or "refused"
    return Verdict(answer.task_id, answer.digest, "failed", kind, detail, (), seconds)


def undecided(answer: Answer, detail: str, seconds: float) -> Verdict:
    """An answer of which nothing can be said: an error of ours. The detail is shortened."""
    detail = detail[:DETAIL_CHARACTERS]
    return Verdict(answer.task_id, answer.digest, "error", "", detail, (), seconds)


def undone(answer: Answer, result: Result) -> Verdict | None:
    """The verdict where the answer's errand came to no end of its own; None where it is done."""
    match result.end:
        case "done":
            return None
        case "timed_out":
            key = answer.task_id, answer.digest
            return Verdict(*key, "timed_out", "time", "timed out", (), result.seconds)
        case "failed":
            return failed(answer, result.kind, result.detail, result.seconds)
        case "error":
            return undecided(answer, result.detail, result.seconds)
