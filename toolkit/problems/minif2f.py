"""MiniF2F: statements of competition mathematics, to be proved in Lean 4 or in Metamath."""

import json
import re
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.problems.rows import checked, filled, read_rows
from toolkit.records import Problem

_SORRY = re.compile(r":=\s*(?:by\s+)?sorry\s*\Z")
_LEAN_HEADER = re.compile(r"\A(.*?)(?=^(?:theorem|lemma)\s)", re.DOTALL | re.MULTILINE)
BROKEN = ("aime-1994-p3",)
"""Statements that Metamath cannot read as published: one label stands for two things."""
_NOTE = re.compile(r"\$@\s*(\([^@$]*\))\s*\$@")
_PROOF = re.compile(r"\$=(.*?)\$\.", re.DOTALL)


def read_minif2f_lean(path: Path, split: str = "test") -> list[Problem]:
    """The Lean 4 statements of one split. `UsageError` names row and field.

    Fields: name, split, and `formal_statement` with `header`, or `lean`: a whole file that ends in
    `sorry`. The reference holds header and statement; the statement ends in `:= by`.
    """
    found = []
    for where, row in read_rows(path):
        if row.get("split") not in (None, split):
            continue
        header, statement = _lean_parts(row, where)
        problem = Problem(
            task_id=f"minif2f/{filled(row, 'name', where)}",
            prompt=f"{header}{statement}",
            kind="proof",
            reference=json.dumps({"statement": statement, "header": header}),
        )
        found.append((where, problem))
    return checked(found, path)


def _lean_parts(row: dict[str, object], where: str) -> tuple[str, str]:
    """(header, statement): imports and options, and the theorem up to `:= by`."""
    if row.get("formal_statement") is not None:
        header, text = str(row.get("header") or ""), filled(row, "formal_statement", where)
    else:
        whole = filled(row, "lean", where)
        match = _LEAN_HEADER.match(whole)
        if match is None:
            raise UsageError(f"{where}: field 'lean': has no theorem")
        header, text = match[1], whole[match.end() :]
    text = _SORRY.sub(":= by", text.rstrip()).rstrip()
    if not text.endswith((":=", ":= by")):
        raise UsageError(f"{where}: the statement ends neither in `:= by` nor in `sorry`")
    return header, text.removesuffix("by").rstrip() + " by\n"


def read_minif2f_metamath(path: Path, split: str = "test") -> list[Problem]:
    """The Metamath statements of one split but `BROKEN`. `UsageError` names row and field.

    Fields: name, split, metamath. The reference holds the statement in Metamath's own form, with
    `?` in place of the proof. Where the file has a proof, it is the problem's solution.
    """
    found = []
    for where, row in read_rows(path):
        if row.get("split") not in (None, split):
            continue
        name = filled(row, "name", where)
        if name in BROKEN:
            continue
        text = _metamath(filled(row, "metamath", where))
        if not re.search(rf"(?:^|\s){re.escape(name)}\s+\$p\s", text):
            raise UsageError(f"{where}: field 'metamath': does not state {name} by $p")
        proof = _PROOF.search(text)
        if proof is None:
            raise UsageError(f"{where}: field 'metamath': has no place for a proof ($= ... $.)")
        steps = proof[1].strip()
        statement = text[: proof.start()] + "$= ? $." + text[proof.end() :]
        problem = Problem(
            task_id=f"minif2f/{name}",
            prompt=statement,
            kind="proof",
            reference=json.dumps({"name": name, "statement": statement}),
            solution="" if "?" in steps.split() else steps,
        )
        found.append((where, problem))
    return checked(found, path)


def _metamath(text: str) -> str:
    """The statement in Metamath's form. Most of the published files hold it in a comment.

    There `@` stands for `$`, and `$@` for the end of a hypothesis and for both ends of a comment.
    """
    text = text.strip()
    if text.startswith("$(") and text.endswith("$)") and "@p" in text:
        text = text[2:-2].strip()
        text = _NOTE.sub(r"$( \1 $)", text).replace("$@", "$.")
        text = re.sub(r"(?<!\S)@([{}()epd=.])(?!\S)", r"$\1", text)
    return text + "\n"
