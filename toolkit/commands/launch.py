"""Sample, evaluate and fit: the main job.

Plans what the run of this configuration lacks, samples it in array tasks, judges the answers,
fits fail@k and writes the report. With --adaptive it does so in rounds: first --stop-min samples of
every problem, then more of those that have under --stop-r passes, up to --stop-cap. That gives the
same curve for a fraction of the samples. Launch again to go on after a failure, with another
--array, or with more --samples: nothing is sampled twice.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli import Parser, job_command, run_job
from toolkit.commands import presets
from toolkit.config import Config, ProblemSet
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, CorruptShard, SlurmFailure, UsageError
from toolkit.resolve import add_flags, resolve

if TYPE_CHECKING:
    from toolkit.launch.chain import Launcher
    from toolkit.launch.exclusive import Hold
    from toolkit.launch.prepare import LaunchPlan
    from toolkit.records import Problem
    from toolkit.runs.run import Run

RESUME = """go on with --run [runs/latest] as it was launched last: move corrupt shards aside, then
do what is missing; flags such as --array or --partition change that"""


def main() -> int:
    """Flags to a plan, the plan to a launcher."""
    flags = vars(parser().parse_args())
    if flags["show_prompt"] is not None and not flags["dry_run"]:
        raise UsageError("--show-prompt: nothing is shown by a launch: give --dry-run as well")
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.launch.describe import describe_prompt
    from toolkit.launch.exclusive import hold
    from toolkit.launch.gpus import refuse_too_few_gpus, visible_gpus
    from toolkit.launch.model import with_model
    from toolkit.launch.prepare import create_run, locate, plan_launch
    from toolkit.runs.run import open_run

    config, problems = settle(flags)
    where = (config, flags["runs"], flags["run"])
    timeout, libraries = flags.get("timeout"), flags.get("libraries")
    planning = partial(plan_launch, *where, problems=problems, timeout=timeout, libraries=libraries)
    found = locate(*where, problems=problems)
    run = open_run(found.path) if found.exists else None
    launcher = launcher_of(run, config, flags)
    if launcher == "local":
        refuse_too_few_gpus(config, visible_gpus(os.environ))
    if flags["dry_run"]:
        if flags["resume"] and run:
            set_corrupt_aside(run, dry_run=True)
        plan = planning()
        if flags["show_prompt"] is not None:
            print(describe_prompt(plan, flags["show_prompt"]))
        else:
            show_plan(plan, launcher, script=True)
        return EXIT_DONE
    # What is wrong with a new run is said before anything is written.
    old = run is not None
    run = run or create_run(with_model(planning()))
    with hold(run, launcher) as held:
        refuse_work_twice(run, launcher)
        try:
            plan = planning()
        except CorruptShard:
            # Verdicts and maps decide what an adaptive run plans.
            if not (flags["resume"] and set_corrupt_aside(run)):
                raise
            plan = planning()
        if flags["resume"] and set_corrupt_aside(run):
            plan = planning()
        # It was made a moment ago: to the user it is new.
        show_plan(plan if old else dataclasses.replace(plan, exists=False), launcher)
        if old:
            plan = with_model(plan, held.touch)
        return carry_out(plan, launcher, held, wait=flags["wait"])


def settle(flags: dict[str, Any]) -> "tuple[Config, list[Problem] | None]":
    """The configuration, and the problems that the run holds if it is resumed."""
    from toolkit.runs.run import open_run

    if not flags["resume"]:
        return configure(flags), None
    flags["run"] = (flags["run"] or flags["runs"] / "latest").resolve()
    config = configure_again(flags)
    if flags.keys() & {field.name for field in dataclasses.fields(ProblemSet)}:
        return config, None
    return config, open_run(flags["run"]).problems()


def launcher_of(run: "Run | None", config: Config, flags: Mapping[str, Any]) -> str:
    """Where to work: as the flag says, else as the run was launched last, else as configured."""
    from toolkit.launch.queue import choose_launcher, choose_launcher_of

    asked = config.resources.launcher
    if run is None or "launcher" in flags:
        return choose_launcher(asked)
    return choose_launcher_of(run, asked)


def refuse_work_twice(run: "Run", launcher: str) -> None:
    """Raise `UsageError` while jobs of the run are in the queue.

    A launch on this machine goes on where the queue does not answer: it was asked for by name.
    """
    from toolkit.launch.queue import refuse_second_launch

    try:
        refuse_second_launch(run)
    except SlurmFailure as error:
        if launcher == "slurm":
            raise
        print(f"in queue   not known: {error}")


def carry_out(plan: "LaunchPlan", launcher: str, held: "Hold", *, wait: bool) -> int:
    """Freeze the plan and hand it to its launcher; the exit code."""
    from toolkit.launch.prepare import freeze_launch
    from toolkit.launch.ticker import Ticker
    from toolkit.report.terminal import describe_results

    run = freeze_launch(plan)
    with Ticker(run, sys.stderr) as ticker:

        def show() -> None:
            held.touch()
            ticker.show()

        complete = open_launcher(launcher, held)(plan, run, show, wait=wait)
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
    found.add_argument(
        "--show-prompt",
        metavar="TASK_ID",
        help="with --dry-run: show what the model gets for this problem, and nothing else",
    )
    found.add_argument("--wait", action="store_true", help="slurm: follow to the end")
    add_flags(found)
    return found


def configure(flags: dict[str, Any]) -> Config:
    """The configuration; without preset, model or backend, the preset that fits this place."""
    from toolkit.launch.queue import choose_launcher, gpus_at_hand

    if flags["preset"] is None and not flags.keys() & {"model", "backend"}:
        launcher = choose_launcher(presets.configure(flags).resources.launcher)
        name = "llama-8b-a100" if gpus_at_hand(launcher) else "quickstart"
        print(f"no --model, no --preset: using the preset {name}")
        # Its choice of problems is no choice among the user's.
        others = flags.keys() & {"task", "problems"}
        everything = {"task_ids": None, "chosen": False} if others else {}
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
            f"`{job_command('evaluate')} {run.path}`"
        )
    return presets.checked(resolve(flags, base=recorded_config(run)))


def set_corrupt_aside(run: "Run", *, dry_run: bool = False) -> bool:
    """Name the damaged shards, verdicts and maps of a run and move them to quarantine.

    Returns whether any was moved. Called once nothing can be refused any more: bad input moves
    nothing.
    """
    from toolkit.runs.damage import damaged_maps, damaged_shards, damaged_verdicts, set_aside

    corrupt = [*damaged_shards(run), *damaged_verdicts(run), *damaged_maps(run)]
    for path, error in corrupt:
        print(f"corrupt    {error}")
        if not dry_run:
            print(f"           moved to {set_aside(run, path)}")
    return bool(corrupt) and not dry_run


def show_plan(plan: "LaunchPlan", launcher: str, *, script: bool = False) -> None:
    """The plan in words; with `script` also what Slurm would get for sampling, if it gets any."""
    from toolkit.launch.describe import describe_plan
    from toolkit.launch.model import describe_model
    from toolkit.launch.parameters import sbatch_script
    from toolkit.launch.prepare import tasks_of

    tasks = tasks_of(plan)
    print(describe_plan(plan, launcher, tasks))
    if script and (line := describe_model(plan)):
        print(line)
    if script and launcher == "slurm":
        print("\n" + sbatch_script(plan.config, plan.path / "slurm", "sample", len(tasks)))


def open_launcher(name: str, held: "Hold") -> "Launcher":
    """The launcher of this name: "slurm", "local" or "inline"."""
    from toolkit.launch.local import launch_inline, launch_local
    from toolkit.launch.slurm import launch_slurm

    launchers: dict[str, Launcher] = {
        "slurm": partial(launch_slurm, held=held),
        "local": launch_local,
        "inline": launch_inline,
    }
    return launchers[name]


if __name__ == "__main__":
    run_job(main)
