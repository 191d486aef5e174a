"""Evaluation and status of very large runs: this version, and the commit before groups of problems.

The run is finished, and no two samples give the same answer. So evaluation has nothing to judge.
What is measured is what it takes to find that out, as one of ten array tasks and alone. The status
is measured twice: the second one reads what the first has kept. All are processes of their own, one
after the other, on the same files.

python tests/bench/large.py FOLDER PROBLEMS SAMPLES: makes such a run in FOLDER/run.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
from scale import ROOT, Measured, measured, write_problems

from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Judge, Slice
from toolkit.resolve import resolve
from toolkit.runs.answers import write_map
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import Origin, ShardFacts, Times, TokenCounts, facts_to_metadata
from toolkit.runs.shards import SAMPLE_SCHEMA, content_digest
from toolkit.runs.tables import write_table
from toolkit.runs.verdicts import VERDICT_SCHEMA
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judges import judge_of_run

SIZES = ((2_500, 1_640), (10_000, 1_640))
"""(problems, samples of each): 4.1 and 16.4 million samples."""
JOBS = {
    "evaluate.py, part 1 of 10": ("evaluate.py", "run", "--part", "0", "--parts", "10"),
    "evaluate.py": ("evaluate.py", "run"),
    "status.py, the first": ("status.py", "run", "--json"),
    "status.py, the second": ("status.py", "run", "--json"),
}
TASKS = 200
"""Array tasks that the samples are said to come from."""
FEATURE = "toolkit/runs/problem_groups.py"
"""The commit that added this file is the one that is compared with the commit before it."""
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that the products with 0, 1, 2 ... are distinct, and spread over the parts."""


def bench() -> Iterator[dict[str, object]]:
    """One row for each job and size."""
    with tempfile.TemporaryDirectory() as before:
        known = _check_out_before(Path(before))
        for problems, samples in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                # In a process of its own: a child's peak includes what its parent had.
                make = (sys.executable, __file__, folder, str(problems), str(samples))
                subprocess.run(make, check=True)
                for row in rows(folder, Path(before) if known else None):
                    yield {"samples": f"{problems * samples:,}"} | row


def rows(folder: str, before: Path | None) -> Iterator[dict[str, object]]:
    """One row for each job on the run in `folder`. before: a checkout of the version before."""
    found: dict[str, list[Measured]] = {name: [] for name in JOBS}
    for root in filter(None, (before, ROOT)):
        # Each version keeps what it reads in a file of its own making.
        Path(folder, "run/results/shards.parquet").unlink(missing_ok=True)
        for name, command in JOBS.items():
            found[name].append(measured(folder, *command, root=root))
    for name, (*old, new) in found.items():
        row: dict[str, object] = {"job": name}
        if old:
            pairs = zip(("time", "memory", "CPU time"), new, old[0], strict=True)
            ratios = {f"{what}, ratio": f"{now / then:.2f}" for what, now, then in pairs}
            yield row | {"before": _told(old[0]), "now": _told(new)} | ratios
        else:
            yield row | {"before": "no history here", "now": _told(new)}


def _told(job: Measured) -> str:
    return f"{job.seconds:.1f} s ({job.cpu:.1f} s of CPU), {job.peak / 1e9:.2f} GB"


def _check_out_before(folder: Path) -> bool:
    """Put the version before into `folder`. False where the repository's history is not there."""
    log = ("git", "log", "--diff-filter=A", "--format=%H", "--", FEATURE)
    try:
        found = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=True)
        added = found.stdout.split()[-1]
        archive = ("git", "archive", f"{added}^", "jobs", "toolkit")
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, IndexError, subprocess.CalledProcessError):
        return False
    subprocess.run(("tar", "-x"), cwd=folder, input=packed, check=True)
    return True


def make_run(folder: Path, problems: int, samples: int) -> Run:
    """A finished run in `folder`; all that makes it large is written table by table."""
    write_problems(folder / "problems.jsonl", problems)
    flags = {
        "backend": "synthetic",
        "problems": str(folder / "problems.jsonl"),
        "samples": samples,
    }
    run = freeze_launch(plan_launch(resolve(flags), folder, folder / "run"))
    judge, digest = judge_of_run(run), run.manifest()["digest"]
    extraction = open_verifier(judge.choice).extraction

    def write(number: int, slice_: Slice, first: int) -> None:
        table = _samples(slice_, first)
        _write_shard(run, digest, number, slice_, table.select(SAMPLE_SCHEMA.names()))
        write_map(run, slice_.name, table, extraction)
        _write_verdicts(run, judge, slice_.name, table)

    slices = run.slices()
    firsts = np.cumsum([0, *map(len, slices)])
    with mock.patch("os.fsync"), ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(len(slices)), slices, map(int, firsts[:-1])))
    return run


def _samples(slice_: Slice, first: int) -> pl.DataFrame:
    """The samples of a slice in the order of a shard. Their answers are numbered from `first`."""
    numbers = np.arange(first, first + len(slice_), dtype=np.uint64)
    task_ids = [seeds.task_id for seeds in slice_.ranges for _ in range(len(seeds))]
    seeds = [seed for _, seed in slice_.sample_keys()]
    table = pl.DataFrame({"task_id": task_ids, "seed": pl.Series(seeds, dtype=pl.UInt32)})
    return table.sort("task_id", "seed").with_columns(
        pl.format("    return {}\n", pl.Series(numbers)).alias("completion"),
        pl.lit(100, pl.UInt32).alias("n_tokens"),
        pl.lit("stop", SAMPLE_SCHEMA["finish_reason"]).alias("finish_reason"),
        pl.Series("answer", numbers * SPREAD, dtype=pl.UInt64),
    )


def _write_shard(run: Run, digest: str, number: int, slice_: Slice, samples: pl.DataFrame) -> None:
    started = 1e9 + 60 * (number // TASKS)
    tokens = 100 * samples.height
    facts = ShardFacts(
        run=digest,
        slice=slice_.name,
        content=content_digest(samples),
        shard=f"{number:016x}",
        origin=Origin("0.2.0", f"node{number % TASKS}", 4000, "17", str(number % TASKS), 0),
        engine=EngineFacts("synthetic", "none"),
        times=Times(started, started + 60),
        tokens=TokenCounts(tokens, tokens, tokens),
    )
    write_table(run.shard_path(slice_.name), samples, facts_to_metadata(facts))


def _write_verdicts(run: Run, judge: Judge, name: str, table: pl.DataFrame) -> None:
    """A file of verdicts: every fourth answer fails."""
    failed = pl.col("seed") % 4 == 0
    frame = table.select(
        "task_id",
        "answer",
        pl.lit(judge.digest, pl.UInt64).alias("judge"),
        pl.when(failed).then(pl.lit("failed")).otherwise(pl.lit("passed")).alias("outcome"),
        pl.when(failed).then(pl.lit("wrong_answer")).otherwise(pl.lit("")).alias("kind"),
        pl.when(failed).then(pl.lit("test line 2")).otherwise(pl.lit("")).alias("detail"),
        pl.lit([], pl.List(pl.String)).alias("suspect"),
        pl.lit(0.1, pl.Float32).alias("seconds"),
        pl.lit("").alias("canonical"),
    )
    write_table(run.verdicts_dir / f"v-{name}.parquet", frame.cast(dict(VERDICT_SCHEMA)), {})


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
