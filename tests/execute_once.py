"""Executes programs once, by an executor of their own."""

from collections.abc import Iterable, Iterator, Mapping

from toolkit.records import Answer, Verdict
from toolkit.sandbox.executor import Executor, Limits


def execute(
    programs: Iterable[Answer],
    endings: Mapping[str, str],
    *,
    workers: int,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    prompts: Mapping[str, str] | None = None,
) -> Iterator[Verdict]:
    """The verdicts of `programs`, in the order in which they are reached; see `Executor`."""
    with Executor(endings, workers=workers, limits=limits, prompts=prompts) as executor:
        yield from executor.run(programs)
