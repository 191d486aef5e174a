"""Make a run of samples that were made elsewhere.

A row is {task_id, completion} or {task_id, solution}. A completion is a model's text, from which
the answer is taken: see --style. A solution is a whole program, as evalplus writes it.

The whole file is checked before anything is written. After that, run jobs/evaluate.py RUN and
jobs/fit.py RUN.
"""

from collections import Counter
from pathlib import Path

from toolkit.cli import Parser, run_job
from toolkit.problems.humaneval import HUMANEVAL


def main() -> int:
    """Make one call of `toolkit.stages.ingest.ingest` from the flags."""
    parser = Parser(__doc__ or "")
    parser.add_argument(
        "samples",
        type=Path,
        help="a JSONL or JSONL.gz file of {task_id, completion} or {task_id, solution}",
    )
    parser.add_argument("--run", type=Path, required=True, help="directory of the new run")
    parser.add_argument(
        "--task", default=HUMANEVAL, help=f"what was asked, and how it is judged [{HUMANEVAL}]"
    )
    parser.add_argument(
        "--problems",
        default="",
        metavar="FILE",
        help="the task's data as published; for humaneval a JSONL or JSONL.gz file with its fields "
        "[those of the task]",
    )
    parser.add_argument(
        "--style",
        choices=("chat", "completion", "verbatim"),
        help="how the completions were asked for: in a chat; by the prompt, to be continued; or "
        "verbatim, to be used unchanged after the prompt [verbatim for programs, else chat]",
    )
    parser.add_argument(
        "--opens-thought",
        action="store_true",
        help="the completions begin in a reasoning model's thought: the chat template ended with "
        "<think>. One without </think> then holds no answer",
    )
    parser.add_argument(
        "--model",
        default="",
        help="name of the model that made the samples, for the report [the file's name]",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="time limit of an answer in this run [the task's]",
    )
    parser.add_argument(
        "--libraries",
        metavar="NAMES",
        help="which libraries a program of this run can import: names with commas between, or "
        "none [numpy]",
    )
    flags = parser.parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.stages.ingest import describe_counts, ingest

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
    counts = Counter(r.task_id for s in run.slices() for r in s.ranges for _ in range(len(r)))
    print(f"{run.path}: {describe_counts(counts.values())}")
    print(f"next: python jobs/evaluate.py {flags.run} && python jobs/fit.py {flags.run}")
    return 0


if __name__ == "__main__":
    run_job(main)
