"""GPUs, dealt out: those of this machine to array tasks, those of an array task to its engines.

How many there are is read without CUDA: a process that has touched CUDA cannot fork engines.
"""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from toolkit.cli import how_many
from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.launch.sbatch_options import gpus_needed
from toolkit.stages.sample import VISIBLE, Devices

log = logging.getLogger(__name__)

Gpus = Devices
"""GPUs as CUDA_VISIBLE_DEVICES names them: by index, or by UUID (GPU-..., MIG-...)."""
LISTING_SECONDS = 30.0
NO_GPU = ("", "-1", "NoDevFiles", "none", "void")
"""Entries of `VISIBLE` that name none; as CUDA does, they and all after them are left out."""


def visible_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> Gpus:
    """The GPUs that a process with this environment sees: those it names, else the machine's.

    devices: the directory of the device files, nvidia0 and so on.
    """
    if (named := environment.get(VISIBLE)) is not None:
        found: list[str] = []
        for entry in (part.strip() for part in named.split(",")):
            if entry in NO_GPU:
                break
            found.append(entry)
        return tuple(found)
    # CUDA counts from 0 what is there: in a container, nvidia3 alone is its device 0.
    files = [p for p in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]
    return tuple(map(str, range(len(files) or _listed(environment))))


def _listed(environment: Mapping[str, str]) -> int:
    """How many GPUs the driver lists, where there are no device files (as under WSL)."""
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return 0
    try:
        done = subprocess.run(
            (program, "-L"), capture_output=True, text=True, timeout=LISTING_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(re.findall(r"^GPU \d+:", done.stdout, re.MULTILINE))


def places(config: Config, stage: str, tasks: int, gpus: Gpus) -> list[Gpus]:
    """Where array tasks of a stage run at the same time: the GPUs of each place.

    Only sampling by vLLM gets GPUs, as many as the engines of an array task use. There are no more
    places than GPUs for them, than array tasks, and for sampling than --max-parallel; at least one.
    """
    size = gpus_needed(config)
    most = config.resources.max_parallel if stage == "sample" else None
    found: list[Gpus] = [()] * tasks
    if stage == "sample" and config.sampling.backend == "vllm" and len(gpus) >= size:
        found = [gpus[i : i + size] for i in range(0, len(gpus) - size + 1, size)]
    return found[: max(1, min(tasks, most or tasks))]


def refuse_too_few_gpus(config: Config, gpus: Gpus) -> None:
    """Raise `UsageError` where the engines of one array task do not fit this machine's GPUs.

    With --gres '' the engines are a CPU's. Nothing is checked then.
    """
    if config.sampling.backend != "vllm" or config.resources.gres == "":
        return
    if len(gpus) < gpus_needed(config) != 1:
        _refuse(config, gpus, "on this machine")


def engine_devices(config: Config, environment: Mapping[str, str]) -> list[Gpus]:
    """The GPUs of each engine of an array task, out of those that the task sees.

    (): an engine on a CPU, or the only one, which sees what the task sees. Raises `UsageError` if
    several engines on GPUs have too few of them.
    """
    count, size = config.resources.engines_per_task, config.engine.tensor_parallel_size
    if count == 1:
        return [()]
    seen = visible_gpus(environment)
    if len(seen) < count * size:
        if seen and config.sampling.backend == "vllm":
            _refuse(config, seen, "for this array task")
        return [()] * count
    if len(seen) > count * size:
        log.warning("idle GPUs of this array task: %d of %d", len(seen) - count * size, len(seen))
    return [seen[i * size : (i + 1) * size] for i in range(count)]


def _refuse(config: Config, gpus: Gpus, where: str) -> NoReturn:
    engines, size = config.resources.engines_per_task, config.engine.tensor_parallel_size
    shown = f" ({VISIBLE}={os.environ[VISIBLE]})" if VISIBLE in os.environ else ""
    only = f"only {how_many(len(gpus), 'GPU')} {where}{shown}"
    if engines == 1 or len(gpus) < size:
        raise UsageError(
            f"--tensor-parallel-size {size}: {only}; give at most that, or for a CPU --gres ''"
        )
    raise UsageError(
        f"--engines-per-task {engines}: {only}, but {engines} engines with --tensor-parallel-size "
        f"{size} need {engines * size}; give --engines-per-task {len(gpus) // size}, or for a CPU "
        "--gres ''"
    )
