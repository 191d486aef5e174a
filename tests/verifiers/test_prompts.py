"""What the model is asked."""

from toolkit.verifiers.python_prompt import COMPLETION_STOP, function_prompt

BEGINNING = 'def f():\n    """One."""\n\n'
PROMPT = function_prompt(BEGINNING)


def test_a_chat_has_our_instruction_and_the_beginning():
    system, user = PROMPT.chat()
    assert (system["role"], user["role"]) == ("system", "user")
    assert BEGINNING.strip() in user["content"]


def test_a_completion_prompt_ends_without_newline():
    assert PROMPT.text == 'def f():\n    """One."""'


def test_stop_strings_are_the_prompt_s_own_unless_others_are_asked_for():
    assert PROMPT.stop_strings("chat", None) == ()
    assert PROMPT.stop_strings("completion", None) == COMPLETION_STOP
    assert PROMPT.stop_strings("completion", ()) == ()
    assert PROMPT.stop_strings("chat", ("\nEND",)) == ("\nEND",)
