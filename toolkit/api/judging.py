"""A judge to call: from a notebook, a search loop, or as a reward.

    with toolkit.Judge(task="humaneval") as judge:
        verdicts = judge([("HumanEval/0", completion), ...])

Verdicts are those of `evaluate`: the same verifiers, sandbox and workers. Several threads may call
a judge at once. `toolkit.api.rounds` has the thread behind it.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, Protocol

import polars as pl

from toolkit.api.rounds import Asked, Rounds, Told
from toolkit.cores import available_cores
from toolkit.errors import UsageError
from toolkit.problems.humaneval import HUMANEVAL
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.records import (
    NO_ANSWER,
    Answer,
    JudgeChoice,
    Problem,
    PromptStyle,
    Verdict,
    answer_digest,
)
from toolkit.runs.judge import judge_choice
from toolkit.runs.run import Run
from toolkit.runs.verdicts import VERDICT_SCHEMA
from toolkit.sandbox.closing import Closing
from toolkit.sandbox.confine import IsolationLevel
from toolkit.stages.task import load_task
from toolkit.verifiers.base import check_node, only_kind, open_verifier
from toolkit.verifiers.judges import choice_of, harness_of, judge_of, with_settings

FRAME_SCHEMA = pl.Schema(
    {name: kind for name, kind in VERDICT_SCHEMA.items() if name != "judge"}
    | {"passed": pl.Boolean()}
)
"""The columns of what a judge returns: those of verdicts/ without `judge`, and `passed`."""

SIGNAL_SECONDS = 0.5
"""So soon a Ctrl-C is seen: a kernel may give the signal to a thread that does not wait for it."""
NO_DIGEST = 0
"""Stands for the answer of a verdict where the completion holds none; null in a frame."""

Problems = Run | Sequence[Problem] | str
"""A run, whose own judge decides; problems of one kind; or the name of a task."""
Row = Mapping[str, Any] | tuple[str, str]
"""{task_id, completion} or {task_id, solution}; or (task_id, completion)."""


class _Chosen(NamedTuple):
    """What is judged, by which choice, and how completions are read unless the caller says."""

    name: str
    problems: Sequence[Problem]
    choice: JudgeChoice
    style: PromptStyle


class Judge(Closing):
    """Workers that judge answers; leaving the context ends and reaps all of them.

    - problems: what the answers are to, see `Problems`. None: those of `task`.
    - task: the name of a task, or its TOML file. data: the file of its data; "": the task's own.
    - style: how completions were asked for, and so how the answer is taken from them: "chat",
      "completion", or "verbatim", unchanged after the prompt. None: as the run had it; else
      verbatim for programs, and chat for the rest.
    - timeout (seconds), libraries (names with commas between), workers, isolation: as `evaluate`
      has them. None: the task's or the run's own, and as many workers as there are cores.

    `isolation` says of each mechanism "on" or "off: why". Raises `UsageError` for problems or
    settings that cannot be, and `IsolationUnavailable` where the node confines too little.
    """

    def __init__(
        self,
        problems: Problems | None = None,
        *,
        task: str = HUMANEVAL,
        data: str = "",
        style: PromptStyle | None = None,
        timeout: float | None = None,
        libraries: str | None = None,
        workers: int | None = None,
        isolation: IsolationLevel = "strongest",
    ) -> None:
        chosen = _chosen(task if problems is None else problems, data)
        judge = judge_of(with_settings(chosen.choice, timeout, libraries))
        if harness := harness_of(judge):
            raise UsageError(f"{chosen.name}: its answers are judged by {harness}, not here")
        check_node(judge)
        self._verifier = open_verifier(judge.choice)
        self._name, self._style = chosen.name, style or chosen.style
        self._problems = {p.task_id: p for p in chosen.problems}
        self._extracting = threading.Lock()
        self._rounds = Rounds(
            partial(
                self._verifier.judging,
                list(chosen.problems),
                judge,
                workers=workers or available_cores(),
                isolation=isolation,
            )
        )
        self.isolation = self._rounds.isolation

    def __call__(self, programs: Iterable[Row] | pl.DataFrame) -> pl.DataFrame:
        """The verdicts of these programs, one row each, in their order: `FRAME_SCHEMA`.

        programs: rows, or a frame with such columns. Equal answers are judged once. An answer that
        could not be decided has the outcome `error`: it says nothing about the program. `answer` is
        null where the completion holds none. Raises `UsageError` for a row that cannot be judged,
        by its number from 0, and then judges nothing.
        """
        rows = programs.iter_rows(named=True) if isinstance(programs, pl.DataFrame) else programs
        asked = [self._read(row, f"row {i}: ") for i, row in enumerate(rows)]
        call = _Call(len(asked))
        for i, (problem, text, style) in enumerate(asked):
            self._ask(problem, text, style, partial(call.tell, i))
        return verdict_frame(call.verdicts())

    def submit(
        self, task_id: str, completion: str | None = None, *, solution: str | None = None
    ) -> "Future[Verdict]":
        """Ask for one verdict; returns at once. The future's result is the `Verdict`.

        completion: a model's text, read in the judge's style. solution: a whole answer instead. A
        callback of the future runs in the judge's thread, so it must be quick.
        """
        row = {"task_id": task_id, "completion": completion, "solution": solution}
        problem, text, style = self._read({k: v for k, v in row.items() if v is not None})
        future: Future[Verdict] = Future()

        def tell(told: Told) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if isinstance(told, Exception):
                future.set_exception(told)
            else:
                future.set_result(told)

        self._ask(problem, text, style, tell)
        return future

    def close(self) -> None:
        """Finish what was asked for, then end and reap every process."""
        self._rounds.close()

    def _read(self, row: Row, where: str = "") -> tuple[Problem, str, PromptStyle]:
        """The problem, the text and its style. Raises `UsageError`, beginning with `where`."""
        fields = dict(zip(("task_id", "completion"), row, strict=True)) if _is_pair(row) else row
        assert isinstance(fields, Mapping)
        whole = fields.get("solution") is not None and fields.get("completion") is None
        name = "solution" if whole else "completion"
        for field in ("task_id", name):
            if not isinstance(fields.get(field), str):
                raise UsageError(f"{where}field {field!r} is missing, or no string")
        task_id, text = fields["task_id"], fields[name]
        if task_id not in self._problems:
            raise UsageError(
                f"{where}{task_id!r} is not one of the {len(self._problems)} problems of "
                f"{self._name}"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{where}field {name!r} has half of a surrogate pair, which is no text; remove it"
            ) from None
        return self._problems[task_id], text, "solution" if whole else self._style

    def _ask(self, problem: Problem, text: str, style: PromptStyle, tell: "_Tell") -> None:
        with self._extracting:  # some verifiers extract by a process of their own
            answer = self._verifier.extract(problem, text, style)
        if answer is None:
            tell(Verdict(problem.task_id, NO_DIGEST, "failed", "no_answer", NO_ANSWER, (), 0.0))
            return
        found = Answer(problem.task_id, answer_digest(answer), answer)
        self._rounds.ask(Asked(problem, found, tell))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._rounds.close(abandon=kind is not None)


def judge(
    problems: Problems, programs: Iterable[Row] | pl.DataFrame, **settings: Any
) -> pl.DataFrame:
    """The verdicts of programs, one row each, in their order; see `Judge`, also for the settings.

    It starts and ends its workers. For more than one call, keep a `Judge`.
    """
    with Judge(problems, **settings) as at_work:
        return at_work(programs)


def verdict_frame(verdicts: Sequence[Verdict]) -> pl.DataFrame:
    """One row for each verdict, in the columns of `FRAME_SCHEMA`."""
    rows = [
        (
            v.task_id,
            None if v.answer == NO_DIGEST else v.answer,
            v.outcome,
            v.kind,
            v.detail,
            list(v.suspect),
            v.seconds,
            v.canonical,
            v.outcome == "passed",
        )
        for v in verdicts
    ]
    return pl.DataFrame(rows, schema=FRAME_SCHEMA, orient="row")


class _Tell(Protocol):
    """Takes what became of an answer."""

    def __call__(self, told: Told) -> None: ...


class _Call:
    """The verdicts of one call, as they come."""

    def __init__(self, expected: int) -> None:
        self._told: list[Told | None] = [None] * expected
        self._left = expected
        self._lock = threading.Lock()
        self._all = threading.Event()
        if not expected:
            self._all.set()

    def tell(self, i: int, told: Told) -> None:
        """Take what became of the i-th answer; from any thread."""
        with self._lock:
            self._told[i] = told
            self._left -= 1
            if not self._left:
                self._all.set()

    def verdicts(self) -> list[Verdict]:
        """All of them, waited for. Raises the error of the first that has one."""
        while not self._all.wait(SIGNAL_SECONDS):
            pass
        found = []
        for told in self._told:
            if not isinstance(told, Verdict):
                raise told or AssertionError
            found.append(told)
        return found


def _is_pair(row: Row) -> bool:
    return isinstance(row, tuple) and len(row) == 2


def _chosen(problems: Problems, data: str) -> _Chosen:
    if isinstance(problems, Run):
        name = problems.path.name
        return _Chosen(name, problems.problems(), judge_choice(problems), problems.prompt_style())
    if isinstance(problems, str):
        loaded = load_task(problems, data)
        return _Chosen(loaded.name, loaded.problems, loaded.judge, _usual(loaded.judge))
    choice = choice_of(only_kind(problems))
    return _Chosen("those given", problems, choice, _usual(choice))


def _usual(choice: JudgeChoice) -> PromptStyle:
    """How completions are read unless somebody says: as `ingest` does."""
    return "verbatim" if choice.verifier == PYTHON_TESTS else "chat"
