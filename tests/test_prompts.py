"""What the model is asked."""

from toolkit.records import Problem
from toolkit.verifiers.python_prompt import (
    COMPLETION_STOP,
    chat_messages,
    completion_prompt,
    stop_strings,
)

PROBLEM = Problem("t/0", 'def f():\n    """One."""\n\n', "", "f")


def test_a_chat_has_our_instruction_and_the_prompt():
    system, user = chat_messages(PROBLEM)
    assert (system["role"], user["role"]) == ("system", "user")
    assert PROBLEM.prompt.strip() in user["content"]


def test_a_completion_prompt_ends_without_newline():
    assert completion_prompt(PROBLEM) == 'def f():\n    """One."""'


def test_stop_strings_are_the_style_s_own_unless_asked_for():
    assert stop_strings("chat", None) == ()
    assert stop_strings("completion", None) == COMPLETION_STOP
    assert stop_strings("completion", ()) == ()
    assert stop_strings("chat", ("\nEND",)) == ("\nEND",)
