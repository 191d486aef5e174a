"""Answers that a Python file of the user's takes and decides.

The setting `file` names it, beside the task's TOML file (`toolkit.verifiers.judge_source`). Both
functions get the problem as a dictionary: its row, as the task's file has it, without `solution`.

| function | where it runs | limits |
|---|---|---|
| `extract` | in a process beside the job (`toolkit.verifiers.extract_process`) | 2 s of CPU time |
| `judge` | in the sandbox, each answer in a process of its own | `timeout`, 2 GiB |

An answer that takes `judge` over a limit does not pass. What either function raises is an error of
the judge: the outcome is `error`, which is never counted against the model.

The settings `folder`, `digest` and `own_version` are set by whoever makes the judge's choice. So a
changed file is another judge.
"""

import functools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from toolkit.errors import UsageError
from toolkit.problems.own import row_of
from toolkit.records import (
    Answer,
    Examples,
    Judge,
    Problem,
    Prompt,
    PromptStyle,
    Setting,
    Verdict,
    after_thoughts,
)
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.answers import ANSWERS_VERSION, before_stop
from toolkit.verifiers.canonical import shortened
from toolkit.verifiers.errand_judging import ErrandJudging, failed, undecided, undone
from toolkit.verifiers.extract_process import ExtractFailed, Extractor
from toolkit.verifiers.judge_source import JudgeSource, check_imports, read_source

MEMORY_BYTES: Final = 2 << 30
"""Of each answer."""
NOT_TAKEN: Final = "\0extract: "
"""Begins what stands for an answer where `extract` has failed. It is judged as an error."""
_FUNCTION: Final = "toolkit.sandbox.judge_program:run"
_FILE_VERSION: Final = 1
"""Raised with every change of how `extract` is called. Answers are then extracted again."""
_MOST_CHARACTERS: Final = 1_000_000
"""Of a completion's end, which `extract` is given."""
_WRONG: Final = ("unknown", "no idea at all", "-7919.25", "It is $\\boxed{-7919.25}$.")


class PythonFile:
    """The verifier of answers that a user's file takes and judges. settings: see above."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._settings = settings
        self.extraction = f"file {settings['digest']} {ANSWERS_VERSION}.{_FILE_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        return Prompt(messages=(("user", problem.prompt),), text=problem.prompt)

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`. Raises `UsageError` if the file is not as it was."""
        said = after_thoughts(completion)
        if said is None:
            return None
        said = before_stop(said, style, problem.phrased or self.prompt(problem))
        try:
            found = self._extractor.extract(_row(problem), said[-_MOST_CHARACTERS:])
        except ExtractFailed as why:
            return f"{NOT_TAKEN}{why}"
        return found or None

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        return Examples((problem.solution,) if problem.solution else (), _WRONG)

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "PythonFileJudging":
        """See `Verifier.judging`. Raises `UsageError` where `check_file` does."""
        path, source = check_file(judge.settings)
        runner = Runner(
            _FUNCTION,
            workers=workers,
            limits=Limits(memory_bytes=MEMORY_BYTES, tree_bytes=MEMORY_BYTES),
            isolation=isolation,
            libraries=source.imports,
        )
        given = {"source": source.text, "name": path.name}
        return PythonFileJudging(runner, given, float(judge.settings["timeout"]))

    @functools.cached_property
    def _extractor(self) -> Extractor:
        path, source = check_file(self._settings)
        return Extractor(source, path)


def check_file(settings: Mapping[str, Setting]) -> tuple[Path, JudgeSource]:
    """The judge's file on this node, and what it says.

    Raises `UsageError` if it is gone, or not as it was at the launch, or imports what is not there.
    """
    path = Path(str(settings["folder"])) / str(settings["file"])
    source = read_source(path) if path.is_file() else None
    if source is None or source.digest != settings["digest"]:
        is_now = "is not as it was at the launch" if source else "is no longer there"
        raise UsageError(
            f"judge file: {path} {is_now}; put it back, or launch again with --task to judge by "
            "the file as it is now"
        )
    check_imports(source, path)
    return path, source


class PythonFileJudging(ErrandJudging):
    """See `Judging`. given: source and name of the file. timeout: of an answer, in seconds."""

    def __init__(self, runner: Runner, given: Mapping[str, str], timeout: float) -> None:
        super().__init__(runner, timeout)
        self._given = given

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`. Where `extract` has failed there is nothing to execute."""
        not_taken: deque[Verdict] = deque()
        return self._verdicts(self._errands(pairs, not_taken), not_taken, _verdict)

    def _errands(
        self, pairs: Iterable[tuple[Problem, Answer]], not_taken: deque[Verdict]
    ) -> Iterator[Errand]:
        for problem, answer in pairs:
            if answer.text.startswith(NOT_TAKEN):
                not_taken.append(_error(answer, answer.text.removeprefix("\0"), 0.0))
                continue
            key = Answer(answer.task_id, answer.digest, "")
            payload = {**self._given, "problem": row_of(problem), "answer": answer.text}
            yield Errand(key, json.dumps(payload).encode(), self._timeout)


@functools.lru_cache(maxsize=256)
def _row(problem: Problem) -> str:
    """The problem as its functions get it: a JSON object."""
    return json.dumps(row_of(problem))


def _error(answer: Answer, detail: str, seconds: float) -> Verdict:
    return undecided(answer, detail.encode("utf-8", "backslashreplace").decode(), seconds)


def _verdict(result: Result) -> Verdict:
    answer, seconds = cast(Answer, result.key), result.seconds  # as `_errands` made it
    if result.end in ("failed", "error") and result.kind != "memory":
        return _error(answer, f"judge: {result.detail}", seconds)
    if verdict := undone(answer, result):
        return verdict
    try:
        said = json.loads(result.output)
        if "error" in said:
            return _error(answer, f"judge: {said['error']}", seconds)
        passed, canonical = said["passed"] is True, shortened(str(said["canonical"]))
    except (ValueError, TypeError, KeyError):  # something else has written over our word
        return _error(answer, "judge: its process told no verdict", seconds)
    if passed:
        return Verdict(answer.task_id, answer.digest, "passed", "", "", (), seconds, canonical)
    refused = failed(answer, "wrong_answer", "judge says no", seconds)
    return replace(refused, canonical=canonical)
