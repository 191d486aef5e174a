"""What a problem asks and what its judge goes by, as texts for the sample browser."""

import json
from typing import Any

from toolkit.records import Problem

FIELD_CHARACTERS = 200_000
"""Of one text, such as the tests of a program. Of a longer one, the beginning is kept."""


def question(problem: Problem, style: str) -> dict[str, Any]:
    """What is asked, and what the judge goes by."""
    asked = problem.phrased
    prompt = problem.prompt
    if asked and style == "chat":
        prompt = "\n\n".join(f"[{role}]\n{text}" for role, text in asked.messages)
    elif asked:
        prompt = asked.text
    return {
        "prompt": _shown(prompt),
        "reference": reference_fields(problem.reference),
        "solution": _shown(problem.solution),
    }


def reference_fields(reference: str) -> list[list[str]]:
    """[name, text] of each field of a reference that says something."""
    try:
        found = json.loads(reference)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return [["reference", _shown(reference)]]
    fields = [[str(name), _shown(_as_text(value))] for name, value in found.items()]
    return [field for field in fields if field[1] not in ("", "0.0", "false", "null")]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_pair(test) for test in value):
        parts = (
            f"# {i}: input\n{test['input'].rstrip()}\n# {i}: output\n{test['output'].rstrip()}"
            for i, test in enumerate(value, 1)
        )
        return "\n\n".join(parts)
    return json.dumps(value, ensure_ascii=False, indent=1)


def _is_pair(test: Any) -> bool:
    return isinstance(test, dict) and all(
        isinstance(test.get(name), str) for name in ("input", "output")
    )


def _shown(text: str) -> str:
    more = len(text) - FIELD_CHARACTERS
    return text if more <= 0 else f"{text[:FIELD_CHARACTERS]}\n... and {more} more characters"
