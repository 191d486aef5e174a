"""What this place offers, before it costs hours: isolation, verdicts, file system, Slurm, model.

Prints one line a finding: ok, warn or fail, with what to do. Exit code 0 without a fail, else 1.
Nothing is written but two small files, removed at once, in the directory of the runs. Give the
flags of the launch that is planned: partition, time, gres, account and model are looked at. Where a
GPU is at hand, or with --try-model, a dozen samples are drawn as configured and evaluated.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli import Parser, run_job
from toolkit.commands.presets import add_preset_flag, configure
from toolkit.config import Config
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE
from toolkit.resolve import add_flags

if TYPE_CHECKING:
    from toolkit.launch.doctor import Finding


def main() -> int:
    """Look at everything, print as it is found."""
    flags = vars(parser().parse_args())
    failed = False
    for finding in examine(flags):
        print(finding.line(), flush=True)
        failed |= finding.grade == "fail"
    return EXIT_INCOMPLETE if failed else EXIT_DONE


def parser() -> Parser:
    """The flags of the planned launch, and the doctor's own."""
    found = Parser(__doc__ or "")
    add_preset_flag(found)
    found.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    found.add_argument("--gpu-gib", type=float, default=40.0, help="memory of a GPU [40]")
    found.add_argument(
        "--try-model",
        action=argparse.BooleanOptionalAction,
        help="draw a dozen samples [where a GPU is at hand]",
    )
    add_flags(found)
    return found


def examine(flags: dict[str, Any]) -> Iterator["Finding"]:
    """All findings, the quick ones first."""
    # After parsing: --help and a wrong flag answer at once.
    from toolkit.cores import available_cores
    from toolkit.launch.doctor import examine_directory
    from toolkit.launch.doctor_engine import examine_engine
    from toolkit.launch.doctor_judge import examine_judge
    from toolkit.launch.model import examine_model, model_at_hand
    from toolkit.launch.preflight import examine_sampling, examine_slurm
    from toolkit.launch.queue import gpus_at_hand
    from toolkit.stages.task import load_task
    from toolkit.verifiers.judges import judge_of, with_settings

    config = configure(flags)
    chosen, settings = config.problem_set, config.evaluation
    _, problems, choice = load_task(
        chosen.task, chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids
    )
    judge = judge_of(with_settings(choice, settings.timeout, settings.libraries))
    workers = settings.workers or available_cores()
    yield from examine_directory(flags["runs"])
    yield from examine_slurm(config)
    seeds = min(config.quantity.samples, config.quantity.slice_seeds)
    yield from examine_model(config.sampling, config.engine, flags["gpu_gib"], seeds)
    yield from examine_engine(config)
    yield from examine_judge(problems, judge, settings.isolation, workers)
    try_model, trial = flags["try_model"], configure_trial(flags)
    if try_model is None:
        # Nobody has asked for a download.
        try_model = gpus_at_hand("local") and model_at_hand(trial.sampling)
    if try_model:
        yield examine_sampling(trial)


def configure_trial(flags: dict[str, Any]) -> Config:
    """What is sampled: as configured; without preset, model or backend, the quickstart."""
    if flags["preset"] is None and not flags.keys() & {"model", "backend"}:
        flags = flags | {"preset": "quickstart"}
    return configure(flags)


if __name__ == "__main__":
    run_job(main)
