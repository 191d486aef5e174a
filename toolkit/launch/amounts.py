"""Time, memory and GPUs in the words of sbatch, read as numbers.

The text that a user gives goes to Slurm as it is. It is read here to refuse what sbatch would
refuse, and for whatever needs the number. A test compares both with a real sbatch.
"""

import re

from toolkit.errors import UsageError

NO_LIMIT = ("unlimited", "infinite", "-1")
DAYS = re.compile(r"(\d+)-(?:(\d+)(?::(\d+))?(?::(\d+))?)?")
CLOCK = re.compile(r"(?:(\d+):)??(\d+)(?::(\d+))?")
MEMORY = re.compile(r"(\d+)(?:([kmgt])b?)?")
MEBIBYTES = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024**2}
LEAST_PLAIN_MEMORY = 1000
"""A smaller number without a unit was meant in GiB; sbatch reads MB."""


def minutes_of(text: str, name: str = "--time") -> int | None:
    """The minutes of a time limit, seconds rounded up as Slurm does; None for no limit.

    Raises `UsageError`, naming the flag `name`, for what sbatch would refuse.
    """
    if text.lower() in NO_LIMIT:
        return None
    if found := DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    elif found := CLOCK.fullmatch(text):
        days, hours, minutes, seconds = 0, *(int(part or 0) for part in found.groups())
    else:
        raise UsageError(
            f"{name} {text}: not a time; give minutes, hours:minutes:seconds or "
            "days-hours:minutes:seconds, such as 90, 1:30:00 or 2-12, or UNLIMITED"
        )
    return (days * 24 + hours) * 60 + minutes + -(-seconds // 60) or None


def mebibytes_of(text: str, name: str = "--mem") -> int:
    """The MiB of a node's memory that are asked for; 0 stands for all of it.

    Raises `UsageError`, naming the flag `name`, for what sbatch would refuse, and for a number
    without a unit that is too small to be meant in MB.
    """
    found = MEMORY.fullmatch(text.lower())
    if not found:
        raise UsageError(
            f"{name} {text}: not an amount of memory; give a whole number with K, M, G or T, such "
            "as 48G, or 0 for all memory of the node"
        )
    number, unit = int(found[1]), found[2]
    if not unit and 0 < number < LEAST_PLAIN_MEMORY:
        raise UsageError(f"{name} {text}: sbatch reads this as MB; write {text}G or {text}M")
    return -int(-number * MEBIBYTES[unit or "m"] // 1)


def gres_items(gres: str) -> list[tuple[str, int]]:
    """[("gpu:a100", 2), ("nvme", 1)] of "gpu:a100:2,nvme"; the count is 1 where none is given."""
    found = []
    for item in filter(None, gres.replace("=", ":").split(",")):
        *name, last = item.removeprefix("gres:").split(":")
        found.append((":".join(name), int(last)) if name and last.isdigit() else (item, 1))
    return found


def gpus_of(gres: str) -> int | None:
    """The number of GPUs in a generic resource; None if it has none, or parts of one (shard)."""
    counts = [count for name, count in gres_items(gres) if name.split(":")[0] == "gpu"]
    return sum(counts) if counts else None


def time_in_words(text: str) -> str:
    """ "90 min", or "no time limit"."""
    minutes = minutes_of(text)
    return "no time limit" if minutes is None else f"{minutes} min"


def memory_in_words(text: str) -> str:
    """ "48 GiB", or "all memory of the node"."""
    mebibytes = mebibytes_of(text)
    return f"{mebibytes / 1024:.4g} GiB" if mebibytes else "all memory of the node"
