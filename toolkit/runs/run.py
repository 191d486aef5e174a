"""A run on disk: its identity, its frozen plans and its parquet files.

    runs/<model slug>-<problems>-<digest8>/
      manifest.json         identity, default judge, first configuration, versions
      problems.parquet      frozen prompts and references
      rounds/r000.json      frozen plans, with the stopping rule if sampling is adaptive
      samples/<slice>.parquet    one shard for each finished slice
      partial/<slice>.parquet    what is finished of a slice that was interrupted
      answers/<slice>.parquet    which answer each sample of the shard gives (a cache)
      verdicts/*.parquet    outcomes of distinct answers, by judge
      judges/<name>.parquet references of a judge besides the run's own
      scores/<name>.parquet scores of the samples, such as a reward model's
      predictions/<name>.parquet what a harness elsewhere was given to judge
      isolation/<host>.json how a node confined what it executed
      launches.jsonl        what was launched, and as which jobs
      launching             who launches the run right now
      slurm/                scripts, pickles, logs
      quarantine/           damaged shards, moved aside
      results/              counts, curve, fit, figures, report; shards.parquet (a cache)
    runs/latest             symlink to the run last launched

Every file appears complete or not at all: it is written under a temporary name and then renamed.
Temporary names start with a dot, so that globs do not find them. What may befall these files
afterwards is in `toolkit.runs.damage`, and what helps in `toolkit.runs.tables`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, RunMismatch, UsageError
from toolkit.files import make_directory, publish_once, replace_file, sync_directory
from toolkit.records import Problem, PromptStyle, Slice
from toolkit.runs import format1
from toolkit.runs.problem_table import problems_frame, problems_in
from toolkit.runs.rounds import read_round, read_rule, round_name
from toolkit.runs.tables import json_bytes, parquet_names, read_json, remedy, write_table
from toolkit.stats.stopping import StoppingRule

FORMAT = 2
"""Version of the layout above. Runs of format 1 are read too (`toolkit.runs.format1`)."""


@dataclass(frozen=True, slots=True)
class Run:
    """The directory of a run. Making one is cheap: files are read only when a method needs them."""

    path: Path

    @property
    def samples_dir(self) -> Path:
        """Holds one shard for each finished slice."""
        return self.path / "samples"

    @property
    def partial_dir(self) -> Path:
        """Holds the finished samples of interrupted slices. Not there if none was interrupted."""
        return self.path / "partial"

    @property
    def answers_dir(self) -> Path:
        """Holds a map for each shard: the digest of each sample's answer.

        It is called `programs` in a run of format 1.
        """
        old = self.path / format1.ANSWERS_DIRECTORY
        return old if old.is_dir() else self.path / "answers"

    @property
    def verdicts_dir(self) -> Path:
        """Holds the outcomes of distinct answers, in batches."""
        return self.path / "verdicts"

    @property
    def judges_dir(self) -> Path:
        """Holds the references of judges besides the run's own. Not there if there is none."""
        return self.path / "judges"

    @property
    def scores_dir(self) -> Path:
        """Holds scores of the samples, one file for each scorer. Not there if there is none."""
        return self.path / "scores"

    @property
    def predictions_dir(self) -> Path:
        """Holds what a harness elsewhere was given to judge. Not there if it was given nothing."""
        return self.path / "predictions"

    @property
    def results_dir(self) -> Path:
        """Holds what fit writes."""
        return self.path / "results"

    @property
    def slurm_dir(self) -> Path:
        """Holds scripts, pickles and logs of the launches."""
        return self.path / "slurm"

    def shard_path(self, name: str) -> Path:
        """The path of the shard of the slice `name`."""
        return self.samples_dir / f"{name}.parquet"

    def manifest(self) -> dict[str, Any]:
        """What the run is: `identity`, `digest`, `judge`, `config`, `versions` and more.

        Raises `CorruptShard` if it cannot be read, or if its identity is not what was written.
        """
        path = self.path / "manifest.json"
        found = read_json(path)
        identity = found.get("identity")
        if not isinstance(identity, dict) or found.get("digest") != identity_digest(identity):
            raise CorruptShard(f"{path}: its identity is not what was written; {remedy(path)}")
        return found

    def update_manifest(self, facts: Mapping[str, Any]) -> None:
        """Write facts into the manifest, replacing older ones. Only launches may do so."""
        replace_file(self.path / "manifest.json", json_bytes(self.manifest() | dict(facts)))

    def record_isolation(self, host: str, report: Mapping[str, str]) -> None:
        """Record how `host` confined what it executed: mechanism -> "on" or "off: why"."""
        replace_file(self.path / "isolation" / f"{host}.json", json_bytes(dict(report)))

    def isolation(self) -> dict[str, dict[str, str]]:
        """host -> how it confined what it executed the last time."""
        found = sorted((self.path / "isolation").glob("*.json"))
        old: dict[str, dict[str, str]] = self.manifest().get("isolation", {})
        return old | {path.stem: read_json(path) for path in found}

    def prompt_style(self) -> PromptStyle:
        """How the completions were asked for. It decides how answers are taken from them."""
        return cast(PromptStyle, self.manifest()["identity"]["prompt_style"])

    def problems(self) -> list[Problem]:
        """The frozen problems, in their order."""
        return problems_in(self.path / "problems.parquet")

    def slices(self) -> list[Slice]:
        """All planned slices, round by round."""
        return [slice_ for path in self._rounds() for slice_ in read_round(path)]

    def stopping_rule(self) -> StoppingRule | None:
        """The rule by which sampling stops, from the last round. None for a fixed n."""
        for path in reversed(self._rounds()):
            if found := read_rule(path):
                return found
        return None

    def round_count(self) -> int:
        """The number of rounds planned so far. The next round has this index."""
        return len(self._rounds())

    def _rounds(self) -> list[Path]:
        """The plans, r000.json first. Raises `CorruptShard` if one of them is gone.

        A round without its plan would be planned again, perhaps otherwise than it was sampled.
        """
        folder = self.path / "rounds"
        found = {p.name for p in folder.glob("r*.json") if re.fullmatch(r"r\d{3,}\.json", p.name)}
        sampled = not found and any(self.samples_dir.glob("*.parquet"))
        due = [folder / round_name(i) for i in range(max(len(found), sampled))]
        if gone := [path for path in due if path.name not in found]:
            raise CorruptShard(f"{gone[0]}: missing; {remedy(gone[0])}")
        return due

    def done(self) -> set[str]:
        """The names of the slices that have a shard. Costs one listing of one directory."""
        return parquet_names(self.samples_dir)


