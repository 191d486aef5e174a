"""The files of a run's results: their digests, and what is damaged of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import CorruptShard, ToolkitError
from toolkit.report.document import FIT_JSON, FitDocument, fit_command, read_fit

TABLES_AND_REPORTS = ("counts.parquet", "curve.parquet", "report.md", "report.html")
DRAWINGS = (".svg", ".png", ".pdf")
"""As `toolkit.report.style` writes them; `status` reads these names and imports no matplotlib."""


def digests_of_results(results: Path) -> dict[str, str]:
    """The SHA-256 of each file that fit writes into `results` before fit.json."""
    paths = [results / name for name in TABLES_AND_REPORTS]
    paths += sorted(p for p in (results / "figures").iterdir() if p.suffix in DRAWINGS)
    found = ((p, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths)
    return {path.relative_to(results).as_posix(): digest for path, digest in found}


def damaged_results(results: Path, document: FitDocument) -> list[Path]:
    """The files beside fit.json that are missing, or are not what was written."""
    damaged = []
    for name, digest in (document.files or {}).items():
        path = results / name
        try:
            whole = hashlib.sha256(path.read_bytes()).hexdigest() == digest
        except OSError:
            whole = False
        if not whole:
            damaged.append(path)
    return damaged


def verify_results(results: Path) -> Iterator[ToolkitError]:
    """What is wrong with the results of a run: one error for each file. None without results."""
    if not (results / FIT_JSON).is_file():
        return
    try:
        document = read_fit(results)
    except ToolkitError as error:
        yield error
        return
    for path in damaged_results(results, document):
        remedy = f"`{fit_command(results)}` makes it anew"
        yield CorruptShard(f"{path}: missing or damaged; {remedy}")
