"""What a node offers to a run, found out by trying: the findings of `jobs/doctor.py`."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import WriteFailure
from toolkit.files import publish_once, replace_file

Grade = Literal["ok", "warn", "fail"]
ROOM_WANTED = 10 << 30
"""Bytes free below which a long run is at risk: 1.6 M completions take some gigabytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` says what to do where it is not ok."""

    grade: Grade
    subject: str
    found: str
    remedy: str = ""

    def line(self) -> str:
        """For the terminal."""
        tail = f"; {self.remedy}" if self.remedy else ""
        return f"{self.grade:4}  {self.subject:12}  {self.found}{tail}"


def examine_directory(runs: Path) -> Iterator[Finding]:
    """Whether runs can live in `runs`: room, and the renaming and linking that make files appear
    whole. Makes and removes two small files; a missing directory is looked at where it would be.
    """
    folder = runs.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    room = f"{free / 2**30:.0f} GiB free in {folder}"
    if free < ROOM_WANTED:
        yield Finding("warn", "room", room, "enough for a small run only: name another --runs")
    else:
        yield Finding("ok", "room", room)
    name = folder / f".doctor-{secrets.token_hex(4)}"
    other = name.with_suffix(".once")
    try:
        replace_file(name, b"new")
        once = publish_once(other, b"one") and not publish_once(other, b"two")
    except WriteFailure as error:
        found, once = str(error).partition(";")[0], False
    else:
        found = "a renamed file replaces, a linked one never does"
    finally:
        name.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    if once:
        yield Finding("ok", "files", found)
    else:
        remedy = "name a --runs that this user may write, on a file system with links"
        yield Finding("fail", "files", found, remedy)
