"""A run as a data set directory that `datasets.load_dataset` reads: parquet, and a card."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from toolkit.files import make_directory, replace_file
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.tables import write_table
from toolkit.sharing.shared_run import AT_ONCE, LICENCE, SharedRun, facts_lines, new_directory

PARTS = ("samples", "problems", "counts")
"""The configurations of the data set; the first one is what is loaded without a name."""


def write_dataset(shared: SharedRun, output: Path) -> None:
    """Write `samples/`, `problems/` and `counts/`, and the card last.

    Samples come in files of some thousand, so that they need not be in memory at once.

    Raises `WriteFailure`.
    """
    make_directory(new_directory(output))
    for name, frames in _tables(shared).items():
        make_directory(output / name)
        files = -(-shared.samples.height // AT_ONCE) if name == "samples" else 1
        for i, frame in enumerate(frames):
            write_table(output / name / f"train-{i:05}-of-{files:05}.parquet", frame, {})
    replace_file(output / "README.md", _card(shared).encode())


def _tables(shared: SharedRun) -> Mapping[str, Iterable[pl.DataFrame]]:
    """The parts of each table."""
    problems = pl.DataFrame(
        {
            "task_id": [p.task_id for p in shared.problems],
            "prompt": [p.prompt for p in shared.problems],
            "kind": [p.kind for p in shared.problems],
            "reference": [p.reference for p in shared.problems],
        }
    )
    counts = count_outcomes(shared.run, shared.judge)
    numbers = [name for name, kind in counts.schema.items() if kind != pl.String]
    return {
        "samples": map(_samples, shared.parts(shared.samples)),
        "problems": [problems],
        "counts": [counts.with_columns(pl.col(numbers).cast(pl.Int64))],
    }


def _samples(part: pl.DataFrame) -> pl.DataFrame:
    # A hub's viewer shows strings, and not every reader has unsigned numbers or enumerations.
    first = ("task_id", "seed", "completion", "n_tokens", "finish_reason")
    return part.select(*first, pl.exclude(*first, "text")).with_columns(
        pl.col("finish_reason", "outcome", "kind").cast(pl.String),
        pl.col("seed", "n_tokens").cast(pl.Int64),
        passed=pl.col("outcome") == "passed",
        answer=pl.Series("answer", [_hex(a) for a in part["answer"]], dtype=pl.String),
    )


def _hex(answer: int | None) -> str | None:
    return None if answer is None else f"{answer:016x}"


def _card(shared: SharedRun) -> str:
    """README.md: a YAML head that tells where the files are, then people's text."""
    configs = "".join(
        f"- config_name: {name}\n"
        + ("  default: true\n" if name == PARTS[0] else "")
        + f"  data_files:\n  - split: train\n    path: {name}/*.parquet\n"
        for name in PARTS
    )
    pretty = json.dumps(shared.name)  # a JSON string is a YAML string
    head = f"---\npretty_name: {pretty}\nlicense: other\nconfigs:\n{configs}---\n"
    facts = "\n".join(facts_lines(shared))
    return (
        f"{head}\n# {shared.name}\n\n"
        "| part | a row is |\n| --- | --- |\n"
        "| `samples` | a sample: its completion, which answer it holds, and its outcome |\n"
        "| `problems` | a problem, with what its judge needs (a JSON object) |\n"
        "| `counts` | n samples and c passes of a problem, and more |\n\n"
        f"## Where it comes from\n\n{facts}\n\n## Licence\n\n{LICENCE}\n"
    )
