"""SWE-bench: issues of public repositories (arXiv 2310.06770). Each answer is a patch."""

import json
import re
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import checked, filled, read_rows
from toolkit.records import Problem

KIND = "swebench"
_INSTANCE = re.compile(r"(?P<owner>[^/]+?)__(?P<name>[^/]+)-(?P<number>[0-9]+)")
"""How instances are named: `django__django-15202`."""


def read_swe_bench(path: Path) -> list[Problem]:
    """The problems of the published rows, JSON Lines or parquet. `UsageError` names row and field.

    Fields: instance_id, problem_statement. Then, where a row has them: repo, base_commit, patch,
    and text: a prompt that shows files, as the oracle and retrieval data sets have it.
    """
    found = []
    for where, row in read_rows(path):
        instance = filled(row, "instance_id", where)
        if not (named := _INSTANCE.fullmatch(instance)):
            raise UsageError(f"{where}: field 'instance_id': {instance!r} is no owner__name-number")
        issue = filled(row, "problem_statement", where)
        repository = _text(row, "repo", where) or f"{named['owner']}/{named['name']}"
        commit, text = _text(row, "base_commit", where), _text(row, "text", where)
        patch = _text(row, "patch", where)
        problem = Problem(
            task_id=instance,
            prompt=text or _asked(repository, commit, issue),
            kind=KIND,
            reference=json.dumps({"repo": repository, "base_commit": commit, "text": bool(text)}),
            solution=_fenced(patch) if patch else "",
        )
        found.append((where, problem))
    return checked(found, path)


def _asked(repository: str, commit: str, issue: str) -> str:
    base = f"\nBase commit: {commit}" if commit else ""
    return f"Repository: {repository}{base}\n\n<issue>\n{issue.strip()}\n</issue>"


def _fenced(patch: str) -> str:
    """As a model answers. A patch may end with lines that look empty, and they count."""
    return f"```diff\n{patch}```" if patch.endswith("\n") else f"```diff\n{patch}\n```"


def _text(row: dict[str, Any], field: str, where: str) -> str:
    """The text in a field, "" where it is not there."""
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{where}: field {field!r} is {type(value).__name__}, not a string")
    return value or ""
