"""From a completion to the program in it: the last fenced block that is Python.

| the completion has | the program |
|---|---|
| fenced blocks, some of which parse as Python | the last that does |
| fenced blocks, none of which does | the last; it then fails |
| no fenced block | the text |
| nothing but empty blocks | none |

A reasoning model's thoughts are no answer, see `after_thoughts`.
"""

from typing import Final

from toolkit.records import after_thoughts
from toolkit.verifiers.answers import fenced_blocks, has_only_fences
from toolkit.verifiers.python_program import parses

FENCED: Final = "fenced"
FENCED_VERSION: Final = 2
"""Raised with every change of what this module returns. Answers are then extracted again."""
_MAX_CHARACTERS: Final = 200_000
"""Of a completion: its end."""
_MAX_BLOCKS: Final = 8
"""So many of the last blocks are looked at: each is parsed at a bounded cost."""


def fenced_program(completion: str) -> str | None:
    """The program, None if there is none. Never raises, whatever the text."""
    said = after_thoughts(completion)
    if said is None:
        return None
    blocks = fenced_blocks(said[-_MAX_CHARACTERS:])
    for block in reversed(blocks[-_MAX_BLOCKS:]):
        if parses(block):
            return block
    if blocks:
        return blocks[-1]
    return None if has_only_fences(said) else said
