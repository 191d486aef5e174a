"""How a model is asked for a Python function: in a chat, or by its beginning to continue."""

from toolkit.records import Prompt

SYSTEM_MESSAGE = (
    "You complete Python functions. You are given the beginning of a function: its imports, "
    "signature and docstring. Answer with Python code that completes it and with nothing else: "
    "no explanation, no tests, no examples."
)
"""The public experiment's idea in our words: the model's code joins the prompt and is tested."""

COMPLETION_STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\nassert ", '\n"""')
"""Where a completion has left the function: at the next statement of the outer level.

As in the Codex paper (arXiv 2107.03374, section 2.1) and in harnesses for code generation.
"""


def function_prompt(beginning: str) -> Prompt:
    """The prompt that asks for the function with this beginning."""
    question = f"```python\n{beginning.strip()}\n```"
    return Prompt(
        messages=(("system", SYSTEM_MESSAGE), ("user", question)),
        text=bare_prompt(beginning),
        stop=COMPLETION_STOP,
    )


def bare_prompt(beginning: str) -> str:
    """The function's beginning without its trailing newline.

    With the newline, most small models stop at once. The reason: tokenizers merge a newline with
    the indentation after it.
    """
    return beginning.rstrip("\n")
