"""LiveCodeBench: programs that read and write, and methods of a class, in the published JSONL."""

import base64
import binascii
import json
import pickletools
import zlib
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.rows import (
    checked,
    filled,
    form_asked,
    function_tests,
    read_rows,
    stdin_reference,
    stdin_tests,
)
from toolkit.records import Problem

_MOST_BYTES = 1 << 30
"""Of the hidden tests of one problem. The largest have some hundred megabytes."""
_PICKLED_TEXT = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_BESIDE_TEXT = {"PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"}
"""The opcodes of a pickle that holds a text alone, beside that of the text."""


def read_livecodebench(path: Path) -> list[Problem]:
    """The problems of a published file. `UsageError` names row and field.

    Fields: question_id, question_content, starter_code, metadata, public_test_cases and
    private_test_cases. The last is JSON, or JSON that was pickled, compressed and put in base64.
    LeetCode's problems have starter_code, and the name of a method (func_name) in metadata.
    """
    found = []
    for where, row in read_rows(path):
        cases = [
            *_cases(filled(row, "public_test_cases", where), where, "public_test_cases"),
            *_hidden(filled(row, "private_test_cases", where), where),
        ]
        problem = Problem(
            task_id=f"livecodebench/{filled(row, 'question_id', where)}",
            prompt=f"{filled(row, 'question_content', where).strip()}\n\n"
            f"{form_asked(str(row.get('starter_code') or ''))}",
            kind="stdin",
            reference=_reference(row, cases, where),
        )
        found.append((where, problem))
    return checked(found, path)


def _reference(row: dict[str, Any], cases: list[dict[str, Any]], where: str) -> str:
    field = "private_test_cases"
    inputs, outputs = ([case.get(name) for case in cases] for name in ("input", "output"))
    if all(case.get("testtype") == "stdin" for case in cases):
        return stdin_reference(stdin_tests(inputs, outputs, where, field), where, field)
    try:
        function = json.loads(row.get("metadata") or "{}").get("func_name")
        arguments = [
            [json.loads(line) for line in str(text).split("\n") if line.strip()] for text in inputs
        ]
        values = [json.loads(str(text)) for text in outputs]
    except (TypeError, ValueError, AttributeError):
        raise UsageError(f"{where}: field {field!r}: a method's test is not JSON") from None
    if not isinstance(function, str) or not function:
        raise UsageError(f"{where}: field 'metadata': names no method (func_name)")
    tests = function_tests(arguments, values, where, field)
    return stdin_reference(tests, where, field, function=function)


def _cases(text: str, where: str, field: str) -> list[dict[str, Any]]:
    try:
        cases = json.loads(text)
    except ValueError:
        raise UsageError(f"{where}: field {field!r}: is not JSON") from None
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise UsageError(f"{where}: field {field!r}: is no list of objects")
    return cases


def _hidden(text: str, where: str) -> list[dict[str, Any]]:
    field = "private_test_cases"
    if text.lstrip().startswith("["):
        return _cases(text, where, field)
    try:
        expand = zlib.decompressobj()
        packed = expand.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        unpacked = _pickled_text(packed)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise UsageError(f"{where}: field {field!r}: cannot be unpacked: {error}") from None
    return _cases(unpacked, where, field)


def _pickled_text(pickled: bytes) -> str:
    """The text in a pickle that holds one text and nothing else.

    A pickle is a program, and nothing of it is executed here: its opcodes are read. Raises
    `ValueError` if there is any other opcode, or not one text.
    """
    texts = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in _PICKLED_TEXT:
            texts.append(str(argument))
        elif opcode.name not in _BESIDE_TEXT:
            raise ValueError(f"it is more than a text: it has the opcode {opcode.name}")
    if len(texts) != 1:
        raise ValueError(f"it holds {len(texts)} texts")
    return texts[0]
