"""What the model is asked: a chat about the problem, or the bare prompt to go on with."""

from toolkit.records import Problem

SYSTEM_MESSAGE = (
    "You complete Python functions. You are given the beginning of a function: its imports, "
    "signature and docstring. Answer with Python code that completes it and with nothing else: "
    "no explanation, no tests, no examples."
)
"""The experiment's idea, a body that is joined to the prompt and tested, in our own words."""

COMPLETION_STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ", '\n"""')
"""Where a completion has left the function (after Codex, arXiv 2107.03374, section 2.1, and the
code generation harnesses): the next statement at the outer level."""


def chat_messages(problem: Problem) -> list[dict[str, str]]:
    """The conversation; the model's own chat template turns it into text."""
    return [
        {"role": "system", "content": SYSTEM_MESSAGE},
        {"role": "user", "content": f"```python\n{problem.prompt.strip()}\n```"},
    ]


def completion_prompt(problem: Problem) -> str:
    """The prompt without its trailing newline: with it, most small models stop at once, since
    tokenizers merge the newline with the indentation that follows.
    """
    return problem.prompt.rstrip("\n")


def stop_strings(style: str, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The stop strings asked for, or the style's own when none were."""
    if asked is not None:
        return asked
    return COMPLETION_STOP if style == "completion" else ()
