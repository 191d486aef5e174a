r"""From a completion to the answer in it, by a rule that the task names. Pure, with a version.

| rule | the answer |
|---|---|
| `boxed` | what the last \boxed{...} or \fbox{...} holds, and boxes listed just before it |
| `last_number` | the last number |
| `last_math` | the last formula between math delimiters, or the last number if that comes later |
| `marker:TEXT` | what follows the last TEXT, up to the end of the line |
| `fenced` | the last fenced block |
| `choice` | a letter, as answers to multiple choice name it |
| `regex:PATTERN` | group 1 of the last match, or the match (`toolkit.verifiers.linear_regex`) |
| `whole` | the text |

Rules are tried in turn where ` | ` stands between them: `marker:#### | last_number`.

A reasoning model's thoughts are no answer: the text up to the last `</think>` is not read, and a
thought that does not end leaves no answer (`after_thoughts`).

The supervisor does this itself, so the time is linear in the text, whatever the text. Of what
follows the thoughts, no more than the last `_MAX_CHARACTERS` are read.
"""

import functools
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import Prompt, PromptStyle, after_thoughts
from toolkit.verifiers.linear_regex import LinearRegex

ANSWERS_VERSION = 1
"""Raised with every change of what this module returns. Answers are then extracted again."""

OR: Final = " | "
"""Between rules that are tried in turn."""
_MAX_CHARACTERS: Final = 1_000_000
_MAX_BETWEEN_BOXES: Final = 40
_MAX_LISTED_BOXES: Final = 50
_MAX_FORMULA_CHARACTERS: Final = 20_000
"""Formulas are looked for at the end of the text only: a delimiter without its end costs more."""
_MAX_REGEX_CHARACTERS: Final = 5_000
"""A pattern of the user's reads the end of the text only: it costs more a character."""

_BRACES = re.compile(
    r"\\(?:boxed|fbox)\s{0,9}\{|\\(?:boxed|fbox)\s{1,9}(?P<bare>[^\s{}$\\]{1,200})|\\.|[{}]",
    re.DOTALL,
)
_LISTED = re.compile(r"(?:[\s$,;.()\[\]{}]|\\[()\[\],; ]|\\(?:text|quad|mbox)|and|or)*")
NUMBER: Final = re.compile(
    r"(?:(?<![\w)\]}])(?P<sign>[-−]?\\?[$€£]?[-−]?))?"
    r"(?P<digits>(?:[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|(?<![0-9])\.[0-9]+)"
)
"""A number in a text: `-5`, `$1,234.50`, `-$3`, `.5`, `1{,}000`. It never holds a final dot."""
_FORMULA = (
    r"\$\$(?P<a>[^$]{1,500})\$\$"
    r"|(?<!\\)\$(?P<b>(?:[^$\n\\]|\\.){1,500})\$"
    r"|\\\[(?P<c>(?:[^\\]|\\(?!\])){1,500}?)\\\]"
    r"|\\\((?P<d>(?:[^\\\n]|\\(?!\))){1,500}?)\\\)"
)
_FORMULA_OR_NUMBER = re.compile(f"{_FORMULA}|(?P<number>{NUMBER.pattern})", re.DOTALL)
_FENCE = re.compile(r"^[ \t]{0,99}(`{3,}|~{3,})[^`\n]*$", re.MULTILINE)
_LETTER = r"(?:\(?(?:\\text\s?\{)?\(?([A-Z])\)?\}?(?![\w'])\)?|\(([a-z])\))"
_SAID = re.compile(
    r"(?i:answer|choice|option)(?i:\s{1,9}is)?(?:\s{1,9}(?i:option|choice))?"
    rf"\s{{0,3}}[:\s*_$]{{0,9}}{_LETTER}"
)
_FIRST = re.compile(r"\s{0,99}[*_$]{0,4}(?:\(([A-Za-z])\)|([A-Z])(?=[).:*_$]|\s*$|\s*\n))")
_LAST = re.compile(r"\(([A-Z])\)")
_PROSE = re.compile(r" (?!because\b|since\b|as\b|and\b|or\b)[a-z]")

_Box = tuple[int, int, int, int]
"""Where a box starts, where what it holds starts and ends, where the box ends."""


def check_rule(rule: str) -> None:
    """Raise `UsageError` for a rule that does not exist, or a pattern that cannot be used."""
    for one in rule.split(OR):
        name, colon, argument = one.partition(":")
        if one in _PLAIN or (name == "marker" and argument.strip()):
            continue
        if name == "regex" and argument:
            _regex(argument)
            continue
        valid = ", ".join([*_PLAIN, "marker:TEXT", "regex:PATTERN"])
        why = "says nothing after the colon" if colon and not argument.strip() else "is unknown"
        raise UsageError(f"answer = {rule!r}: the rule {one!r} {why}; valid: {valid}")


def take(rule: str, text: str) -> str | None:
    """The answer that the rule finds in a completion, None if there is none.

    Never raises, whatever the text. Raises `UsageError` for a rule that `check_rule` refuses.
    """
    return next(candidates(rule, text), None)


def candidates(rule: str, text: str) -> Iterator[str]:
    """What each of the rules that are tried in turn finds, without those that find nothing."""
    check_rule(rule)
    said = after_thoughts(text)
    if said is None:
        return
    said = said[-_MAX_CHARACTERS:]
    for one in rule.split(OR):
        if found := (_take(one, said) or "").strip():
            yield found


