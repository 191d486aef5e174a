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

import _installed  # noqa: F401

from toolkit.cli import Parser, run_job
from toolkit.config import Config, add_flags, resolve
from toolkit.describe import describe_plan, describe_results, results_complete
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from toolkit.launch import (
    choose_launcher,
    gpus_at_hand,
    run_inline,
    run_local,
)
from toolkit.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.slurm import sbatch_script, submit_slurm, wait_slurm
from toolkit.status import Ticker

PRESETS = Path(__file__).parent / "presets"


def main() -> int:
    """Flags to a plan, the plan to a launcher."""
    parser = Parser(__doc__ or "")
    names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
    parser.add_argument("--preset", help=f"a TOML file, or one of {names}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    parser.add_argument("--run", type=Path, help="this run's directory [named by its identity]")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, touch nothing")
    parser.add_argument("--wait", action="store_true", help="slurm: follow to the end")
    add_flags(parser)
    flags = vars(parser.parse_args())
    launcher = choose_launcher(flags.get("launcher", "auto"))
    config = configure(flags, launcher)
    plan = plan_launch(config, flags["runs"], flags["run"])
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
    if name is None:
        return resolve(flags)
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise UsageError(f"--preset {name}: no such preset; a TOML file, or one of {names}")
    return resolve(flags, path)


if __name__ == "__main__":
    run_job(main)
