"""GSM8K: word problems of grade school. Each answer is a number."""

import json
import re
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.problems.rows import checked, filled, read_rows
from toolkit.records import Problem

_CALCULATION = re.compile(r"<<[^<>]*>>")
"""The calculator's notes in the published solutions: `<<16-3=13>>`."""


def read_gsm8k(path: Path) -> list[Problem]:
    """The problems of the published file: {question, answer}. `UsageError` names row and field.

    The number that is right stands behind `####` at the end of `answer`. The ids are `gsm8k/0`,
    `gsm8k/1` ... in the order of the file.
    """
    found = []
    for number, (where, row) in enumerate(read_rows(path)):
        solution, marker, answer = filled(row, "answer", where).rpartition("####")
        if not (marker and answer.strip()):
            raise UsageError(f"{where}: field 'answer': has no number behind ####")
        gold = answer.strip().replace(",", "")
        problem = Problem(
            task_id=f"gsm8k/{number}",
            prompt=filled(row, "question", where),
            kind="number",
            reference=json.dumps({"answer": gold}),
            solution=f"{_CALCULATION.sub('', solution)}#### {gold}",
        )
        found.append((where, problem))
    return checked(found, path)
