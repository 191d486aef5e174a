"""What a model is asked for a Python function: a chat about it, or its beginning to go on with."""

from toolkit.records import Prompt

SYSTEM_MESSAGE = (
    "You complete Python functions. You are given the beginning of a function: its imports, "
    "signature and docstring. Answer with Python code that completes it and with nothing else: "
    "no explanation, no tests, no examples."
)
"""The experiment's idea in our own words: a body that is joined to the prompt and tested."""

COMPLETION_STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ", '\n"""')
"""Where a completion has left the function: the next statement at the outer level.

After Codex (arXiv 2107.03374, section 2.1) and the code generation harnesses.
"""


def function_prompt(beginning: str) -> Prompt:
    """How the function that starts so is asked for."""
    question = f"```python\n{beginning.strip()}\n```"
    return Prompt(
        messages=(("system", SYSTEM_MESSAGE), ("user", question)),
        text=bare_prompt(beginning),
        stop=COMPLETION_STOP,
    )


def bare_prompt(beginning: str) -> str:
    """The function's beginning without its trailing newline.

    With it most small models stop at once: tokenizers merge the newline with the indentation that
    follows.
    """
    return beginning.rstrip("\n")
