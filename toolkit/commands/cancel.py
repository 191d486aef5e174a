"""Cancel a run's jobs on Slurm: its own only, known by their names, and record it.

What is finished is kept; launch's --resume goes on later. Jobs of other runs and of other people
are not touched. A job counts even if its launch was killed before it could record the job.
"""

from toolkit.cli import Parser, add_run_argument, run_job
from toolkit.errors import EXIT_DONE, ToolkitError


def main() -> int:
    """Cancel, and say what was."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the jobs, touch nothing")
    flags = parser.parse_args()
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.launch.exclusive import holder_of
    from toolkit.launch.queue import cancel_jobs, jobs_in_queue
    from toolkit.runs.run import open_run

    run = open_run(flags.run)
    found = jobs_in_queue(run) if flags.dry_run else cancel_jobs(run)
    said = "would cancel" if flags.dry_run else "cancelled"
    for job, stage in sorted(found.items()):
        print(f"{said} {stage} {job}")
    if not found:
        print(f"{run.path}: no job of this run is in the queue")
    if (holder := holder_of(run)) and holder.launcher == "slurm":
        raise ToolkitError(
            f"{run.path}: is being launched by {holder.line()}: wait for its end, or end it, then "
            "cancel again"
        )
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
