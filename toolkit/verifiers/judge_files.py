"""The files that decide verdicts beside the toolkit: a user's command or Python file, a database of
theorems.

Their digests are settings of the judge, so another file is another judge.
"""

import functools
import hashlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from toolkit.errors import UsageError
from toolkit.records import Setting
from toolkit.verifiers.judge_source import DIGEST_CHARACTERS, read_source

METAMATH_VARIABLE: Final = "METAMATH_DATABASE"
"""The environment variable that names set.mm."""
METAMATH_DATABASE: Final = "/usr/share/metamath/databases/set.mm"
"""Where Debian's package has it."""


def settings_of_files(kind: str, settings: Mapping[str, Setting], task: Path) -> dict[str, Setting]:
    """What a judge's settings say of its files. task: the TOML file, which paths are beside.

    Raises `UsageError` for a command, or a Python file, that cannot be.
    """
    folder = str(task.parent.absolute())
    if kind == "file":
        return {"folder": folder, **_settings_of_source(str(settings.get("file", "")), folder)}
    if kind == "command":
        words = command_words(str(settings.get("command", "")))
        return {"folder": folder, "digest": files_digest(named_paths(words, folder))}
    if kind == "proof" and settings.get("prover", "metamath") == "metamath":
        path = Path(os.environ.get(METAMATH_VARIABLE, METAMATH_DATABASE))
        return {"digest": file_digest(path) if path.is_file() else ""}
    return {}


def _settings_of_source(name: str, folder: str) -> dict[str, Setting]:
    """Of a judge's Python file. Raises `UsageError` for one that cannot be."""
    if not name:
        raise UsageError("file is missing; name the judge's Python file, such as file = 'check.py'")
    if not is_beside(name, folder) or not (Path(folder) / name).is_file():
        raise UsageError(
            f"file = {name!r}: no such file in {folder}; put it beside the task's file"
        )
    source = read_source(Path(folder) / name)
    return {"digest": source.digest, "own_version": source.version}


def command_words(command: str) -> list[str]:
    """The words of a command. Raises `UsageError` for one that cannot be."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"command = {command!r}: {error}") from None
    if not words:
        raise UsageError("command is missing; write one such as 'python3 check.py {answer}'")
    if not any("{answer}" in word for word in words):
        raise UsageError(
            f"command = {command!r}: has no {{answer}}, the file with the answer; add it"
        )
    return words


def named_paths(words: list[str], folder: str) -> list[Path]:
    """What a command names beside its task: files, and whole folders for files in them. Sorted.

    The command reads nothing else of the task's directory.
    """
    found = {Path(folder) / Path(word).parts[0] for word in words if is_beside(word, folder)}
    return sorted(found)


def is_beside(word: str, folder: str) -> bool:
    """Whether a word of a command names a file or a folder beside its task."""
    path = Path(word)
    is_inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return is_inside and (Path(folder) / path).exists()


def files_digest(paths: list[Path]) -> str:
    """SHA-256 over names and contents of these files, and of those in these folders, shortened."""
    whole = hashlib.sha256()
    for top in paths:
        inside = sorted(p for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for path in [top] if top.is_file() else inside:
            name = str(path.relative_to(top.parent)).encode("utf-8", "surrogateescape")
            whole.update(hashlib.sha256(name).digest())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:DIGEST_CHARACTERS]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, shortened."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_CHARACTERS]
