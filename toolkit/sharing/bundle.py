"""A bundle: a judged run as a small directory, which another checkout makes a run of again.

| file | content |
|---|---|
| `bundle.json` | format, identity, judge, stopping rule, provenance, SHA-256 of the other files |
| `problems.parquet` | as in the run |
| `samples.parquet` | one row a sample: task_id, seed, answer, n_tokens, finish_reason |
| `answers.parquet` | one row a distinct answer: task_id, answer, text, completion, samples |
| `verdicts.parquet` | of the run's judge, as in the run |
| `counts.parquet` | n and c of each problem, and more, as in results |
| `README.md` | a card: where all this comes from, and a note on licences |

Of the completions with the same answer one is kept. The null answer stands for completions
without one. So counts and outcomes come back as they were, and texts of samples do not.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from toolkit.cli import CONSOLE
from toolkit.errors import CorruptShard, UsageError
from toolkit.files import make_directory, replace_file
from toolkit.records import EngineFacts, Judge, JudgeChoice, Sample, Verdict
from toolkit.runs.answers import mapped_slices
from toolkit.runs.history import point_latest
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.problem_table import problems_in
from toolkit.runs.run import Run, create_or_open
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.tables import write_table
from toolkit.runs.verdicts import VERDICT_SCHEMA, decided_verdicts, read_batch, write_verdicts
from toolkit.sharing.imported import write_samples
from toolkit.sharing.shared_run import LICENCE, SharedRun, facts_lines, new_directory
from toolkit.stages.ingest import facts_of_run
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.base import open_verifier
from toolkit.verifiers.judges import judge_of

FORMAT = 1
BUNDLE = "bundle.json"
TABLES = ("problems", "samples", "answers", "verdicts", "counts")


def write_bundle(shared: SharedRun, output: Path) -> None:
    """Write the bundle into a new directory, `bundle.json` last. Raises `WriteFailure`."""
    run, judge = shared.run, shared.judge
    make_directory(new_directory(output))
    samples = shared.samples.select("task_id", "seed", "answer", "n_tokens", "finish_reason")
    tables = {
        "samples": samples,
        "answers": _answers(shared),
        "verdicts": decided_verdicts(run, judge)
        .with_columns(judge=pl.lit(judge.digest, pl.UInt64))
        .select(VERDICT_SCHEMA.names()),
        "counts": count_outcomes(run, judge),
    }
    replace_file(output / "problems.parquet", (run.path / "problems.parquet").read_bytes())
    for name, frame in tables.items():
        write_table(output / f"{name}.parquet", frame, {})
    replace_file(output / "README.md", _card(shared).encode())
    replace_file(output / BUNDLE, json.dumps(_document(shared, output), indent=1).encode())


def _answers(shared: SharedRun) -> pl.DataFrame:
    """A row for each distinct answer, and one for the samples of a problem that hold none."""
    groups = shared.samples.group_by("task_id", "answer", maintain_order=True)
    rows = groups.agg(pl.col("seed").first(), pl.len().cast(pl.UInt32).alias("samples"))
    columns = ("task_id", "answer", "text", "completion", "samples")
    # A file in one piece, as every toolkit reads it: of equal answers it holds one.
    return pl.concat(part.select(columns) for part in shared.parts(rows))


def _document(shared: SharedRun, output: Path) -> dict[str, Any]:
    run, judge, rule = shared.run, shared.judge, shared.run.stopping_rule()
    manifest = run.manifest()
    opens = any(read_facts(run.shard_path(s.name)).engine.opens_thought for s in mapped_slices(run))
    names = (*(f"{name}.parquet" for name in TABLES), "README.md")
    return {
        "format": FORMAT,
        "name": shared.name,
        "identity": manifest["identity"],
        "manifest": {k: manifest.get(k) for k in ("problems_source", "task", "full_humaneval")},
        "judge": {
            "verifier": judge.verifier,
            "settings": dict(judge.choice.settings),
            "version": judge.version,
        },
        "stopping": rule.document() if rule else None,
        "opens_thought": opens,
        "provenance": dataclasses.asdict(shared.provenance),
        "files": {n: hashlib.sha256((output / n).read_bytes()).hexdigest() for n in names},
    }


def _card(shared: SharedRun) -> str:
    facts = "\n".join(facts_lines(shared))
    return (
        f"# {shared.name}\n\nA judged run of the inference scaling toolkit, as a bundle. "
        f"`{CONSOLE} ingest THIS_DIRECTORY --run NEW_RUN` makes a run of it.\n\n"
        f"## Where it comes from\n\n{facts}\n\n## Licence\n\n{LICENCE}\n"
    )


def is_bundle(path: Path) -> bool:
    """Whether this directory is a bundle."""
    return (path / BUNDLE).is_file()


def import_bundle(source: Path, path: Path) -> Run:
    """Make the run at `path` of a bundle: with its samples, its answers and its verdicts.

    All files are checked before anything is written. Raises `CorruptShard` for one that is not what
    was exported, and `UsageError` for a bundle of a newer toolkit.
    """
    document = _read_document(source)
    table = {name: source / f"{name}.parquet" for name in TABLES}
    problems = problems_in(table["problems"])
    samples, answers = pl.read_parquet(table["samples"]), pl.read_parquet(table["answers"])
    verdicts = read_batch(table["verdicts"]).drop("judge")
    told = [Verdict(**{**row, "suspect": tuple(row["suspect"])}) for row in verdicts.to_dicts()]
    choice = _choice(document["judge"])
    judge = Judge(choice, int(document["judge"]["version"]), judge_of(choice).defaults)
    identity = {**document["identity"], "backend": "ingest", "bundle": document["files"]}
    manifest = {k: v for k, v in document["manifest"].items() if v is not None}
    source_name, style = manifest.get("problems_source", ""), identity["prompt_style"]
    facts = facts_of_run(source_name, problems, identity["model"], style, choice) | manifest
    facts["provenance"] = document["provenance"]
    run = create_or_open(path, identity, problems=problems, **facts)
    rule = StoppingRule.of_document(document["stopping"]) if document["stopping"] else None
    engine = EngineFacts(f"bundle of {document['name']}", opens_thought=document["opens_thought"])
    rows = _with_texts(samples, answers).to_dicts()
    fields = ("task_id", "seed", "completion", "n_tokens", "finish_reason")
    drawn = [Sample(*(row[name] for name in fields)) for row in rows]
    found = {(row["task_id"], row["seed"]): row["answer"] for row in rows}
    write_samples(run, drawn, found, engine, open_verifier(choice).extraction, rule)
    write_verdicts(run, told, judge, {"bundle": document["name"]})
    point_latest(run)
    return run


def _with_texts(samples: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The samples, each with the completion that was kept of its answer."""
    return samples.join(
        answers.select("task_id", "answer", "completion"),
        on=["task_id", "answer"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )


def _choice(judge: Mapping[str, Any]) -> JudgeChoice:
    return JudgeChoice(judge["verifier"], tuple(sorted(judge["settings"].items())))


def _read_document(source: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((source / BUNDLE).read_bytes())
        if document["format"] != FORMAT:
            raise UsageError(
                f"{source / BUNDLE}: has format {document['format']}, but this version reads only "
                f"{FORMAT}; install the version of the toolkit that made it"
            )
        for name, digest in document["files"].items():
            if hashlib.sha256((source / name).read_bytes()).hexdigest() != digest:
                raise CorruptShard(f"{source / name}: is not what was exported; copy it again")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptShard(f"{source / BUNDLE}: is no bundle ({error!r}); copy it again") from None
    return document