def before_stop(completion: str, style: PromptStyle, prompt: Prompt) -> str:
    """What of a completion may hold its answer: not what stands behind a stop string of its prompt.

    A chat ends by itself, and verbatim text was cut by whoever made it: both are taken as they are.
    """
    return up_to_stop(completion, prompt.stop) if style == "completion" else completion


def up_to_stop(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first of the stop strings, as a model that was stopped gives it.

    Completions that were made elsewhere may run on: into a next question, with its own answer.
    """
    return text[: min((at for s in stop if (at := text.find(s)) >= 0), default=len(text))]


def fenced_blocks(text: str) -> list[str]:
    """What stands in fenced blocks, in their order, without empty ones; the last may be open."""
    blocks: list[str] = []
    start, fence = -1, ""
    for mark in _FENCE.finditer(text):
        if start < 0:
            start, fence = mark.end() + 1, mark[1]
        elif mark[1].startswith(fence) and not text[mark.end(1) : mark.end()].strip():
            blocks.append(text[start : mark.start()])
            start = -1
    if start >= 0:
        blocks.append(text[start:])
    return [block for block in blocks if block.strip()]


def has_only_fences(text: str) -> bool:
    """Whether there is nothing in the text but fences without anything in them."""
    return not _FENCE.sub("", text).strip()


def phrase(rule: str, answer: str) -> str | None:
    """A completion in which the rule finds this answer; None if it must be written by hand."""
    name, _, argument = rule.split(OR)[0].partition(":")
    match name:
        case "boxed":
            return f"It is $\\boxed{{{answer}}}$."
        case "marker":
            return f"{argument} {answer}"
        case "fenced":
            return f"```\n{answer}\n```"
        case "choice":
            return f"The answer is ({answer})."
        case "last_math":
            return f"It is ${answer}$."
        case "regex":
            return None
        case _:
            return answer


@functools.lru_cache(maxsize=100)
def _regex(pattern: str) -> LinearRegex:
    return LinearRegex(pattern)


def _take(rule: str, text: str) -> str | None:
    name, _, argument = rule.partition(":")
    if name == "marker":
        return _marked(argument, text)
    if name == "regex":
        return _regex(argument).last(text[-_MAX_REGEX_CHARACTERS:])
    return _PLAIN[rule](text)


def _boxed(text: str) -> str | None:
    """One pass with a stack: scanning anew from each box would take quadratic time."""
    boxes: list[_Box] = []
    opened: list[tuple[int, int]] = []
    for mark in _BRACES.finditer(text):
        if mark["bare"]:
            boxes.append((mark.start(), mark.start("bare"), mark.end(), mark.end()))
        elif mark[0] == "{":
            opened.append((-1, mark.end()))
        elif mark[0][-1] == "{" and len(mark[0]) > 2:
            opened.append((mark.start(), mark.end()))
        elif mark[0] == "}" and opened:
            start, inside = opened.pop()
            if start >= 0:
                boxes.append((start, inside, mark.start(), mark.end()))
    return _listed(sorted(boxes)[-_MAX_LISTED_BOXES:], text)


def _listed(boxes: list[_Box], text: str) -> str | None:
    r"""What the last box holds, after those that are listed with it: \boxed{1} and \boxed{2}."""
    found: list[str] = []
    following = -1
    for start, inside, inside_end, end in reversed(boxes):
        if found:
            is_near = 0 <= following - end <= _MAX_BETWEEN_BOXES
            if not is_near or not _LISTED.fullmatch(text, end, following):
                break
        held = text[inside:inside_end].strip()
        if held not in found[:1]:
            found.insert(0, held)
        following = start
    return ", ".join(found) if found else None


def _last_number(text: str) -> str | None:
    found = _last(NUMBER.finditer(text))
    return found[0] if found else None


def _last_math(text: str) -> str | None:
    found = _last(_FORMULA_OR_NUMBER.finditer(text[-_MAX_FORMULA_CHARACTERS:]))
    if not found:
        return None
    return next((found[name] for name in "abcd" if found[name]), found["number"])


def _last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(matches, maxlen=1)), None)


def _marked(marker: str, text: str) -> str | None:
    """What follows the last marker that something follows, on its line or on the next."""
    end = len(text)
    while (at := text.rfind(marker, 0, end)) >= 0:
        if after := text[at + len(marker) : end].strip():
            return after.partition("\n")[0]
        end = at
    return None


def _fenced(text: str) -> str | None:
    blocks = fenced_blocks(text)
    return blocks[-1] if blocks else None


def _choice(text: str) -> str | None:
    """A letter in a box; or the last that is said to be the answer; or the first word; or (B)."""
    boxed = _boxed(text)
    if boxed and (letter := re.fullmatch(rf"[\s*$]*{_LETTER}.{{0,200}}", boxed, re.DOTALL)):
        return (letter[1] or letter[2]).upper()
    said = [m for m in _SAID.finditer(text) if not _is_a_word(m, text)]
    if found := said[-1] if said else _FIRST.match(text):
        return (found[1] or found[2]).upper()
    letters = _LAST.findall(text)
    return letters[-1] if letters else None


def _is_a_word(found: re.Match[str], text: str) -> bool:
    """Whether the letter is the article A, or the word I, of a sentence that goes on."""
    bare = found[0][-1] in "AI"
    return bare and bool(_PROSE.match(text, found.end()))


_PLAIN: Final[Mapping[str, Callable[[str], str | None]]] = {
    "boxed": _boxed,
    "last_number": _last_number,
    "last_math": _last_math,
    "fenced": _fenced,
    "choice": _choice,
    "whole": lambda text: text,
}
