"""What this place offers, before it costs hours: isolation, verdicts, file system, Slurm, model.

Prints one line a finding: ok, warn or fail, with what to do. Exit code 0 without a fail, else 1.
Nothing is written but two small files, removed at once, in the directory of the runs. Give the
flags of the launch that is planned: partition, time, gres, account and model are looked at. Where a
GPU is at hand, or with --try-model, a dozen samples are drawn and evaluated.
"""

import argparse
from itertools import chain
from pathlib import Path

from toolkit.cli import Parser, run_job
from toolkit.config import add_flags, read_site, resolve, site_file
from toolkit.cores import available_cores
from toolkit.errors import EXIT_DONE, EXIT_INCOMPLETE
from toolkit.launch.doctor import examine_directory, examine_judge
from toolkit.launch.local import gpus_at_hand
from toolkit.launch.preflight import (
    examine_model,
    examine_sampling,
    examine_slurm,
    sampling_flags,
)
from toolkit.problems.load import load_problems
from toolkit.verifiers.base import only_kind
from toolkit.verifiers.judges import choice_of, judge_of


def main() -> int:
    """Look at everything, print as it is found."""
    parser = Parser(__doc__ or "")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are [runs]")
    parser.add_argument("--gpu-gib", type=float, default=40.0, help="memory of a GPU [40]")
    parser.add_argument("--try-model", action=argparse.BooleanOptionalAction,
                        default=gpus_at_hand("local"), help="draw a dozen samples")  # fmt: skip
    add_flags(parser)
    flags = vars(parser.parse_args())
    config = resolve(flags, base=read_site(site_file()))
    chosen, settings = config.problem_set, config.evaluation
    problems = load_problems(chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids)
    judge = judge_of(choice_of(only_kind(problems), settings.timeout))
    workers = settings.workers or available_cores()
    failed = False
    for finding in chain(
        examine_directory(flags["runs"]),
        examine_slurm(config.resources),
        examine_model(config.sampling.model, config.engine, flags["gpu_gib"]),
        examine_judge(problems, judge, settings.isolation, workers),
        (examine_sampling(sampling_flags(config)) for _ in range(flags["try_model"])),
    ):
        print(finding.line(), flush=True)
        failed |= finding.grade == "fail"
    return EXIT_INCOMPLETE if failed else EXIT_DONE


if __name__ == "__main__":
    run_job(main)
