"""What a study remembers: which runs it launched, and where they are.

`campaigns/NAME/record.json` is no ledger. Whether a run is done stands in the run. The record says
which directory belongs to which name, also of runs that are no longer in the study file. It also
says which slots of the bound on parallel tasks a run was given. It is replaced as a whole.
"""

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from toolkit.campaigns.study import StudyRun
from toolkit.cli import job_command
from toolkit.errors import CorruptShard
from toolkit.files import make_directory, replace_file
from toolkit.runs.run import Run

RECORD = "record.json"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that was launched. path: its directory, absolute. asked: what the study file said.

    slots: of the bound on parallel tasks, those of its sampling; None where there was no bound.
    until_end: whether it holds them until all its jobs have ended, as an adaptive run does.
    in_study: whether the study file had it when the study was launched last.
    """

    path: str
    asked: str
    slots: list[int] | None = None
    until_end: bool = False
    in_study: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """Of one study. id: 8 hex digits, in the names of its own jobs. runs: by their names."""

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    runs: Mapping[str, RunRecord] = field(default_factory=dict)

    def with_run(self, name: str, run: RunRecord) -> "Record":
        """With this run under this name. Another run that had it stays, under a name of its own."""
        runs, old = dict(self.runs), self.runs.get(name)
        if old is not None and old.path != run.path:
            runs[f"{name}~{Path(old.path).name[-8:]}"] = replace(old, in_study=False)
        return replace(self, runs={**runs, name: run})

    def of_study(self, names: Collection[str]) -> "Record":
        """With the runs of these names as those of the study; others stay beside it."""
        runs = {name: replace(run, in_study=name in names) for name, run in self.runs.items()}
        return replace(self, runs=runs)


def asked(run: StudyRun) -> str:
    """What a study file says of a run, as one text: the same text stands for the same run."""
    said = {"flags": dict(run.flags), "preset": run.preset, "path": run.path}
    return json.dumps(said, sort_keys=True)


def read_record(directory: Path) -> Record:
    """The record of a study; an empty one before its first launch. Raises `CorruptShard`."""
    path = directory / RECORD
    try:
        found: Any = json.loads(path.read_bytes())
        known = {f.name for f in fields(RunRecord)}
        runs = {
            name: RunRecord(**{key: run[key] for key in known & run.keys()})
            for name, run in found["runs"].items()
        }
        return Record(str(found["id"]), runs)
    except FileNotFoundError:
        return Record()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise CorruptShard(
            f"{path}: damaged; delete it, and start `{job_command('campaign')}` again: it finds "
            "the runs that exist"
        ) from None


def launched_runs(record: Record) -> dict[str, Run]:
    """The runs of a study that exist, by their names."""
    found = {name: Run(Path(run.path)) for name, run in record.runs.items()}
    return {name: run for name, run in found.items() if (run.path / "manifest.json").is_file()}


def write_record(directory: Path, record: Record) -> None:
    """Replace the record. Raises `WriteFailure`."""
    make_directory(directory)
    replace_file(directory / RECORD, json.dumps(asdict(record), indent=1).encode() + b"\n")
