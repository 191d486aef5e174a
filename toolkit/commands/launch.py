"""Sample, evaluate and fit: the main job.

Plans what the run of this configuration lacks, samples it in an array of tasks, executes the
programs, fits fail@k and writes the report. With --adaptive it does so in rounds: first --stop-min
samples of every problem, then more of those that have under --stop-r passes, up to --stop-cap; the
same curve for a fraction of the samples. Launch again to go on after a failure, with another
--array, or with more --samples: nothing is sampled twice.
"""

import sys
from pathlib import Path
from typing import Any

from toolkit.cli import Parser, run_job
from toolkit.config import Config, add_flags, read_site, resolve, site_file
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from toolkit.launch.describe import describe_plan
from toolkit.launch.local import (
    choose_launcher,
    gpus_at_hand,
    run_inline,
    run_local,
)
from toolkit.launch.prepare import freeze_launch, plan_launch, recorded_config, tasks_of
from toolkit.launch.slurm import jobs_in_queue, sbatch_script, submit_slurm, wait_slurm
from toolkit.launch.status import Ticker
from toolkit.report.terminal import describe_results, results_complete
from toolkit.runs.run import Run, open_run
from toolkit.runs.shards import quarantine, verify_shards

PRESETS = Path(__file__).resolve().parents[1] / "presets"

RESUME = """go on with --run [runs/latest] as it was launched last: move corrupt shards aside, then
do what is missing; flags such as --array or --partition change that"""


def main() -> int:
    """Flags to a plan, the plan to a launcher."""
    parser = Parser(__doc__ or "")
    names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
    parser.add_argument("--preset", help=f"a TOML file, or one of {names}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    parser.add_argument("--run", type=Path, help="this run's directory [named by its identity]")
    parser.add_argument("--resume", action="store_true", help=RESUME)
    parser.add_argument("--dry-run", action="store_true", help="show the plan, touch nothing")
    parser.add_argument("--wait", action="store_true", help="slurm: follow to the end")
    add_flags(parser)
    flags = vars(parser.parse_args())
    launcher = choose_launcher(flags.get("launcher", "auto"))
    if flags["resume"]:
        flags["run"] = (flags["run"] or flags["runs"] / "latest").resolve()
        config = configure_again(flags)
    else:
        config = configure(flags, launcher)
    plan = plan_launch(config, flags["runs"], flags["run"], timeout=flags.get("timeout"))
    if launcher == "slurm" and plan.exists and not flags["dry_run"]:
        refuse_twice(open_run(plan.path))
    if flags["resume"] and set_corrupt_aside(open_run(plan.path), flags["dry_run"]):
        plan = plan_launch(config, flags["runs"], flags["run"], timeout=flags.get("timeout"))
    tasks = tasks_of(plan)
    print(describe_plan(plan, launcher, tasks))
    if flags["dry_run"]:
        if launcher == "slurm":
            folder = plan.path / "slurm"
            print("\n" + sbatch_script(config, folder, "sample", len(tasks)))
        return EXIT_DONE
    run = freeze_launch(plan)
    ticker = Ticker(run, sys.stderr)
    match launcher:
        case "slurm":
            submitted = submit_slurm(plan, run)
            print(submitted.describe())
            if not flags["wait"]:
                return EXIT_DONE
            wait_slurm(submitted, ticker.show)
            complete = results_complete(run)
        case "local":
            complete = run_local(plan, run, ticker.show)
        case _:
            complete = run_inline(plan, run)
    ticker.end()
    print("\n" + describe_results(run))
    return EXIT_DONE if complete else EXIT_INCOMPLETE


def configure(flags: dict[str, Any], launcher: str) -> Config:
    """The configuration; without preset, model or backend, the preset that fits this place."""
    name = flags["preset"]
    if name is None and not flags.keys() & {"model", "backend"}:
        name = "llama-8b-a100" if gpus_at_hand(launcher) else "quickstart"
        print(f"no --model, no --preset: using the preset {name}")
    site = read_site(site_file())
    if name is None:
        return resolve(flags, base=site)
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise UsageError(f"--preset {name}: no such preset; a TOML file, or one of {names}")
    return resolve(flags, path, base=site)


def configure_again(flags: dict[str, Any]) -> Config:
    """The configuration of the last launch, with the flags given now."""
    run = open_run(flags["run"])
    if flags["preset"]:
        raise UsageError("--resume takes the run's own configuration: give flags, not --preset")
    return resolve(flags, base=recorded_config(run))


def set_corrupt_aside(run: Run, dry_run: bool) -> bool:
    """Name the run's corrupt shards and move them to quarantine; whether any was moved.

    Called once nothing can be refused any more: bad input moves nothing.
    """
    corrupt = list(verify_shards(run))
    for name, error in corrupt:
        print(f"corrupt    {name}: {error}")
        if not dry_run:
            print(f"           moved to {quarantine(run, name)}")
    return bool(corrupt) and not dry_run


def refuse_twice(run: Run) -> None:
    """Raises `UsageError` while jobs of the run are in the queue: they do the same work."""
    if jobs := jobs_in_queue(run):
        listed = ", ".join(f"{stage} {job}" for job, stage in jobs.items())
        raise UsageError(
            f"{run.path}: in the queue already: {listed}; wait for them, or end them by "
            f"`python jobs/cancel.py {run.path}`"
        )


if __name__ == "__main__":
    run_job(main)
