"""An errand that executes a program of the node for one answer, and the verdict where it fails."""

import json
from typing import Final

from toolkit.records import Answer, FailureKind, Verdict
from toolkit.sandbox.exec_program import NOT_STARTED
from toolkit.sandbox.runner import Errand, Result
from toolkit.verifiers.prover import Program

FUNCTION: Final = "toolkit.sandbox.exec_program:run"
DETAIL_CHARACTERS: Final = 200


def program_errand(answer: Answer, program: Program, timeout: float) -> Errand:
    """The errand that executes the program; its key is the answer, without its text."""
    payload = {
        "argv": program.argv,
        "files": program.files,
        "environment": program.environment,
    }
    key = Answer(answer.task_id, answer.digest, "")
    return Errand(key, json.dumps(payload).encode(), timeout)


def failed(answer: Answer, kind: FailureKind, detail: str, seconds: float = 0.0) -> Verdict:
    """An answer that does not pass. The detail is shortened."""
    detail = detail[:DETAIL_CHARACTERS] or "refused"
    return Verdict(answer.task_id, answer.digest, "failed", kind, detail, (), seconds)


def unfinished(answer: Answer, result: Result) -> Verdict | None:
    """The verdict where the program has told none: it ran out of time or memory, was ended by a
    signal, or could not be started, which is an error of ours. None if it ended by itself.
    """
    key, seconds, detail = (answer.task_id, answer.digest), result.seconds, result.detail
    if result.end == "error" or NOT_STARTED in detail:
        return Verdict(*key, "error", "", detail[:DETAIL_CHARACTERS], (), seconds)
    if result.end == "timed_out":
        return Verdict(*key, "timed_out", "time", "timed out", (), seconds)
    by_itself = result.end == "done" or (result.kind == "exit" and " status " in detail)
    return None if by_itself else failed(answer, result.kind, detail, seconds)
