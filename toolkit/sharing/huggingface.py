"""A run as a data set directory that `datasets.load_dataset` reads: parquet, and a card."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from toolkit.files import make_directory, replace_file
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.tables import write_table
from toolkit.sharing.shared_run import LICENCE, SharedRun, facts_lines, new_directory

PARTS = ("samples", "problems", "counts")
"""The configurations of the data set; the first one is what is loaded without a name."""


def write_dataset(shared: SharedRun, output: Path) -> None:
    """Write `samples/`, `problems/` and `counts/` with a file each, and the card last.

    Raises `WriteFailure`.
    """
    make_directory(new_directory(output))
    for name, frame in _tables(shared).items():
        make_directory(output / name)
        write_table(output / name / "train-00000-of-00001.parquet", frame, {})
    replace_file(output / "README.md", _card(shared).encode())


def _tables(shared: SharedRun) -> Mapping[str, pl.DataFrame]:
    # A hub's viewer shows strings, and not every reader has unsigned numbers or enumerations.
    samples = shared.samples.with_columns(
        pl.col("finish_reason", "outcome", "kind").cast(pl.String),
        pl.col("seed", "n_tokens").cast(pl.Int64),
        passed=pl.col("outcome") == "passed",
        answer=pl.Series("answer", [_hex(a) for a in shared.samples["answer"]], dtype=pl.String),
    )
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
        "samples": samples,
        "problems": problems,
        "counts": counts.with_columns(pl.col(numbers).cast(pl.Int64)),
    }


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
