"""Sample, evaluate and fit: the main job.

Plans what the run of this configuration lacks, samples it in array tasks, judges the answers,
fits fail@k and writes the report. With --adaptive it does so in rounds: first --stop-min samples of
every problem, then more of those that have under --stop-r passes, up to --stop-cap. That gives the
same curve for a fraction of the samples. Launch again to go on after a failure, with another
--array, or with more --samples: nothing is sampled twice.
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli import Parser, run_job
from toolkit.commands import presets
from toolkit.config import Config, ProblemSet
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from toolkit.resolve import add_flags, resolve

if TYPE_CHECKING:
    from toolkit.launch.chain import Launcher
    from toolkit.launch.prepare import LaunchPlan
    from toolkit.runs.run import Run

RESUME = """go on with --run [runs/latest] as it was launched last: move corrupt shards aside, then
do what is missing; flags such as --array or --partition change that"""


def main() -> int:
    """Flags to a plan, the plan to a launcher."""
    flags = vars(parser().parse_args())
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.launch.describe import describe_plan
    from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
    from toolkit.launch.progress import Ticker
    from toolkit.launch.queue import choose_launcher, refuse_second_launch
    from toolkit.report.terminal import describe_results
    from toolkit.runs.run import open_run

    launcher = choose_launcher(flags.get("launcher", "auto"))
    problems = None
    if flags["resume"]:
        flags["run"] = (flags["run"] or flags["runs"] / "latest").resolve()
        config = configure_again(flags)
        if not flags.keys() & {field.name for field in dataclasses.fields(ProblemSet)}:
            problems = open_run(flags["run"]).problems()
    else:
        config = configure(flags, launcher)
    planning = partial(
        plan_launch,
        config,
        flags["runs"],
        flags["run"],
        problems=problems,
        timeout=flags.get("timeout"),
        libraries=flags.get("libraries"),
    )
    plan = planning()
    if launcher == "slurm" and plan.exists and not flags["dry_run"]:
        refuse_second_launch(open_run(plan.path))
    if flags["resume"] and set_corrupt_aside(open_run(plan.path), flags["dry_run"]):
        plan = planning()
    print(describe_plan(plan, launcher, tasks_of(plan)))
    if flags["dry_run"]:
        show_script(plan, launcher)
        return EXIT_DONE
    run = freeze_launch(plan)
    ticker = Ticker(run, sys.stderr)
    complete = open_launcher(launcher)(plan, run, ticker.show, wait=flags["wait"])
    ticker.end()
    if complete is None:
        return EXIT_DONE
    print("\n" + describe_results(run))
    return EXIT_DONE if complete else EXIT_INCOMPLETE


def parser() -> Parser:
    """The flags of a launch: its own, and one for every knob."""
    found = Parser(__doc__ or "")
    presets.add_preset_flag(found)
    found.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    found.add_argument("--run", type=Path, help="this run's directory [named by its identity]")
    found.add_argument("--resume", action="store_true", help=RESUME)
    found.add_argument("--dry-run", action="store_true", help="show the plan, touch nothing")
    found.add_argument("--wait", action="store_true", help="slurm: follow to the end")
    add_flags(found)
    return found


def configure(flags: dict[str, Any], launcher: str) -> Config:
    """The configuration; without preset, model or backend, the preset that fits this place."""
    from toolkit.launch.queue import gpus_at_hand

    if flags["preset"] is None and not flags.keys() & {"model", "backend"}:
        name = "llama-8b-a100" if gpus_at_hand(launcher) else "quickstart"
        print(f"no --model, no --preset: using the preset {name}")
        # Its choice of problems is no choice among the user's.
        everything = {"task_ids": None, "chosen": False} if "problems" in flags else {}
        flags = everything | flags | {"preset": name}
    return presets.configure(flags)


def configure_again(flags: dict[str, Any]) -> Config:
    """The configuration of the last launch, with the flags given now."""
    from toolkit.runs.history import recorded_config
    from toolkit.runs.run import open_run

    run = open_run(flags["run"])
    if flags["preset"]:
        raise UsageError("--resume takes the run's own configuration: give flags, not --preset")
    if run.manifest()["identity"]["backend"] == "ingest":
        raise UsageError(
            f"{run.path}: its samples were ingested, none is missing: evaluate them by "
            f"`python jobs/evaluate.py {run.path}`"
        )
    return resolve(flags, base=recorded_config(run))


def set_corrupt_aside(run: "Run", dry_run: bool) -> bool:
    """Name the run's corrupt shards and move them to quarantine; whether any was moved.

    Called once nothing can be refused any more: bad input moves nothing.
    """
    from toolkit.runs.shards import quarantine, verify_shards

    corrupt = list(verify_shards(run))
    for name, error in corrupt:
        print(f"corrupt    {name}: {error}")
        if not dry_run:
            print(f"           moved to {quarantine(run, name)}")
    return bool(corrupt) and not dry_run


def show_script(plan: "LaunchPlan", launcher: str) -> None:
    """What Slurm would get for sampling; nothing where another launcher would work."""
    from toolkit.launch.parameters import sbatch_script
    from toolkit.launch.prepare import tasks_of

    if launcher == "slurm":
        tasks = len(tasks_of(plan))
        print("\n" + sbatch_script(plan.config, plan.path / "slurm", "sample", tasks))


def open_launcher(name: str) -> "Launcher":
    """The launcher of this name: "slurm", "local" or "inline"."""
    from toolkit.launch.local import launch_inline, launch_local
    from toolkit.launch.slurm import launch_slurm

    launchers: dict[str, Launcher] = {
        "slurm": launch_slurm,
        "local": launch_local,
        "inline": launch_inline,
    }
    return launchers[name]


if __name__ == "__main__":
    run_job(main)
