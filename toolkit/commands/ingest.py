"""Make a run of samples that were made elsewhere.

A row is {task_id, completion} or {task_id, solution}. A completion is a model's text, from which
the answer is taken: see --style. A solution is a whole program, as evalplus writes it.

The whole file is checked before anything is written. After that, evaluate the run and fit it.

Two other forms bring their verdicts, and need no evaluation:

- a bundle: a directory that jobs/export.py has made
- rows of one problem each, {question or prompt, samples, is_corrects}, in JSONL or parquet: the
  form of the samples of Large Language Monkeys

With --scores: add scores of the samples, such as a reward model's, to the run of --run. It may be
made in the same call, or be there already; then no file of samples is given.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import Parser, job_command, run_job
from toolkit.errors import EXIT_DONE, UsageError
from toolkit.problems.humaneval import HUMANEVAL

if TYPE_CHECKING:
    from toolkit.runs.run import Run


def main() -> int:
    """Make one call of `toolkit.stages.ingest.ingest` from the flags."""
    flags = parser().parse_args()
    if not (flags.samples or flags.scores):
        raise UsageError("nothing to ingest: give a file of samples, or --scores FILE, or both")
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.runs.run import open_run
    from toolkit.runs.scores import add_scores

    run = ingest_samples(flags) if flags.samples else open_run(flags.run)
    if flags.scores:
        for name, count in add_scores(run, flags.scores).items():
            print(f"{run.path}: {count} scores of {name}")
    return EXIT_DONE


def ingest_samples(flags: argparse.Namespace) -> "Run":
    """Make the run of whatever form the samples have, and say what comes next."""
    from toolkit.sharing.bundle import import_bundle, is_bundle
    from toolkit.sharing.monkeys import has_verdicts, import_monkeys
    from toolkit.stages.ingest import ingest

    if is_bundle(flags.samples):
        return _said(import_bundle(flags.samples, flags.run), flags.run, judged=True)
    if has_verdicts(flags.samples):
        found = import_monkeys(flags.samples, flags.run, flags.model)
        return _said(found, flags.run, judged=True)
    run = ingest(
        flags.samples,
        flags.run,
        task=flags.task,
        problems_source=flags.problems,
        model=flags.model,
        style=flags.style,
        opens_thought=flags.opens_thought,
        timeout=flags.timeout,
        libraries=flags.libraries,
    )
    return _said(run, flags.run, judged=False)


def _said(run: "Run", path: Path, *, judged: bool) -> "Run":
    """Say what is in the run and what comes next."""
    from toolkit.stages.ingest import describe_counts

    counts = Counter(r.task_id for s in run.slices() for r in s.ranges for _ in range(len(r)))
    print(f"{run.path}: {describe_counts(counts.values())}{', with their verdicts' * judged}")
    names = ("fit",) if judged else ("evaluate", "fit")
    print(f"next: {' && '.join(f'{job_command(name)} {path}' for name in names)}")
    return run


def parser() -> Parser:
    """The flags."""
    found = Parser(__doc__ or "")
    found.add_argument(
        "samples",
        nargs="?",
        type=Path,
        help="a JSONL or JSONL.gz file of {task_id, completion} or {task_id, solution}; a bundle; "
        "or a file of samples with verdicts",
    )
    found.add_argument("--run", type=Path, required=True, help="directory of the new run")
    found.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="a parquet file of scores of the run's samples: task_id, seed, score, name",
    )
    found.add_argument(
        "--task", default=HUMANEVAL, help=f"what was asked, and how it is judged [{HUMANEVAL}]"
    )
    found.add_argument(
        "--problems",
        default="",
        metavar="FILE",
        help="the task's data as published; for humaneval a JSONL or JSONL.gz file with its fields "
        "[those of the task]",
    )
    found.add_argument(
        "--style",
        choices=("chat", "completion", "verbatim"),
        help="how the completions were asked for: in a chat; by the prompt, to be continued; or "
        "verbatim, to be used unchanged after the prompt [verbatim for programs, else chat]",
    )
    found.add_argument(
        "--opens-thought",
        action="store_true",
        help="the completions begin in a reasoning model's thought: the chat template ended with "
        "<think>. One without </think> then holds no answer",
    )
    found.add_argument(
        "--model",
        default="",
        help="name of the model that made the samples, for the report [the file's name]",
    )
    found.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="time limit of an answer in this run [the task's]",
    )
    found.add_argument(
        "--libraries",
        metavar="NAMES",
        help="which libraries a program of this run can import: names with commas between, or "
        "none [numpy]",
    )
    return found


if __name__ == "__main__":
    run_job(main)
