"""Proofs in Coq, checked by `coqc`.

A problem's reference is {statement, name, header}: `Theorem name : ... .`, its name, and what
stands before it, such as `Require Import Lia.`. An answer is the text between `Proof.` and `Qed.`.

`coqc` accepts `Admitted` and a model's own axiom. So an answer is tactics only: each of its
sentences begins with a small letter, and all commands of Coq begin with a capital one. Comments are
taken out, and texts in quotes are refused, as they could hide a command. At the end stands
`Print Assumptions`, which must say that there are none.
"""

import json
import os
import re
import shutil
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import Problem
from toolkit.sandbox.confine import Limits
from toolkit.verifiers.prover import Program, Refused

_FILE: Final = "answer.v"
_COMMENT: Final = re.compile(r"\(\*(?:(?!\(\*|\*\)).)*\*\)", re.DOTALL)
_CONFIGURATION: Final = ("/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d")
"""What `coqc` reads outside /usr."""
_SHELL: Final = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&1')
"""Executes a program whose errors are part of the output."""
_MOST_NESTED: Final = 20
_SENTENCE_END: Final = re.compile(r"\.(?=[\s{}]|$)")
_TACTICS: Final = re.compile(r"\s*(?:\d{1,4}\s*:\s*|[-+*]+\s*|[\[({}]\s*)*\s*(?:[a-z_]|$)")
_CLOSED: Final = "Closed under the global context"
_QED: Final = re.compile(r"^\s*(?:Qed|Defined)\s*\.", re.MULTILINE)
_BEGINNING: Final = re.compile(r"^\s*Proof\s*\.", re.MULTILINE)


class Coq:
    """See `Prover`. Raises `UsageError` where this node lacks `coqc`."""

    readable: tuple[str, ...] = _CONFIGURATION
    limits = Limits()

    def __init__(self) -> None:
        self._program = _on_node()

    def program(self, problem: Problem, proof: str) -> Program:
        """See `Prover.program`."""
        given = json.loads(problem.reference)
        name = given.get("name")
        if not name:
            raise UsageError(f"{problem.task_id}: field 'name' is missing: the theorem's name")
        text = "\n".join(
            [
                str(given.get("header", "")),
                str(given["statement"]),
                "Proof.",
                tactics_of(proof),
                "Qed.",
                f"Print Assumptions {name}.",
            ]
        )
        return Program((*_SHELL, self._program, "-q", _FILE), {_FILE: text + "\n"})

    def objection(self, output: str) -> str:
        """See `Prover.objection`."""
        lines = output.strip().splitlines()
        if lines and lines[-1].strip() == _CLOSED:
            return ""
        return " ".join(lines[-5:]) or "coqc refuses the proof"


def check_coq() -> None:
    """Raise `UsageError` if this node lacks `coqc`."""
    _on_node()


def proof_in(text: str) -> str:
    """The tactics in a completion: what is between `Proof.` and `Qed.`, where they are there."""
    if begin := _BEGINNING.search(text):
        text = text[begin.end() :]
    end = _QED.search(text)
    return (text[: end.start()] if end else text).strip()


def tactics_of(proof: str) -> str:
    """The proof without comments. Raises `Refused` if it holds more than tactics."""
    for _ in range(_MOST_NESTED):
        proof, count = _COMMENT.subn(" ", proof)
        if not count:
            break
    if any(sign in proof for sign in ("(*", "*)", '"')):
        raise Refused("a proof may hold no text in quotes, and no comment without an end", "syntax")
    for sentence in _SENTENCE_END.split(proof):
        if not _TACTICS.match(sentence):
            shown = " ".join(sentence.split())[:60]
            raise Refused(f"a proof is tactics, which {shown!r} is not", "syntax")
        if re.match(r"\s*(?:admit|give_up)\b", sentence):
            raise Refused("the proof has a gap: admit")
    return proof


def _on_node() -> str:
    program = shutil.which("coqc")
    if program is None:
        raise UsageError(
            "judge proof: coqc is not installed on this node; apt-get install coq, or leave this "
            "task out"
        )
    return os.path.realpath(program)
