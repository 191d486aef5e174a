"""A user's own judge: one Python file with VERSION, `extract` and `judge`. Read, never executed.

    VERSION = 1

    def extract(problem, text):     # the answer in a completion, or None
        ...

    def judge(problem, answer):     # True or False, or (True or False, a canonical form)
        ...

What stands at the top of the file is found in its syntax. So a launch, `status` and `fit` know the
judge without running a line of it.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.errors import UsageError

FUNCTIONS: Final = ("extract", "judge")
MODULE: Final = "own_judge"
"""The name under which the file is executed."""
DIGEST_CHARACTERS: Final = 16
"""Of a digest in hexadecimal, as a setting."""


@dataclass(frozen=True, slots=True)
class JudgeSource:
    """What a file says. version: its VERSION as a text. digest: of its bytes, shortened.

    imports: the modules that it imports at its top, as it writes them.
    """

    text: str
    version: str
    digest: str
    imports: tuple[str, ...]


def read_source(path: Path) -> JudgeSource:
    """Read a judge's file. Raises `UsageError`, which names it, for one that cannot be a judge."""
    try:
        data = path.read_bytes()
        text = data.decode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise UsageError(f"{where}: not Python: {getattr(error, 'msg', error)}") from None
    bound = {name for statement in body for name in _bound(statement)}
    for name in FUNCTIONS:
        if name not in bound:
            raise UsageError(
                f"{path}: has no function {name!r}; a judge has VERSION, extract(problem, text) "
                "and judge(problem, answer)"
            )
    return JudgeSource(
        text=text,
        version=_version(body, path),
        digest=hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS],
        imports=tuple(dict.fromkeys(_imports(body, path))),
    )


def check_imports(source: JudgeSource, path: Path) -> None:
    """Raise `UsageError` if the file imports at its top what this node lacks."""
    for name in source.imports:
        top = name.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            raise UsageError(
                f"{path}: imports {top}, which is not installed on this node; install it (a judge "
                "is one file: it imports none that lie beside it)"
            )


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top binds."""
    match statement:
        case ast.FunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)


def _version(body: list[ast.stmt], path: Path) -> str:
    """The VERSION that the file assigns last: a whole number or a text."""
    found: ast.expr | None = None
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="VERSION")], value=value):
                found = value
            case ast.AnnAssign(target=ast.Name(id="VERSION"), value=ast.expr() as value):
                found = value
    version = found.value if isinstance(found, ast.Constant) else None
    if type(version) not in (int, str) or not str(version).strip():
        raise UsageError(f"{path}: VERSION is missing, or no number or text; write VERSION = 1")
    return str(version)


def _imports(body: list[ast.stmt], path: Path) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(level=level) if level:
                raise UsageError(
                    f"{path}, line {statement.lineno}: imports a file beside it; put all in one"
                )
            case ast.ImportFrom(module=str() as module):
                yield module
