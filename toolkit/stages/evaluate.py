"""The evaluation stage: samples to distinct programs, programs to verdicts.

Each shard gets a *program map* (which program each of its samples is), a cache made by the
current extraction; each distinct program of a problem is executed once in a run. Tasks divide
the programs by digest, so they balance and never collide, and a later evaluation executes only
what has no verdict yet.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from toolkit.config import Evaluation
from toolkit.errors import CorruptShard
from toolkit.records import Answer, Problem, Slice, Verdict, answer_digest
from toolkit.runs.run import PROGRAM_SCHEMA, Run, metadata, write_table
from toolkit.runs.shards import read_shard, shard_id
from toolkit.runs.verdicts import read_verdicts, write_verdicts
from toolkit.sandbox.executor import Executor, Limits
from toolkit.verifiers.python_program import EXTRACTION_VERSION, extract_program
from toolkit.verifiers.python_tests import endings

log = logging.getLogger(__name__)

BATCH_VERDICTS = 2000
BATCH_SECONDS = 20.0
"""A batch of verdicts is written when either is reached: what a kill can lose."""


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """What one evaluation task did: counts of this task's share, seconds of wall clock."""

    samples: int
    distinct: int
    executed: int
    errors: int
    seconds: float
    missing_slices: int
    corrupt: int

    @property
    def complete(self) -> bool:
        """Every planned sample is there and every program of this share has a verdict."""
        return not self.errors and not self.missing_slices and not self.corrupt

    def line(self) -> str:
        """For the log and the terminal."""
        rate = self.executed / self.seconds if self.seconds else 0.0
        parts = [
            f"{self.samples} samples are {self.distinct} distinct programs",
            f"{self.executed} executed in {self.seconds:.1f} s ({rate:.0f}/s)",
        ]
        if self.errors:
            parts.append(f"{self.errors} undecided (ours, not the model's): evaluate again")
        if self.missing_slices:
            parts.append(f"{self.missing_slices} slices are not sampled yet: launch again")
        if self.corrupt:
            parts.append(f"{self.corrupt} shards are corrupt: `launch.py --resume`")
        return "; ".join(parts)


def evaluate_run(
    run: Run, settings: Evaluation, *, part: int = 0, parts: int = 1, workers: int
) -> EvaluationSummary:
    """Execute what has no verdict among the programs with `digest % parts == part`.

    A shard that cannot be trusted is named in the log and left out. Raises `IsolationUnavailable`
    when this node cannot confine programs as `settings.isolation` asks.
    """
    problems = {p.task_id: p for p in run.problems()}
    slices, done = run.slices(), run.done()
    present = [s for s in slices if s.name in done]
    # Own shards first: tasks that start together make different maps, and find the others made.
    missing = len(slices) - len(present)
    corrupt: set[str] = set()
    for piece in present[part::parts] + present:
        try:
            map_programs(run, piece, problems)
        except CorruptShard as error:
            if piece.name not in corrupt:
                log.error("%s", error)
            corrupt.add(piece.name)
    present = [s for s in present if s.name not in corrupt]
    programs = distinct_programs(run, present).filter(pl.col("program") % parts == part)
    judged = decided(read_verdicts(run, settings.timeout))
    todo = programs.join(judged, on=["task_id", "program"], how="anti")
    log.info("%d distinct programs, %d to execute", programs.height, todo.height)
    started = time.monotonic()
    errors = 0
    if todo.height:
        with Executor(
            endings(problems.values()),
            workers=workers,
            limits=Limits(timeout=settings.timeout),
            isolation=settings.isolation,
        ) as executor:
            run.record_isolation(platform.node(), executor.isolation_report)
            verdicts = executor.run(_texts(run, present, todo, problems, corrupt))
            facts = {
                "host": platform.node(),
                "isolation": json.dumps(executor.isolation_report),
            }
            write = partial(write_verdicts, run, timeout=settings.timeout, facts=facts)
            errors = _write_in_batches(write, verdicts, todo.height)
    return EvaluationSummary(
        samples=int(programs["samples"].sum()),
        distinct=programs.height,
        executed=todo.height,
        errors=errors,
        seconds=time.monotonic() - started,
        missing_slices=missing,
        corrupt=len(corrupt),
    )


