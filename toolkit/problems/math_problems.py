"""MATH and MATH-500: competition problems. Each answer is a LaTeX expression in `\\boxed{}`."""

import json
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.problems.rows import checked, filled, read_rows
from toolkit.records import Problem

_COMMANDS = ("\\boxed", "\\fbox")


def read_math(path: Path) -> list[Problem]:
    """The problems of a published file. `UsageError` names row and field.

    Fields: problem (or question), and solution with the answer in its last box. Where `answer`
    holds the final answer alone, as in MATH-500 on the hub, that one is taken. Some copies of
    MATH-500 have the solution in `answer`. The ids are `math/` and unique_id, idx, or the number of
    the row.
    """
    found = []
    for number, (where, row) in enumerate(read_rows(path)):
        name = row.get("unique_id") or row.get("idx")
        solution = filled(row, "solution", where, "answer")
        answer = row.get("answer")
        whole = isinstance(answer, str) and answer.strip() and last_box(answer) is None
        gold = answer if whole else last_box(solution)
        if not (gold and gold.strip()):
            raise UsageError(f"{where}: field 'solution': has no answer in \\boxed{{}}")
        problem = Problem(
            task_id=f"math/{number if name is None else name}",
            prompt=filled(row, "problem", where, "question"),
            kind="math",
            reference=json.dumps({"answer": gold.strip()}),
            solution=solution if last_box(solution) is not None else f"\\boxed{{{gold.strip()}}}",
        )
        found.append((where, problem))
    return checked(found, path)


def last_box(solution: str) -> str | None:
    """What stands in the last box of a reference solution; None without a whole box."""
    start, command = max((solution.rfind(command), command) for command in _COMMANDS)
    if start < 0:
        return None
    rest = solution[start + len(command) :].lstrip()
    if not rest.startswith("{"):
        return rest.split("$")[0].split()[0] if rest.split("$")[0].split() else None
    depth = 0
    for position, character in enumerate(rest):
        if character in "{}" and not _escaped(rest, position):
            depth += 1 if character == "{" else -1
            if depth == 0:
                return rest[1:position]
    return None


def _escaped(text: str, position: int) -> bool:
    before = text[:position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
