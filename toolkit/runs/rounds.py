"""The frozen plans of a run's rounds, `rounds/r000.json` and those after it."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from toolkit.errors import CorruptShard, ToolkitError
from toolkit.files import publish_once
from toolkit.records import SeedRange, Slice
from toolkit.runs.tables import read_json, remedy, unreadable
from toolkit.stats.stopping import StoppingRule


def round_name(index: int) -> str:
    """The file name of the plan of a round: `r000.json`."""
    return f"r{index:03d}.json"


def read_round(path: Path) -> list[Slice]:
    """The slices of a round. Raises `CorruptShard` if the plan is not what a launch writes."""
    found = read_json(path)
    with _naming_plan(path):
        slices = []
        for entry in found["slices"]:
            ranges = tuple(SeedRange(str(t), int(a), int(b)) for t, a, b in entry["ranges"])
            slices.append(Slice(str(entry["name"]), ranges))
        _rule_in(found)  # a plan is whole, or damaged
    return slices


def read_rule(path: Path) -> StoppingRule | None:
    """The rule by which sampling stops, as a round has it; None for a fixed n.

    A process reads it once: a large plan takes long, and it is frozen.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return _rule_at(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1024)
def _rule_at(path: Path, *stamp: int) -> StoppingRule | None:
    """stamp: changes with the file, where somebody replaced or damaged it."""
    found = read_json(path)
    with _naming_plan(path):
        return _rule_in(found)


def _rule_in(plan: Mapping[str, Any]) -> StoppingRule | None:
    stopping = plan.get("stopping")
    return StoppingRule.of_document(stopping) if stopping else None


@contextlib.contextmanager
def _naming_plan(path: Path) -> Iterator[None]:
    """Raise `CorruptShard`, naming the plan, for what a launch does not write."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ToolkitError) as error:
        raise CorruptShard(f"{path}: is no plan of a round ({error!r}); {remedy(path)}") from None


def freeze_round(
    run: Path,
    index: int,
    slices: Sequence[Slice],
    rule: StoppingRule | None = None,
    follows: Mapping[str, Any] | None = None,
) -> None:
    """Write the plan of a round of the run in this directory, once.

    rule: of adaptive sampling, where plans depend on outcomes. follows: of a round that an array at
    work shares (`toolkit.runs.shares`). Raises `ToolkitError` if another launch has planned this
    round at the same time.
    """
    path = run / "rounds" / round_name(index)
    entries = [
        {"name": s.name, "ranges": [[r.task_id, r.seed_start, r.seed_stop] for r in s.ranges]}
        for s in slices
    ]
    plan = {"round": index, "stopping": rule.document() if rule else None, "slices": entries}
    plan |= {"follows": dict(follows)} if follows else {}
    if not publish_once(path, json.dumps(plan).encode()):
        raise ToolkitError(f"{path}: another launch has just planned this round; launch again")