def decided(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts that stand; an `error` is none, its program is executed again."""
    return verdicts.filter(pl.col("outcome") != "error")


def map_programs(run: Run, piece: Slice, problems: Mapping[str, Problem]) -> None:
    """Write which program each sample of a shard is, unless an up-to-date map is there.

    The map names the shard and the extraction it was made from: one that was made from a shard
    since replaced, or by an older extraction, is made anew.
    """
    path = run.programs_dir / f"{piece.name}.parquet"
    origin = {"shard": shard_id(run, piece.name), "extraction": str(EXTRACTION_VERSION)}
    if path.exists() and origin.items() <= metadata(path).items():
        return
    samples = read_shard(run, piece)
    style = run.prompt_style()
    digests: dict[tuple[str, str], int] = {}
    for task_id, completion in samples.select("task_id", "completion").iter_rows():
        if (task_id, completion) not in digests:
            text = extract_program(problems[task_id], completion, style)
            digests[task_id, completion] = answer_digest(text)
    keys = samples.select("task_id", "completion").iter_rows()
    column = pl.Series("program", [digests[key] for key in keys], dtype=pl.UInt64)
    write_table(path, samples.select("task_id", "seed").with_columns(column), origin)


def distinct_programs(run: Run, present: Sequence[Slice]) -> pl.DataFrame:
    """One row a distinct program: task_id, program, slice and seed of one sample that is it,
    and `samples`, how many are.
    """
    schema = {"task_id": pl.String, "program": pl.UInt64, "slice": pl.String, "seed": pl.UInt32}
    if not present:
        return pl.DataFrame(schema=schema | {"samples": pl.UInt32})
    return (
        scan_programs(run, present)
        .group_by("task_id", "program")
        .agg(
            pl.col("slice").min(),
            pl.col("seed").filter(pl.col("slice") == pl.col("slice").min()).min(),
            pl.len().cast(pl.UInt32).alias("samples"),
        )
        .sort("slice", "task_id", "seed")
        .collect()
    )


def scan_programs(run: Run, present: Sequence[Slice]) -> pl.LazyFrame:
    """The program maps of the given slices: task_id, seed, program, slice."""
    paths = [run.programs_dir / f"{s.name}.parquet" for s in present]
    return pl.scan_parquet(paths, include_file_paths="slice", schema=PROGRAM_SCHEMA).with_columns(
        pl.col("slice").str.extract(r"([^/]+)\.parquet$")
    )


def _texts(
    run: Run,
    present: Sequence[Slice],
    todo: pl.DataFrame,
    problems: Mapping[str, Problem],
    corrupt: set[str],
) -> Iterator[Answer]:
    """The programs' texts, shard by shard, extracted when the executor is ready for them.

    A shard that turns out damaged is named in the log, added to `corrupt`, and left out.
    """
    style = run.prompt_style()
    by_name = {s.name: s for s in present}
    for (name,), rows in todo.group_by("slice", maintain_order=True):
        try:
            samples = read_shard(run, by_name[str(name)]).join(rows, on=["task_id", "seed"])
        except CorruptShard as error:
            log.error("%s", error)
            corrupt.add(str(name))
            continue
        for row in samples.select("task_id", "program", "completion").iter_rows():
            task_id, digest, completion = row
            yield Answer(task_id, digest, extract_program(problems[task_id], completion, style))


def _write_in_batches(
    write: Callable[[list[Verdict]], None], verdicts: Iterable[Verdict], expected: int
) -> int:
    """Write verdicts as they come; returns how many are `error`."""
    batch: list[Verdict] = []
    errors = 0
    started = written = time.monotonic()
    for count, verdict in enumerate(verdicts, start=1):
        batch.append(verdict)
        errors += verdict.outcome == "error"
        if verdict.outcome == "error":
            log.error("%s, program %016x: %s", verdict.task_id, verdict.answer, verdict.detail)
        now = time.monotonic()
        if len(batch) >= BATCH_VERDICTS or now - written > BATCH_SECONDS:
            write(batch)
            batch, written = [], now
            rate = count / (now - started)
            left = (expected - count) / rate
            log.info("%d/%d executed, %.0f/s, %.0f s left", count, expected, rate, left)
    write(batch)
    return errors
