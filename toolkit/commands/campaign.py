"""Many runs as one study: models x tasks x temperatures, or whatever else a launch has a flag for.

A study file lists them (docs/campaigns.md). Without a further flag, all runs that lack something
are launched, each as launch would do it. Call it again to go on: what is done or in the queue is
left alone, and runs that were added to the file are launched. At the end the runs are compared:
curves, coverage against dollars, differences with simultaneous intervals.

Exit code 0 when everything is submitted, or done; 1 when something is missing or failed; 2 when the
study or a flag is wrong, and then nothing was written.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import Parser, job_command, run_job
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from toolkit.campaigns.plan import PlannedRun
    from toolkit.campaigns.study import Study
    from toolkit.launch.exclusive import Hold

WAIT_SECONDS = 5.0


def main() -> int:
    """Read the study, and do what the flags say."""
    parser = Parser(__doc__ or "")
    parser.add_argument("study", type=Path, help="the study file, in TOML")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="show all runs and what they cost")
    what.add_argument("--status", action="store_true", help="show how far each run is")
    what.add_argument("--cancel", action="store_true", help="cancel the jobs of all runs on Slurm")
    what.add_argument("--compare", action="store_true", help="compare the runs that are fitted")
    parser.add_argument("--json", action="store_true", help="with --status: one JSON object")
    parser.add_argument("--wait", action="store_true", help="slurm: follow to the end")
    flags = parser.parse_args()
    if flags.json and not flags.status:
        raise UsageError("--json: is for --status; give that too, or leave this out")
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.campaigns.study import read_study

    study = read_study(flags.study)
    if flags.status:
        return show_status(study, as_json=flags.json)
    if flags.cancel:
        return cancel(study)
    if flags.compare:
        return compare(study)
    return launch(study, dry_run=flags.dry_run, wait=flags.wait)


def launch(study: "Study", *, dry_run: bool, wait: bool) -> int:
    """Plan all runs, then submit those that lack something, or do them here."""
    from toolkit.campaigns.plan import describe_study, plan_study
    from toolkit.commands import presets
    from toolkit.launch.exclusive import hold
    from toolkit.runs.run import Run

    planned = plan_study(study, presets.configure)
    print(describe_study(study, planned), flush=True)
    if dry_run:
        return EXIT_DONE
    study.directory.mkdir(parents=True, exist_ok=True)
    # As "local", because another machine can tell by the age of the file alone.
    with hold(Run(study.directory), "local") as held:
        if planned[0].launcher == "slurm":
            return launch_on_slurm(study, planned, held, wait=wait)
        return launch_here(study, planned, held)


def launch_on_slurm(
    study: "Study", planned: "list[PlannedRun]", held: "Hold", *, wait: bool
) -> int:
    """Submit what is missing and not in the queue, then the comparison."""
    from toolkit.campaigns.finish import submit_comparison
    from toolkit.campaigns.record import read_record, write_record
    from toolkit.campaigns.submit import (
        read_queue,
        refuse_spent,
        submit_study,
        with_launched,
        with_models,
    )

    record = with_launched(read_record(study.directory), planned)
    queue = read_queue(record, study.settings.max_parallel)
    todo = [run for run in planned if not run.done and not queue.jobs.get(run.name)]
    if todo:
        refuse_spent(study, record)
    write_record(study.directory, record)
    for name in (name for name, jobs in queue.jobs.items() if jobs):
        print(f"in queue   {name}")
    say_left(study, list(record.runs))
    late: list[str] = []
    if todo:
        todo = with_models(todo, held.touch)
        late = submit_study(study, todo, record, held)
    last = read_queue(read_record(study.directory), study.settings.max_parallel).last
    if not last:
        return compare(study)
    settings = (planned[0].plan.config, study.settings.usd_per_gpu_hour)
    job = submit_comparison(study.directory, *settings, last)
    print(f"submitted  comparison {job}: {study.directory / 'comparison'}")
    print(f"follow     {job_command('campaign')} {study.file} --status")
    print(f"cancel     {job_command('campaign')} {study.file} --cancel")
    if late:
        print(f"no room for {', '.join(late)} beside the adaptive runs: call this again later")
    if wait:
        return follow(study)
    return EXIT_INCOMPLETE if late else EXIT_DONE


def launch_here(study: "Study", planned: "list[PlannedRun]", held: "Hold") -> int:
    """Do what is missing on this machine, then compare."""
    from toolkit.campaigns.finish import work_through
    from toolkit.campaigns.record import read_record, write_record
    from toolkit.campaigns.submit import with_launched, with_models

    record = with_launched(read_record(study.directory), planned)
    write_record(study.directory, record)
    say_left(study, list(record.runs))
    todo = with_models([run for run in planned if not run.done], held.touch)
    complete = work_through(study, todo, held)
    compare(study)
    return EXIT_DONE if complete else EXIT_INCOMPLETE


def say_left(study: "Study", names: list[str]) -> None:
    """Name the runs that were launched and are no longer in the study file."""
    now = {run.name for run in study.runs}
    for name in names:
        if name not in now:
            print(f"left       {name}: no longer in {study.file}; it stays as it is")


def follow(study: "Study") -> int:
    """Wait until no job of the study is in the queue; whether all runs are done."""
    from toolkit.campaigns.overview import read_overview
    from toolkit.campaigns.record import read_record
    from toolkit.campaigns.submit import own_jobs, read_queue
    from toolkit.errors import SlurmFailure

    while True:
        record = read_record(study.directory)
        try:
            jobs = [*own_jobs(study.directory, record)]
            jobs += [job for found in read_queue(record, None).jobs.values() for job in found]
        except SlurmFailure as error:
            print(error, file=sys.stderr)
            jobs = []
        else:
            if not jobs:
                break
        time.sleep(WAIT_SECONDS)
    overview = read_overview(study)
    print(overview.text())
    return EXIT_DONE if overview.complete else EXIT_INCOMPLETE


def show_status(study: "Study", *, as_json: bool) -> int:
    """All runs, for people or for scripts."""
    from toolkit.campaigns.overview import read_overview

    overview = read_overview(study)
    print(overview.json() if as_json else overview.text())
    return EXIT_DONE if overview.complete else EXIT_INCOMPLETE


def cancel(study: "Study") -> int:
    """Cancel all jobs of the study, and say which."""
    from toolkit.campaigns.submit import cancel_study

    found = cancel_study(study.directory)
    for name, jobs in found.items():
        print(f"cancelled  {name or 'of the study itself'}: {', '.join(jobs)}")
    if not found:
        print(f"{study.file}: no job of this study is in the queue")
    return EXIT_DONE


def compare(study: "Study") -> int:
    """Compare the runs that are fitted."""
    from toolkit.campaigns.compare import compare_study

    names = [run.name for run in study.runs]
    print(compare_study(study.directory, study.settings.usd_per_gpu_hour, names))
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
