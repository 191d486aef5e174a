"""Proofs in Metamath, verified by the program `metamath` against set.mm.

A problem's reference is {statement}: hypotheses and a `$p` statement, with `$= ? $.` in place of
the proof. An answer is the proof's steps: labels and parentheses, in normal or compressed form. So
it can bring neither statements nor comments, and a gap (`?`) is none of its words.

`metamath` ends with status 0 whatever it finds, so its words count: it must say that all proofs
were verified, and nothing else that it marks with `?`. Each step stands on a line of its own, so no
line that `metamath` repeats of the proof can be that sentence.

Reading all of set.mm would take a second for each proof. What a proof can use of it is the language
(constants, variables, syntax) and the statements that it names, and only those are given. Their own
proofs are left out, so each stands there as an axiom. A theorem of set.mm that has a gap itself is
left out.

A proof may use variables that its statement does not have. They are fresh, whatever their names, so
they are declared distinct from all others: that weakens no theorem.
"""

import functools
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import Problem
from toolkit.sandbox.confine import Limits
from toolkit.verifiers.judge_files import METAMATH_DATABASE, METAMATH_VARIABLE, file_digest
from toolkit.verifiers.prover import Program, Refused

_PLACE: Final = re.compile(r"\$=\s+\?\s+\$\.")
_STEP: Final = re.compile(r"[A-Za-z0-9._-]+|[()]")
_COMMENT: Final = re.compile(r"\$\(\s.*?\s\$\)", re.DOTALL)
_PROOF: Final = re.compile(r"\$=([^$]*)\$\.")
_GAP: Final = "$?"
"""Stands in place of a proof with a gap, while a database is read."""
_STATEMENT: Final = re.compile(
    r"\$\{|\$\}|(?:([^\s$]+)\s+)?\$([cvfeadp])\s+([^$]*)(\$\.|\$\?)", re.DOTALL
)
_LABEL: Final = re.compile(r"(\S+)\s+\$[aefp]\s")
_VERIFIED: Final = re.compile(r"^All proofs in the database were verified in ", re.MULTILINE)
_OBJECTION: Final = re.compile(r"^\?.*(?:\n(?!MM>|\.).*){0,4}", re.MULTILINE)
_FILE: Final = "answer.mm"


@dataclass(frozen=True, slots=True)
class Database:
    """What proofs may use of a database.

    language: constants, variables and syntax, in their order. parts: the other assertions, each
    with its hypotheses. part_of: label of an assertion -> index in `parts`. variable_of: label of
    a `$f` statement -> its variable.
    """

    language: str
    parts: tuple[str, ...]
    part_of: dict[str, int]
    variable_of: dict[str, str]

    def used(self, labels: set[str]) -> str:
        """The assertions that have these labels, in their order."""
        found = {self.part_of[label] for label in labels if label in self.part_of}
        return "\n".join(self.parts[index] for index in sorted(found))


def read_database(text: str, where: str) -> Database:
    """Read a database, set.mm or another. Raises `UsageError` for one in several files."""
    text = _COMMENT.sub(" ", text)
    if "$[" in text:
        raise UsageError(f"{where}: includes other files; write it as one, by `write source`")
    text = _PROOF.sub(lambda proof: _GAP if "?" in proof[1] else "$.", text)
    language: list[str] = []
    parts: list[str] = []
    part_of: dict[str, int] = {}
    variable_of: dict[str, str] = {}
    for block in _outer_blocks(text):
        labels = []
        is_language = False
        for label, sort, content, _ in block:
            if sort == "f":
                variable_of[label] = content.split()[1]
            if sort in "ap":
                labels.append(label)
            is_language |= sort in "cvf" or (sort in "ap" and content.split()[:1] != ["|-"])
        if is_language:
            language.append(_written(block))
        elif labels:
            part_of |= dict.fromkeys(labels, len(parts))
            parts.append(_written(block))
    return Database("\n".join(language), tuple(parts), part_of, variable_of)


_Statement = tuple[str, str, str, str]
"""(label, sort, content, end) of a statement; the sort of a brace is the brace."""


def _outer_blocks(text: str) -> Iterator[list[_Statement]]:
    """The statements of the outer level, and each block of it with all that it holds."""
    depth = 0
    block: list[_Statement] = []
    for found in _STATEMENT.finditer(text):
        if found[2] is None:
            depth += 1 if found[0] == "${" else -1
            block.append(("", found[0], "", ""))
        elif found[4] != _GAP:
            block.append((found[1] or "", found[2], found[3], found[4]))
        if depth == 0:
            yield block
            block = []


