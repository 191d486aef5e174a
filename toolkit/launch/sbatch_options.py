"""`--slurm`: sbatch's own options, for all jobs of a launch or for those of one stage."""

import re
import shlex
from collections.abc import Iterable

from toolkit.cli import how_many
from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.launch.amounts import gpus_of, mebibytes_of, minutes_of
from toolkit.resolve import gres_of_gpus

STAGES = {
    "sample": ("sample",),
    "alongside": ("evaluate", "alongside"),
    "evaluate": ("evaluate",),
    "fit": ("fit",),
    "next": ("fit", "next"),
}
"""Stage -> the prefixes that it obeys, the later one with the last word. The job that plans the
next round of an adaptive run also fits, at the end: what is said of fit holds for it too. So does
what is said of evaluate for evaluation alongside."""

Options = dict[str, str | bool]
"""Option as sbatch spells it, with dashes -> its value; True for an option without one."""

NO_VALUE = frozenset(
    "contiguous hold ignore-pbs no-requeue overcommit oversubscribe reboot requeue spread-job "
    "use-min-nodes verbose".split()
)
"""Options of sbatch that take no value."""
VALUE_OR_NONE = frozenset("exclusive get-user-env nice no-kill propagate".split())

ONE_TASK = "an array task is one process on one node"
LOGS = "status reads the logs where the toolkit puts them"
ANSWER = "the toolkit reads what sbatch answers"
RESERVED = {
    "array": "give --array, --eval-array or --max-parallel",
    "chdir": "jobs run where the launch was called",
    "clusters": "status and cancel ask this cluster only",
    "dependency": "the stages of a launch depend on one another",
    "error": LOGS,
    "help": ANSWER,
    "input": "the toolkit gives a job its input",
    "job-name": "status and cancel find jobs by their names",
    "nodes": ONE_TASK,
    "ntasks": ONE_TASK,
    "ntasks-per-core": ONE_TASK,
    "ntasks-per-gpu": ONE_TASK,
    "ntasks-per-node": ONE_TASK,
    "ntasks-per-socket": ONE_TASK,
    "open-mode": LOGS,
    "output": LOGS,
    "parsable": ANSWER,
    "quiet": ANSWER,
    "signal": "by its signal the toolkit stops a job before the time limit",
    "tasks-per-node": ONE_TASK,
    "test-only": "give --dry-run",
    "usage": ANSWER,
    "version": ANSWER,
    "wait": "give --wait to the launch",
    "wrap": "the toolkit writes the script",
}
"""What the toolkit sets itself, or could not work with -> why, or what to do instead."""
GPU_OPTIONS = ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")
INSTEAD = {
    "cpus-per-gpu": ("cpus-per-task",),
    "mem-per-cpu": ("mem",),
    "mem-per-gpu": ("mem",),
    "no-requeue": ("requeue",),
    **dict.fromkeys(GPU_OPTIONS, ("gres",)),
}
"""Option of `--slurm` -> those of the toolkit's that it replaces: sbatch takes one or the other."""


def job_options(config: Config, stage: str) -> Options:
    """The options of a stage that users decide; `--slurm` has the last word."""
    r, sampling = config.resources, stage == "sample"
    own: dict[str, str | bool | None] = {
        "account": r.account,
        "constraint": r.constraint if sampling else None,
        "cpus-per-task": str(r.cpus if sampling else r.eval_cpus),
        "gres": sampling_gres(config) if sampling else None,
        "mem": r.mem if sampling else r.eval_mem,
        "partition": r.partition if sampling else r.cpu_partition,
        "qos": r.qos if sampling else r.cpu_qos,
        "requeue": True,
        "time": r.time if sampling else r.eval_time,
    }
    further = options_of(r.slurm or (), stage)
    replaced = {name for option in further for name in INSTEAD.get(option, ())}
    kept = {name: value for name, value in own.items() if value and name not in replaced}
    return kept | further


def options_of(items: Iterable[str], stage: str) -> Options:
    """The options of a stage. Those with its prefix come after those without, later ones last.

    Raises `UsageError` for an item that sbatch or the toolkit could not use.
    """
    found = [_option(item) for item in items]
    chosen: Options = {}
    for prefix in ("", *STAGES[stage]):
        chosen.update({key: value for where, key, value in found if where == prefix})
    return chosen


