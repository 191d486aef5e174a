"""Regular expressions of a user on texts of a model, in bounded time.

Python's own matcher goes back and tries again. For some patterns and texts that takes exponential
time: `(a+)+b` on a hundred times a. Here all ways to match go forward together, a character at a
time, as in Pike's machine (Russ Cox, "Regular Expression Matching: the Virtual Machine Approach",
2009). So a match takes time linear in the text. It is the match that `re` finds, but where a
pattern repeats what may be empty.

The syntax is that of `re`, without what such a machine cannot do: references to groups, looking
ahead and behind, atomic groups and possessive repetition. Flags stand at the beginning: `(?i)`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from toolkit.errors import UsageError

_MAX_STEPS: Final = 500_000
"""Of all searches in a text: a second. Beyond it the text has no match."""
_MAX_PROGRAM: Final = 500
"""Instructions. Each costs time at each character."""
_TOKEN = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\(\?:|\{\d*(?:,\d*)?\}|.",
    re.DOTALL,
)
_COUNT = re.compile(r"\{(\d*)(?:(,)(\d*))?\}")
_FLAGS = re.compile(r"\(\?([aimsu]+)\)")
_PLACES: Final = ("^", "$", r"\b", r"\B", r"\A", r"\Z")
"""Atoms that match a place between characters."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An instruction. to: where it goes on, relative to itself; `also`: the second choice."""

    kind: Literal["character", "place", "split", "save", "match"]
    atom: re.Pattern[str] | None = None
    to: int = 1
    also: int = 0
    slot: int = 0


_Program = list[_Step]
_Slots = tuple[int, int, int, int]
"""Start and end of the match, start and end of group 1; -1 where there is none."""


class LinearRegex:
    """A pattern, ready to search. Raises `UsageError` where it is wrong, or cannot be used."""

    def __init__(self, pattern: str) -> None:
        try:
            self._has_group = re.compile(pattern).groups > 0
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(f"answer = regex:{pattern}: {error}") from None
        program = [_Step("save", slot=0), *_Parser(pattern).program(), _Step("save", slot=1)]
        self._program = [*program, _Step("match")]

    def last(self, text: str) -> str | None:
        """Group 1 of the last match, or the match if there is no group; None without a match."""
        found = self.searches(text).last()
        if found is None:
            return None
        start, end = found[2:] if self._has_group else found[:2]
        return text[start:end] if start >= 0 else None

    def searches(self, text: str) -> "Searches":
        """The searches for this pattern in a text."""
        return Searches(self._program, text)


class Searches:
    """The machine at work on one text. steps_left: of those that all its searches may take."""

    def __init__(self, program: _Program, text: str) -> None:
        self._program = program
        self._text = text
        self.steps_left = _MAX_STEPS

    def last(self) -> _Slots | None:
        """The last of the matches that do not overlap; None if there is none, or no step left."""
        found: _Slots | None = None
        at, advance = 0, False
        while at <= len(self._text) and (match := self._leftmost(at, advance)):
            found = match
            at, advance = match[1], match[0] == match[1]
        return found if self.steps_left > 0 else None

    def _leftmost(self, start: int, advance: bool) -> _Slots | None:
        """The leftmost match from `start` on; of several there, the one that `re` prefers.

        advance: a match at `start` must not be empty; one that is has been found there before.
        """
        found: _Slots | None = None
        threads: list[tuple[int, _Slots]] = []
        for at in range(start, len(self._text) + 1):
            going: list[tuple[int, _Slots]] = []
            seen: set[int] = set()
            for pc, slots in threads:
                self._follow(pc, slots, at, seen, going)
            if found is None:
                self._follow(0, (at, -1, -1, -1), at, seen, going)
            threads = []
            for pc, slots in going:
                step = self._program[pc]
                if step.kind == "match":
                    if advance and at == start:
                        continue
                    found = slots
                    break  # the threads after it are less preferred
                if at < len(self._text) and step.atom and step.atom.match(self._text, at):
                    threads.append((pc + 1, slots))
            if (found and not threads) or self.steps_left <= 0:
                break
        return found

    def _follow(
        self, pc: int, slots: _Slots, at: int, seen: set[int], going: list[tuple[int, _Slots]]
    ) -> None:
        """Add what can be reached without a character, in the order of preference."""
        todo = [(pc, slots)]
        while todo:
            pc, slots = todo.pop()
            self.steps_left -= 1
            if pc in seen:
                continue
            seen.add(pc)
            step = self._program[pc]
            if step.kind == "split":
                todo += [(pc + step.also, slots), (pc + step.to, slots)]
            elif step.kind == "save":
                saved = list(slots)
                saved[step.slot] = at
                todo.append((pc + 1, (saved[0], saved[1], saved[2], saved[3])))
            elif step.kind == "place":
                if step.atom and step.atom.match(self._text, at):
                    todo.append((pc + 1, slots))
            else:
                going.append((pc, slots))


