"""The GPUs of this machine, dealt out to the array tasks that sample here.

How many there are is read without CUDA: a process that has touched CUDA cannot fork engines.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from toolkit.config import Config
from toolkit.errors import UsageError

Gpus = tuple[str, ...]
"""GPUs as CUDA_VISIBLE_DEVICES names them: by index, or by UUID (GPU-..., MIG-...)."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
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

    Only sampling by vLLM gets GPUs, as many as hold one model together. There are no more places
    than GPUs for them, than array tasks, and for sampling than --max-parallel; at least one.
    """
    size = config.engine.tensor_parallel_size
    most = config.resources.max_parallel if stage == "sample" else None
    found: list[Gpus] = [()] * tasks
    if stage == "sample" and config.sampling.backend == "vllm" and len(gpus) >= size:
        found = [gpus[i : i + size] for i in range(0, len(gpus) - size + 1, size)]
    return found[: max(1, min(tasks, most or tasks))]


def refuse_too_few_gpus(config: Config, gpus: Gpus) -> None:
    """Raise `UsageError` where not even one model fits this machine's GPUs.

    With --gres '' the engine is a CPU's. Nothing is checked then.
    """
    size = config.engine.tensor_parallel_size
    if config.sampling.backend != "vllm" or config.resources.gres == "" or size == 1:
        return
    if len(gpus) < size:
        shown = f" ({VISIBLE}={os.environ[VISIBLE]})" if VISIBLE in os.environ else ""
        raise UsageError(
            f"--tensor-parallel-size {size}: only {len(gpus)} GPU{'' if len(gpus) == 1 else 's'} "
            f"on this machine{shown}; give at most that, or for a CPU --gres ''"
        )
