"""What all exports take from a run: its samples with their outcomes, and its distinct answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from toolkit.cli import job_command
from toolkit.errors import UsageError
from toolkit.records import Judge, Problem
from toolkit.runs.answers import in_shards, mapped_slices
from toolkit.runs.completions import read_texts
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.provenance import Provenance, read_provenance
from toolkit.runs.run import Run
from toolkit.runs.shards import scan_samples
from toolkit.stages.taking import Taking
from toolkit.verifiers.base import open_verifier

KEY = ("task_id", "seed")
AT_ONCE = 8192
"""Samples whose texts are in memory at a time."""


@dataclass(frozen=True)
class SharedRun:
    """A run of which every sample has an outcome under this judge.

    samples: task_id, seed, n_tokens, finish_reason, answer (a digest, null for none), outcome,
    kind, detail, suspect; in the order of the problems, then of the seeds. Their completions are
    read by `parts`.
    """

    run: Run
    judge: Judge
    problems: list[Problem]
    samples: pl.DataFrame
    provenance: Provenance

    @cached_property
    def by_id(self) -> dict[str, Problem]:
        """The problems by their names."""
        return {p.task_id: p for p in self.problems}

    @property
    def model(self) -> str:
        """The model's name, without the folders of a path."""
        return str(self.run.manifest()["identity"]["model"]).rstrip("/").rsplit("/", 1)[-1]

    @property
    def name(self) -> str:
        """Of the model and its task."""
        return f"{self.model} on {self.provenance.task or 'problems of its own'}"

    def parts(self, samples: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """These samples with their texts, `AT_ONCE` of them at a time, so that memory stays small.

        samples: at least task_id, seed and answer, in any order, which stays. Added are the columns
        completion, and text: the answer's, null for none.
        """
        taking = Taking.of(self.run, open_verifier(self.judge.choice))
        present = mapped_slices(self.run)
        thinking = {s.name: taking.begins_in_thought(s) for s in present}
        for rows in samples.iter_slices(AT_ONCE):
            placed = rows.with_row_index("place")
            found = read_texts(self.run, in_shards(placed, present)).sort("place")
            texts: dict[tuple[str, int | None], str | None] = {}
            columns = found.select("task_id", "answer", "completion", "slice")
            for task_id, answer, completion, name in columns.iter_rows():
                if answer is not None and (task_id, answer) not in texts:
                    text = taking.extract(task_id, completion, thinking=thinking[name])
                    texts[task_id, answer] = text or ""
            keys = found.select("task_id", "answer").iter_rows()
            column = pl.Series("text", [texts.get(key) for key in keys], dtype=pl.String)
            yield found.select(*rows.columns, "completion", column)


def read_shared(run: Run, judge: Judge) -> SharedRun:
    """The run with all its samples. Raises `UsageError` unless each of them has an outcome."""
    present = mapped_slices(run)
    outcomes = sample_outcomes(run, judge) if present else pl.DataFrame()
    missing = sum(map(len, run.slices())) - outcomes.height
    missing += int(outcomes["outcome"].is_null().sum()) if present else 0
    if missing:
        raise UsageError(
            f"{run.path}: samples without an outcome: {missing}; a part of a run would be taken "
            f"for all of it: `{job_command('evaluate')} {run.path}` first"
        )
    columns = [*KEY, "n_tokens", "finish_reason"]
    shards = scan_samples([run.shard_path(s.name) for s in present])
    problems = run.problems()
    order = {p.task_id: i for i, p in enumerate(problems)}
    told = outcomes.select(*KEY, "answer", "outcome", "kind", "detail", "suspect")
    samples = (
        shards.select(columns)
        .collect()
        .join(told, on=KEY, how="left")
        .with_columns(place=pl.col("task_id").replace_strict(order, return_dtype=pl.UInt32))
        .sort("place", "seed")
        .drop("place")
    )
    return SharedRun(run, judge, problems, samples, read_provenance(run))


def new_directory(path: Path) -> Path:
    """`path`, which must not be there yet, or be empty. Raises `UsageError`."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"--output {path}: is there already; name a new directory")
    return path


def refuse_existing(path: Path) -> None:
    """Raise `UsageError` for a file that is there already."""
    if path.exists():
        raise UsageError(f"--output {path}: is there already; name a new file")


def facts_lines(shared: SharedRun) -> Iterator[str]:
    """Where the samples come from, as a Markdown list."""
    found, identity = shared.provenance, shared.run.manifest()["identity"]
    facts = {
        "model": f"{identity['model']}, revision {found.revision or 'not known'}",
        "task": found.task,
        "data, SHA-256": found.data,
        "temperature": identity.get("temperature"),
        "top_p": identity.get("top_p"),
        "max_tokens": identity.get("max_tokens"),
        "prompt style": identity.get("prompt_style"),
        "judge": shared.judge.line(),
        "sampled": found.first_day and f"{found.first_day} to {found.last_day} (UTC)",
        "toolkit": found.toolkit and f"{found.toolkit}, commit {found.commit}",
        "engine": found.engine,
        "problems": f"{len(shared.problems):,}",
        "samples": f"{shared.samples.height:,}",
    }
    yield from (f"- {name}: {value}" for name, value in facts.items() if value is not None)


LICENCE = (
    "No licence is given here. Problems and references are under the licence of the data that they "
    "come from; completions may be under the terms of the model that wrote them. Look at both "
    "before you publish this, and write here what you found."
)
