"""Judging by plain comparison, where nothing of a model's is executed or parsed by a library."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from toolkit.records import Answer, Problem, Verdict
from toolkit.sandbox.closing import Closing


class ComparedJudging(Closing):
    """See `Judging`. No process is needed. right: the right answer to a problem."""

    isolation: Mapping[str, str] = {}

    def __init__(self, right: Callable[[Problem], str]) -> None:
        self._right = right

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`: an answer is right where its text is."""
        for problem, answer in pairs:
            yield _verdict(answer, self._right(problem))

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`: no answer takes long."""
        return 0, 0.0

    def seconds(self, problem: Problem) -> None:
        """See `Judging.seconds`: there is no limit."""

    def close(self) -> None:
        """See `Closing.close`: nothing is open."""


def _verdict(answer: Answer, right: str) -> Verdict:
    if answer.text == right:
        return Verdict(answer.task_id, answer.digest, "passed", "", "", (), 0.0)
    detail = f"{answer.text[:90]} is not {right[:90]}"
    return Verdict(answer.task_id, answer.digest, "failed", "wrong_answer", detail, (), 0.0)