def sampling_gres(config: Config) -> str:
    """The generic resources of an array task that samples, as sbatch takes them; "" for none."""
    gres = config.resources.gres
    if gres is None:
        gres = f"gpu:{gpus_needed(config)}"
    return gres_asked(options_of(config.resources.slurm or (), "sample"), gres)


def check_jobs(config: Config) -> None:
    """Raise `UsageError` for what sbatch would refuse, or the toolkit could not work with."""
    r = config.resources
    minutes_of(r.time, "--time")
    minutes_of(r.eval_time, "--eval-time")
    mebibytes_of(r.mem, "--mem")
    mebibytes_of(r.eval_mem, "--eval-mem")
    for name, text in (("--container", r.container), ("--cpu-container", r.cpu_container)):
        try:
            shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{name} {text}: not a command of the shell: {error}") from None
    for item in r.slurm or ():
        _option(item)
    if config.sampling.backend == "vllm" and r.launcher in ("auto", "slurm"):
        _check_gpus(sampling_gres(config), config)


def gpus_needed(config: Config) -> int:
    """How many GPUs the engines of one array task use together."""
    return config.resources.engines_per_task * config.engine.tensor_parallel_size


def _check_gpus(gres: str, config: Config) -> None:
    """A job that asks for no GPU is a CPU's, or has its GPUs in another way: nothing is checked."""
    gpus, needed = gpus_of(gres), gpus_needed(config)
    if gpus is None or gpus == needed:
        return
    engines, each = config.resources.engines_per_task, config.engine.tensor_parallel_size
    uses = f"--tensor-parallel-size {each}"
    if engines > 1:
        uses = f"--engines-per-task {engines} with {uses}"
    remedy = f"give --gpus {needed}"
    if gpus > needed and gpus % each == 0:
        remedy += f", or --engines-per-task {gpus // each} to use them all"
    raise UsageError(
        f"{uses}: an array task asks for {how_many(gpus, 'GPU')} ({gres}), and its "
        f"engines use {needed}; {remedy}"
    )


def gres_asked(options: Options, gres: str) -> str:
    """The generic resources of a job: those that its options name, else `gres`."""
    if "gres" in options:
        return str(options["gres"])
    for key in GPU_OPTIONS:
        if key in options:
            return gres_of_gpus(str(options[key]))
    return gres


def _option(item: str) -> tuple[str, str, str | bool]:
    """(stage or "", option, value) of "evaluate.qos=low", "qos=low" or "exclusive"."""
    name, equals, value = item.partition("=")
    stage, dot, key = name.rpartition(".")
    key = key.lstrip("-").replace("_", "-").lower()
    if dot and stage not in STAGES:
        raise UsageError(f"--slurm {item}: no stage {stage}; valid: {', '.join(STAGES)}")
    if not re.fullmatch(r"[a-z][a-z0-9-]+", key) or "\n" in value:
        raise UsageError(
            f"--slurm {' '.join(item.split())}: write it as key=value or stage.key=value, the key "
            "being a long option of sbatch, such as nice=100 or evaluate.qos=low"
        )
    for reserved, why in RESERVED.items():
        # sbatch reads the beginning of an option's name as that option.
        if reserved.startswith(key) and key not in NO_VALUE:
            raise UsageError(f"--slurm {item}: {reserved} cannot be set by --slurm: {why}")
    if key in NO_VALUE and equals:
        raise UsageError(f"--slurm {item}: {key} takes no value; write --slurm {key}")
    if key not in NO_VALUE | VALUE_OR_NONE and not value:
        raise UsageError(f"--slurm {item}: {key} needs a value; write --slurm {name}=VALUE")
    _check_value(f"--slurm {name}", key, value)
    return stage, key, value if equals else True


def _check_value(name: str, key: str, value: str) -> None:
    if key == "time":
        minutes_of(value, name)
    elif key in ("mem", "mem-per-cpu", "mem-per-gpu"):
        mebibytes_of(value, name)
    elif key in GPU_OPTIONS:
        gres_of_gpus(value, name)