def result_file(run: Run, name: str) -> Path:
    """The path of a file that fit writes. If it is missing, `UsageError` names the command."""
    path = run.results_dir / name
    if not path.is_file():
        raise UsageError(f"{path}: missing: run `{job_command('fit')} {run.path}`")
    return path


def run_name(identity: Mapping[str, Any], label: str) -> str:
    """`<model slug>-<problems>-<digest8>`."""
    model = str(identity["model"]).rstrip("/").rsplit("/", 1)[-1]
    slug = re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-") or "model"
    return f"{slug}-{label}-{identity_digest(identity)[:8]}"


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the identity as canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def create_or_open(path: Path, identity: Mapping[str, Any], **facts: Any) -> Run:
    """Open the run at `path`, or create it with `problems` (a list of `Problem`) and `facts`.

    Raises `RunMismatch`, naming the keys that differ, if the run has another identity. The manifest
    is written last and only once. So of two launches at the same time one creates the run, and the
    other opens it.
    """
    run = Run(path)
    if not (path / "manifest.json").exists():
        problems: list[Problem] = facts.pop("problems")
        _create(run, problems, {"format": FORMAT, "identity": dict(identity), **facts})
    check_identity(open_run(path), identity)
    return run


def _create(run: Run, problems: list[Problem], manifest: dict[str, Any]) -> None:
    if run.path.is_dir() and any(p.suffix == ".parquet" for p in run.path.rglob("*.parquet")):
        has_samples = run.samples_dir.is_dir() and any(run.samples_dir.iterdir())
        if has_samples:
            raise UsageError(
                f"{run.path}: has samples but no manifest.json; name another directory with --run"
            )
    for name in ("rounds", "samples", "answers", "verdicts", "slurm", "results"):
        make_directory(run.path / name)
    write_table(run.path / "problems.parquet", problems_frame(problems), {})
    manifest["digest"] = identity_digest(manifest["identity"])
    publish_once(run.path / "manifest.json", json_bytes(manifest))
    sync_directory(run.path.parent)


def open_run(path: Path | str) -> Run:
    """The run at `path`. Raises `UsageError` if there is none, or if its format is unknown."""
    link, path = Path(path), Path(path).resolve()
    manifest = path / "manifest.json"
    if not manifest.is_file():
        if any((path / "samples").glob("*.parquet")) or any((path / "rounds").glob("r*.json")):
            raise CorruptShard(f"{manifest}: missing; {remedy(manifest)}")
        if link.is_symlink() and not link.exists():
            raise UsageError(f"{link}: its run {path} is gone; give the directory of a run")
        raise UsageError(
            f"{path}: no run here (no manifest.json); launch one, or give the directory of a run"
        )
    found = Run(path).manifest().get("format")
    if found not in (format1.FORMAT, FORMAT):
        raise UsageError(
            f"{manifest}: has format {found}, but this version reads only {format1.FORMAT} and "
            f"{FORMAT}; install the version of the toolkit that made the run"
        )
    return Run(path)


def check_identity(run: Run, identity: Mapping[str, Any]) -> None:
    """Raise `RunMismatch`, naming each key that differs, unless the run has this identity."""
    recorded = run.manifest()["identity"]
    differing = [
        f"{key} (run: {recorded.get(key)!r}, launch: {identity.get(key)!r})"
        for key in sorted(recorded.keys() | identity.keys())
        if recorded.get(key) != identity.get(key)
    ]
    if differing:
        raise RunMismatch(
            f"{run.path}: was made with another configuration: {'; '.join(differing)}; "
            "launch without --run, or with a new directory as --run"
        )
