"""Answers that a program of the user's decides, in the sandbox.

The setting `command` is its command line. `{answer}` in it stands for a file with the answer's
text, `{problem}` for a file with the problem as JSON: its row, as the task's file has it, without
`solution`. Status 0 says that the answer is right. Or the program says more, as JSON on its
standard output: {"passed": bool, "canonical": "...", "detail": "..."}, the last two optional.

Words that name files or folders beside the task's TOML file are those. The program can read them,
the system and this Python, and nothing else. The setting `digest` is over all of them, so a changed
checker is another judge. `folder`, the directory of the TOML file, and `digest` are set by whoever
makes the judge's choice.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from toolkit.errors import UsageError
from toolkit.problems.own import row_of
from toolkit.records import Answer, Examples, Judge, Problem, Prompt, PromptStyle, Setting, Verdict
from toolkit.sandbox.confine import IsolationLevel, Limits
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers.answers import ANSWERS_VERSION, before_stop, check_rule, phrase, take
from toolkit.verifiers.canonical import MAX_CANONICAL
from toolkit.verifiers.errand_judging import ErrandJudging, failed
from toolkit.verifiers.exec_errand import FUNCTION, program_errand, unfinished
from toolkit.verifiers.judge_files import command_words, files_digest, is_beside, named_paths
from toolkit.verifiers.prover import Program

_ANSWER_FILE: Final = "answer.txt"
_PROBLEM_FILE: Final = "problem.json"
_THIS_PYTHON: Final = ("python", "python3")


class Command:
    """The verifier of answers that a command decides. settings: `answer`, a rule; see above."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._rule = str(settings["answer"])
        check_rule(self._rule)
        self.extraction = f"{self._rule} {ANSWERS_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        return Prompt(messages=(("user", problem.prompt),), text=problem.prompt)

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`."""
        completion = before_stop(completion, style, problem.phrased or self.prompt(problem))
        return take(self._rule, completion)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        wrong = (phrase(self._rule, text) for text in ("-7919.25", "no idea at all"))
        return Examples(
            (problem.solution,) if problem.solution else (),
            (*(text for text in wrong if text), "unknown"),
        )

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "CommandJudging":
        """See `Verifier.judging`. Raises `UsageError` where `check_command` does."""
        words, readable = _on_node(judge.settings)
        runner = Runner(
            FUNCTION, workers=workers, limits=Limits(), isolation=isolation, readable=readable
        )
        return CommandJudging(runner, words, float(judge.settings["timeout"]))


def check_command(settings: Mapping[str, Setting]) -> None:
    """Raise `UsageError` if this node lacks the command, or its files are not as they were."""
    _on_node(settings)


class CommandJudging(ErrandJudging):
    """See `Judging`. words: the command line. timeout: of an answer, in seconds."""

    def __init__(self, runner: Runner, words: Sequence[str], timeout: float) -> None:
        super().__init__(runner, timeout)
        self._words = words

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`."""
        for result in self._runner.run(self._errand(problem, answer) for problem, answer in pairs):
            yield _verdict(result)

    def _errand(self, problem: Problem, answer: Answer) -> Errand:
        names = {"{answer}": _ANSWER_FILE, "{problem}": _PROBLEM_FILE}
        argv = []
        for word in self._words:
            for field, name in names.items():
                word = word.replace(field, name)
            argv.append(word)
        files = {_ANSWER_FILE: answer.text, _PROBLEM_FILE: json.dumps(row_of(problem))}
        return program_errand(answer, Program(tuple(argv), files), self._timeout)


def _verdict(result: Result) -> Verdict:
    answer = cast(Answer, result.key)  # as `program_errand` made it
    if verdict := unfinished(answer, result):
        return verdict
    said = _said(result.output)
    canonical = _short(said.get("canonical"), MAX_CANONICAL)
    if result.end == "done" and said.get("passed", True) is True:
        return Verdict(
            answer.task_id, answer.digest, "passed", "", "", (), result.seconds, canonical
        )
    detail = _short(said.get("detail"), MAX_CANONICAL) or result.detail or "it says: not passed"
    failure = failed(answer, "wrong_answer", f"the command: {detail}", result.seconds)
    return replace(failure, canonical=canonical)


def _said(output: bytes) -> dict[str, Any]:
    """The JSON object that a command wrote; empty if it wrote anything else."""
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(text: object, length: int) -> str:
    """A text of so many characters at most, "" for what is none."""
    return text.encode("utf-8", "replace").decode()[:length] if isinstance(text, str) else ""


def _on_node(settings: Mapping[str, Setting]) -> tuple[list[str], list[str]]:
    """The words of the command with the paths of this node, and what it may read."""
    command, folder = str(settings["command"]), str(settings["folder"])
    words = command_words(command)
    named = named_paths(words, folder)
    if files_digest(named) != settings["digest"]:
        raise UsageError(
            f"judge command: what {command!r} names in {folder} is not as it was at the launch; "
            "put it back; if the task has moved, launch again with --task, or to judge by it as it "
            "is now"
        )
    program = _program(words[0], folder)
    rest = [str(Path(folder) / word) if is_beside(word, folder) else word for word in words[1:]]
    return [program, *rest], [program, *map(str, named)]


def _program(word: str, folder: str) -> str:
    """The path of the program that a command begins with."""
    if is_beside(word, folder):
        path: str | None = str(Path(folder) / word)
    elif word in _THIS_PYTHON:
        path = sys.executable
    else:
        path = shutil.which(word)
    if path is None or not os.access(path, os.X_OK):
        raise UsageError(
            f"judge command: {word} is no program on this node; install it, or make it executable"
        )
    return path
