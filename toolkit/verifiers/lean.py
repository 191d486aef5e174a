"""Proofs in Lean 4, checked by `lean` in the environment of a project with Mathlib.

This prover is untested: no machine of its authors can install Lean.

A problem's reference is {header, statement, name}: imports, and a theorem up to `:= by`. An answer
is what follows. The environment variable `LEAN_PROJECT` names the project, already built. Its
`lake env` is asked once for the paths, outside the sandbox. The answer is then checked inside it.

Lean accepts `sorry` and a model's own axiom. So the answer may hold no word that begins a command,
and at the end stands `#print axioms`, which must name none but those of Mathlib.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import Problem
from toolkit.sandbox.confine import Limits
from toolkit.verifiers.prover import Program, Refused

LEAN_VARIABLE: Final = "LEAN_PROJECT"
_FILE: Final = "answer.lean"
_AXIOMS: Final = frozenset({"propext", "Classical.choice", "Quot.sound"})
_NAME: Final = re.compile(r"(?:theorem|lemma)\s+(\S+)")
_GAP: Final = re.compile(r"(?<![\w.])(sorry|admit|sorryAx)(?![\w'])")
_COMMAND: Final = re.compile(
    r"(?<![\w.])(axiom|theorem|lemma|def|abbrev|instance|example|opaque|inductive|structure|class"
    r"|macro|macro_rules|syntax|elab|elab_rules|notation|infix[lr]?|prefix|postfix|attribute"
    r"|set_option|import|namespace|section|end|universe|variable|export|initialize|builtin_\w+"
    r"|unsafe|partial|private|protected|noncomputable|scoped|local|deriving|declare_\w+|run_\w+"
    r"|mutual|native_decide|dbg_trace|trace|logInfo)(?![\w'])|#\w+|@\["
)
_ANSWER: Final = re.compile(
    r"^'[^'\n]+' (?:depends on axioms: \[([^\]]*)\]|does not depend on any axioms)", re.MULTILINE
)
_STATEMENT_END: Final = re.compile(r":=\s*by\b")
_PROJECT_SECONDS: Final = 60


class Lean:
    """See `Prover`. Raises `UsageError` where this node lacks `lake` or the project."""

    limits = Limits(memory_bytes=64 << 30, tree_bytes=8 << 30)  # it maps Mathlib's files

    def __init__(self) -> None:
        self._program, self._environment, self.readable = _asked(*_on_node())

    def program(self, problem: Problem, proof: str) -> Program:
        """See `Prover.program`."""
        given = json.loads(problem.reference)
        statement = str(given["statement"])
        name = _NAME.search(statement)
        if name is None:
            raise UsageError(f"{problem.task_id}: the statement is no theorem")
        check_proof(proof)
        text = (
            f"{given.get('header', '')}{statement.rstrip()}\n{proof}\n\n#print axioms {name[1]}\n"
        )
        return Program((self._program, _FILE), {_FILE: text}, self._environment)

    def objection(self, output: str) -> str:
        """See `Prover.objection`."""
        answers = list(_ANSWER.finditer(output))
        if len(answers) != 1:
            return " ".join(output.split()[:40]) or "lean says nothing of the axioms"
        axioms = set(filter(None, re.split(r"[,\s]+", answers[0][1] or "")))
        strange = sorted(axioms - _AXIOMS)
        return f"the proof rests on {strange[0]}" if strange else ""


def check_lean() -> None:
    """Raise `UsageError` if this node lacks `lake` or the project."""
    _on_node()


def proof_in(text: str) -> str:
    """The tactics in a completion: what follows `:= by`, if the statement is there."""
    begin = _STATEMENT_END.search(text)
    if begin and _NAME.search(text, 0, begin.start()):
        text = text[begin.end() :]
    text = text.rstrip().lstrip("\n")
    return text if text[:1].isspace() else f"  {text}" if text else ""


def check_proof(proof: str) -> None:
    """Raise `Refused` if the proof has a gap, or holds a command."""
    if gap := _GAP.search(proof):
        raise Refused(f"the proof has a gap: {gap[1]}")
    if command := _COMMAND.search(proof):
        raise Refused(f"a proof is tactics, without {command[0]!r}", "syntax")


def _on_node() -> tuple[str, str]:
    """`lake`, and the project."""
    lake, project = shutil.which("lake"), os.environ.get(LEAN_VARIABLE, "")
    if lake is None:
        raise UsageError(
            "judge proof: lake (Lean 4) is not installed on this node; install it by elan, or "
            "leave this task out"
        )
    if not Path(project, "lean-toolchain").is_file():
        raise UsageError(
            f"judge proof: {LEAN_VARIABLE} = {project!r} is no project of Lean; name one that has "
            "Mathlib and is built"
        )
    return lake, project


def _asked(lake: str, project: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """`lean`'s path, its variables, and what it reads, as the project's `lake env` says."""
    script = 'lean --print-prefix && printf "%s" "$LEAN_PATH"'
    done = subprocess.run(
        [lake, "env", "sh", "-c", script],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=_PROJECT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        why = " ".join(done.stderr.split())[:200]
        raise UsageError(f"judge proof: lake env fails in {project}: {why}")
    prefix, _, path = done.stdout.partition("\n")
    readable = (prefix, *(os.path.realpath(p, strict=False) for p in path.split(":") if p))
    return f"{prefix}/bin/lean", {"LEAN_PATH": path}, readable