class _Parser:
    """From a pattern that `re` accepts to a program."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        flags = _FLAGS.match(pattern)
        self._prefix = flags[0] if flags else ""
        self._tokens = _TOKEN.findall(pattern, len(self._prefix))
        self._at = 0
        self._groups = 0

    def program(self) -> _Program:
        """The whole pattern."""
        program = self._alternatives()
        if self._at < len(self._tokens):
            self._refuse(self._tokens[self._at])
        return program

    def _alternatives(self) -> _Program:
        first = self._sequence()
        if self._next() != "|":
            return first
        self._at += 1
        second = self._alternatives()
        over = _Step("split", to=len(second) + 1, also=len(second) + 1)
        return [_Step("split", to=1, also=len(first) + 2), *first, over, *second]

    def _sequence(self) -> _Program:
        program: _Program = []
        while self._next() not in ("", "|", ")"):
            program += self._repeated(self._atom())
            if len(program) > _MAX_PROGRAM:
                self._refuse("so much repetition")
        return program

    def _atom(self) -> _Program:
        token = self._next()
        self._at += 1
        if token in ("(", "(?:"):
            return self._group(captures=token == "(")
        if token[0] == "\\" and token[1].isdigit():
            self._refuse(token)
        kind: Literal["place", "character"] = "place" if token in _PLACES else "character"
        return [_Step(kind, re.compile(self._prefix + token))]

    def _group(self, *, captures: bool) -> _Program:
        if self._next() == "?":
            self._refuse("(?")
        self._groups += captures
        first = captures and self._groups == 1
        inside = self._alternatives()
        self._at += 1
        if not first:
            return inside
        return [_Step("save", slot=2), *inside, _Step("save", slot=3)]

    def _repeated(self, atom: _Program) -> _Program:
        token = self._next()
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(token) or _counts(token)
        if not bounds:
            return atom
        self._at += 1
        lazy = self._next() == "?"
        self._at += lazy
        if self._next() in ("*", "+", "?") or _counts(self._next()):
            self._refuse(token + self._next())
        low, high = bounds
        if len(atom) * max(low, high or 0) > _MAX_PROGRAM:
            self._refuse(token)

        def choose(enter: int, leave: int) -> _Step:
            return _Step("split", to=leave if lazy else enter, also=enter if lazy else leave)

        program = atom * low
        if high is None:
            loop = [*atom, _Step("split", to=-len(atom) - 1, also=-len(atom) - 1)]
            return [*program, choose(1, len(loop) + 1), *loop]
        for left in range(high - low, 0, -1):
            program += [choose(1, left * (len(atom) + 1)), *atom]
        return program

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _refuse(self, what: str) -> None:
        raise UsageError(
            f"answer = regex:{self._pattern}: {what!r} cannot be used here, because a match must "
            "take bounded time; write it without references, looking around, and possessive or "
            "very long repetition, or use another rule"
        )


def _counts(token: str) -> tuple[int, int | None] | None:
    """The bounds of `{2}`, `{2,}`, `{2,5}` or `{,5}`; None if the token is none of them."""
    found = _COUNT.fullmatch(token)
    if not found or token == "{}":
        return None
    low, comma, high = found.groups()
    if not comma:
        return int(low), int(low)
    return int(low or 0), int(high) if high else None
