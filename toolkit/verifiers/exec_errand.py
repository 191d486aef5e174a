"""An errand that executes a program of the node for one answer, and the verdict where it fails."""

import json
from typing import Final

from toolkit.records import Answer, Verdict
from toolkit.sandbox.exec_program import NOT_STARTED
from toolkit.sandbox.runner import Errand, Result
from toolkit.verifiers.errand_judging import undecided, undone
from toolkit.verifiers.prover import Program

FUNCTION: Final = "toolkit.sandbox.exec_program:run"


def program_errand(answer: Answer, program: Program, timeout: float) -> Errand:
    """The errand that executes the program; its key is the answer, without its text."""
    payload = {
        "argv": program.argv,
        "files": program.files,
        "environment": program.environment,
    }
    key = Answer(answer.task_id, answer.digest, "")
    return Errand(key, json.dumps(payload).encode(), timeout)


def unfinished(answer: Answer, result: Result) -> Verdict | None:
    """The verdict where the program has told none: it ran out of time or memory, was ended by a
    signal, or could not be started, which is an error of ours. None if it ended by itself.
    """
    if NOT_STARTED in result.detail:
        return undecided(answer, result.detail, result.seconds)
    by_itself = result.kind == "exit" and " status " in result.detail
    return None if by_itself else undone(answer, result)
