"""What processes use, read from /proc, and the memory that this job may use on its node."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SPARE_SHARE: Final = 0.1
"""Of the job's memory, left to the supervisor and to what lies between two looks."""
LEAST_SHARE: Final = 256 << 20
"""With less, honest programs would fail."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


class Usage(NamedTuple):
    """What processes use together."""

    memory_bytes: int
    """Resident memory; a page that several of them share is counted once for each."""
    tasks: int
    """Processes and threads, also those that have ended and wait for their parent."""


def usage(proc: int, pids: Iterable[str]) -> Usage:
    """The use of these processes, by their names in /proc, of which `proc` is a descriptor.

    A process that is gone uses nothing. One read a process: some 10 microseconds.
    """
    memory = tasks = 0
    for pid in pids:
        # After the name, which may hold anything: state is field 3 of stat. Threads are field 20,
        # resident pages field 24.
        fields = read(proc, f"{pid}/stat").rpartition(b")")[2].split()
        if len(fields) > 21:
            tasks += int(fields[17])
            memory += int(fields[21]) * _PAGE_BYTES
    return Usage(memory, tasks)


def read(proc: int, name: str, size: int = 4096) -> bytes:
    """The beginning of a file in /proc; empty where there is none or it may not be read."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def memory_share(workers: int, environment: Mapping[str, str] = os.environ) -> int:
    """Bytes that the programs of each of so many workers may use, so that all fit into the job.

    The job's memory is the least of what its control groups, Slurm's variables and MemAvailable
    give; a tenth is spared. A share is never less than `LEAST_SHARE`.
    """
    known = [1 << 62, *_of_slurm(environment), *_of_control_groups(), *_of_node()]
    return max(LEAST_SHARE, int(min(known) * (1 - _SPARE_SHARE)) // workers)


def _of_slurm(environment: Mapping[str, str]) -> list[int]:
    """Slurm gives megabytes: of the node, or of each core. 0 stands for all of the node."""
    found = []
    if node := _number(environment.get("SLURM_MEM_PER_NODE", "")):
        found.append(node << 20)
    core = _number(environment.get("SLURM_MEM_PER_CPU", ""))
    cores = _number(environment.get("SLURM_CPUS_ON_NODE", ""))
    if core and cores:
        found.append((core * cores) << 20)
    return found


def _of_control_groups(
    table: Path = Path("/proc/self/cgroup"), mounted: Path = _CGROUPS
) -> list[int]:
    """What the limits of this process's control groups, and of those above, leave.

    What they hold of files is not counted: the kernel gives it up when memory is short.
    """
    found = []
    for line in _lines(table):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used, cached = mounted, "memory.max", "memory.current", "file"
        elif "memory" in controllers.split(","):
            top, cached = mounted / "memory", "total_cache"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = Path(path.strip("/"))
        for folder in (top / g for g in (group, *group.parents)):
            most = _first_number(folder / limit)
            if most is not None:
                cache = _first_number(folder / "memory.stat", f"{cached} ") or 0
                found.append(max(0, most - (_first_number(folder / used) or 0) + cache))
    return found


def _of_node() -> list[int]:
    available = _first_number(Path("/proc/meminfo"), "MemAvailable:")
    return [] if available is None else [available << 10]


def _first_number(path: Path, after: str = "") -> int | None:
    """The number in the first line that begins with `after`; None if there is none."""
    for line in _lines(path):
        if line.startswith(after):
            return _number(line.removeprefix(after).split()[0])
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None  # "max" of a control group is none


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