def _written(block: list[_Statement]) -> str:
    """The block without proofs: each theorem stands as an axiom."""
    return "\n".join(
        sort if not content else f"{label} ${'a' if sort == 'p' else sort} {content} $."
        for label, sort, content, _ in block
    )


class Metamath:
    """See `Prover`. digest: what the database's `file_digest` must be, "" for any.

    Raises `UsageError` where this node lacks the program or the database.
    """

    readable: tuple[str, ...] = ()
    limits = Limits()

    def __init__(self, digest: str) -> None:
        program, path = _on_node(digest)
        self._program = program
        self._database = _read(path)

    def program(self, problem: Problem, proof: str) -> Program:
        """See `Prover.program`."""
        statement = read_statement(problem)
        steps = steps_of(proof)
        bare = _COMMENT.sub(" ", statement)
        labels = set(steps) - set(_LABEL.findall(bare))
        fresh = self._fresh(labels, set(bare.split()))
        text = (
            f"{self._database.language}\n{self._database.used(labels)}\n"
            "${\n" + fresh + _PLACE.sub(lambda _: "$=\n" + "\n".join(steps) + "\n$.", statement)
        )
        argv = (self._program, f"read {_FILE}", "verify proof *", "exit")
        return Program(argv, {_FILE: text + "\n$}\n"})

    def objection(self, output: str) -> str:
        """See `Prover.objection`."""
        objection = _OBJECTION.search(output)
        if objection is None and _VERIFIED.search(output):
            return ""
        return " ".join(objection[0].split()) if objection else "metamath has verified nothing"

    def _fresh(self, labels: set[str], words: set[str]) -> str:
        """What declares the variables distinct that the proof has, and its statement has not."""
        variable_of = self._database.variable_of
        used = {variable_of[label] for label in labels if label in variable_of}
        own = set(variable_of.values()) & words
        pairs = combinations(sorted(used | own), 2)
        return "".join(f"$d {a} {b} $.\n" for a, b in pairs if not {a, b} <= own)


def check_metamath(digest: str) -> None:
    """Raise `UsageError` if this node lacks metamath, or the database with this digest."""
    _on_node(digest)


def read_statement(problem: Problem) -> str:
    """A problem's statement. Raises `UsageError` if it has not one place for a proof."""
    statement = str(json.loads(problem.reference)["statement"])
    if len(_PLACE.findall(_COMMENT.sub(" ", statement))) != 1:
        raise UsageError(
            f"{problem.task_id}: the statement must hold `$= ? $.` once, in place of its proof"
        )
    return statement


def proof_in(text: str) -> str:
    """The steps in a completion: what stands before `$.`, and after `$=` if the statement is there.

    Equal proofs give equal texts.
    """
    text = text.partition("$=")[2] if "$=" in text else text
    return " ".join(text.partition("$.")[0].split())


def steps_of(proof: str) -> list[str]:
    """The steps of a proof. Raises `Refused` for any other word."""
    steps = proof.split()
    for step in steps:
        if "?" in step:
            raise Refused("the proof has a gap: ?")
        if not _STEP.fullmatch(step):
            raise Refused(f"a proof is labels and parentheses, not {step[:60]!r}", "syntax")
    return steps


def _on_node(digest: str) -> tuple[str, Path]:
    """The program, and the database with this digest."""
    program = shutil.which("metamath")
    path = Path(os.environ.get(METAMATH_VARIABLE, METAMATH_DATABASE))
    if program is None:
        raise UsageError(
            "judge proof: metamath is not installed on this node; "
            "apt-get install metamath metamath-databases, or leave this task out"
        )
    if not path.is_file():
        raise UsageError(
            f"judge proof: there is no {path} on this node; apt-get install metamath-databases, "
            f"or name set.mm by {METAMATH_VARIABLE}"
        )
    if digest and file_digest(path) != digest:
        raise UsageError(
            f"judge proof: {path} is not the database that the run was launched with; name that "
            f"one by {METAMATH_VARIABLE}: its SHA-256 begins with {digest}"
        )
    return os.path.realpath(program), path


@functools.lru_cache(maxsize=1)
def _read(path: Path) -> Database:
    return read_database(path.read_text(encoding="ascii", errors="replace"), str(path))
