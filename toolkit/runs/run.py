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
afterwards, and what helps, is in `toolkit.runs.damage`.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import polars as pl

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, RunMismatch, ToolkitError, UsageError
from toolkit.files import make_directory, publish_once, replace_file, sync_directory
from toolkit.records import (
    Problem,
    Prompt,
    PromptStyle,
    SeedRange,
    Slice,
)
from toolkit.runs import format1
from toolkit.stats.stopping import StoppingRule

PROBLEM_SCHEMA = pl.Schema(
    {
        "task_id": pl.String(),
        "prompt": pl.String(),
        "kind": pl.String(),
        "reference": pl.String(),
        "solution": pl.String(),
    }
)
PHRASED_SCHEMA = pl.Schema({**PROBLEM_SCHEMA, "phrased": pl.String()})
"""With the prompts that a task phrases, as JSON objects. Without a task there is no such column."""
FORMAT = 2
"""Version of the layout above. Runs of format 1 are read too (`toolkit.runs.format1`)."""


NO_COPY = "restore it from a copy, or launch with a new directory as --run"
"""What to do about a damaged file that nothing else in the run can replace."""
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What polars raises for a file that is no parquet file any more."""


def remedy(path: Path) -> str:
    """What to do about a damaged file of a run."""
    run = shlex.quote(str(path.parents[1]))
    match path.parent.name:
        case "samples":
            return (
                f"`{job_command('launch')} --resume --run {run}` moves it to quarantine/ "
                "and samples its slice again"
            )
        case "partial":
            return "its slice is sampled anew"
        case "verdicts":
            return (
                f"`{job_command('evaluate')} {run}` moves it to quarantine/ and judges its answers "
                "again"
            )
        case "judges":
            return (
                f"delete it: `{job_command('evaluate')} {run} --task {shlex.quote(path.stem)}` "
                "makes it anew"
            )
        case "scores":
            return "delete it, and ingest the scores again"
        case "predictions":
            return (
                f"delete it: `{job_command('evaluate')} {run} --export-predictions DIR` makes it "
                "anew, unless the answers have verdicts already"
            )
        case "isolation":
            return "delete it: it only records how a node confined what it executed"
        case "answers" | format1.ANSWERS_DIRECTORY:
            return f"`{job_command('evaluate')} {run}` makes it anew"
        case "results":
            return f"`{job_command('fit')} {run}` makes it anew"
        case _:
            return NO_COPY


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
        replace_file(self.path / "manifest.json", _json_bytes(self.manifest() | dict(facts)))

    def record_isolation(self, host: str, report: Mapping[str, str]) -> None:
        """Record how `host` confined what it executed: mechanism -> "on" or "off: why"."""
        replace_file(self.path / "isolation" / f"{host}.json", _json_bytes(dict(report)))

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
        return [slice_ for path in self._rounds() for slice_ in read_round(path)[0]]

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


def parquet_names(folder: Path) -> set[str]:
    """The parquet files in a folder, without their suffix; none where there is no folder.

    One listing, which opens no file and asks for no status: runs have tens of thousands of them.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
    return {name.removesuffix(".parquet") for name in found if name.endswith(".parquet")}


def round_name(index: int) -> str:
    """The file name of the plan of a round: `r000.json`."""
    return f"r{index:03d}.json"


def read_round(path: Path) -> tuple[list[Slice], StoppingRule | None]:
    """The slices of a round, and the rule by which its sampling stops, None for a fixed n.

    Raises `CorruptShard` if the plan is not what a launch writes.
    """
    found = read_json(path)
    with _naming_plan(path):
        slices = []
        for entry in found["slices"]:
            ranges = tuple(SeedRange(str(t), int(a), int(b)) for t, a, b in entry["ranges"])
            slices.append(Slice(str(entry["name"]), ranges))
        return slices, _rule_in(found)


def read_rule(path: Path) -> StoppingRule | None:
    """The rule alone. A process reads it once: a large plan takes long, and it is frozen."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _rule_at(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _rule_at(path: Path, *stamp: int) -> StoppingRule | None:
    """stamp: changes with the file, where somebody replaced or damaged it."""
    found = read_json(path)
    with _naming_plan(path):
        return _rule_in(found)


def _rule_in(plan: Mapping[str, Any]) -> StoppingRule | None:
    stopping = plan.get("stopping")
    return StoppingRule.of_document(stopping) if stopping else None


@contextlib.contextmanager
def _naming_plan(path: Path) -> Iterator[None]:
    """Raise `CorruptShard`, naming the plan, for what a launch does not write."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ToolkitError) as error:
        raise CorruptShard(f"{path}: is no plan of a round ({error!r}); {remedy(path)}") from None


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
    publish_once(run.path / "manifest.json", _json_bytes(manifest))
    sync_directory(run.path.parent)


def problems_frame(problems: Sequence[Problem]) -> pl.DataFrame:
    """Problems as a table, one in each row."""
    if not any(p.phrased for p in problems):
        rows = [{name: getattr(p, name) for name in PROBLEM_SCHEMA} for p in problems]
        return pl.DataFrame(rows, schema=PROBLEM_SCHEMA)
    phrased = [
        {**asdict(p), "phrased": json.dumps(p.phrased and asdict(p.phrased))} for p in problems
    ]
    return pl.DataFrame(phrased, schema=PHRASED_SCHEMA)


def problems_in(path: Path) -> list[Problem]:
    """The problems in such a file, in their order. Raises `CorruptShard`."""
    frame = read_frame(path)
    if frame.schema == format1.PROBLEM_SCHEMA:
        return [format1.problem_of(row) for row in frame.iter_rows(named=True)]
    if frame.schema == PHRASED_SCHEMA:
        return [_phrased(**row) for row in frame.iter_rows(named=True)]
    _check_schema(path, frame, PROBLEM_SCHEMA)
    return [Problem(**row) for row in frame.iter_rows(named=True)]


def _phrased(phrased: str, **fields: Any) -> Problem:
    """The problem in a row of such a table."""
    found = json.loads(phrased)
    if found is None:
        return Problem(**fields)
    messages = tuple((role, text) for role, text in found["messages"])
    return Problem(**fields, phrased=Prompt(messages, found["text"], tuple(found["stop"])))


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


def freeze_round(
    run: Run,
    index: int,
    slices: list[Slice],
    rule: StoppingRule | None = None,
    follows: Mapping[str, Any] | None = None,
) -> None:
    """Write the plan of a round, once.

    rule: of adaptive sampling, where plans depend on outcomes. follows: of a round that an array at
    work shares (`toolkit.runs.shares`). Raises `ToolkitError` if another launch has planned this
    round at the same time.
    """
    path = run.path / "rounds" / round_name(index)
    entries = [
        {"name": s.name, "ranges": [[r.task_id, r.seed_start, r.seed_stop] for r in s.ranges]}
        for s in slices
    ]
    plan = {"round": index, "stopping": rule.document() if rule else None, "slices": entries}
    plan |= {"follows": dict(follows)} if follows else {}
    if not publish_once(path, json.dumps(plan).encode()):
        raise ToolkitError(f"{path}: another launch has just planned this round; launch again")


def metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a parquet file. Raises `CorruptShard` if it cannot be read."""
    try:
        return pl.read_parquet_metadata(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def write_table(
    path: Path, frame: pl.DataFrame, facts: dict[str, str], *, durable: bool = True
) -> None:
    """Write a parquet file (zstd) with `facts` as its metadata. It is complete or not there.

    durable: see `toolkit.files.replacing`. Raises `WriteFailure`.
    """
    # Built in memory: polars raises errors of its own, without a number, if a disk is full.
    built = io.BytesIO()
    frame.write_parquet(built, compression="zstd", metadata=facts)
    replace_file(path, built.getvalue(), durable=durable)


def read_table(path: Path, *schemas: pl.Schema) -> pl.DataFrame:
    """Read a parquet file that has one of the schemas. `CorruptShard` says what is wrong, where."""
    frame = read_frame(path)
    _check_schema(path, frame, *schemas)
    return frame


def read_frame(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read columns of a parquet file, by default all. `CorruptShard` says what is wrong, where."""
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def _check_schema(path: Path, frame: pl.DataFrame, *schemas: pl.Schema) -> None:
    if frame.schema not in schemas:
        raise CorruptShard(f"{path}: has unexpected columns {frame.columns}; {remedy(path)}")


def _unreadable(path: Path, error: BaseException) -> ToolkitError:
    """The error for a damaged file, or for one that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return CorruptShard(f"{path}: missing; {remedy(path)}")
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    if isinstance(error, OSError) and error.errno is not None:
        return ToolkitError(f"{path}: cannot be read: {error.strerror}; mend that, then try again")
    return CorruptShard(f"{path}: cannot be read ({reason}); {remedy(path)}")


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run. Raises `CorruptShard` if it does not hold one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(found, dict):
        raise CorruptShard(f"{path}: does not hold a JSON object; {remedy(path)}")
    return found
