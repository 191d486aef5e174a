"""Where a run's samples come from: model and revision, task, days, versions, devices."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit.runs.history import recorded_config, standing_launches
from toolkit.runs.run import Run
from toolkit.runs.usage import facts_of_work, spent_of


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a report says of a run beside its settings; None for what nobody has recorded.

    - revision: of the model; the commit that a hub resolved it to, where the shards tell it.
    - task, data: the task's name and the SHA-256 of its data as published.
    - first_day, last_day: ISO, UTC: of the first sample and of the last one.
    - toolkit: the versions that sampled. commit: of the last launch.
    - engine: kind and version. devices: name -> engines on it; "none" where there was no GPU.
    - prompt_tokens: of all samples. usd_per_gpu_hour: as the last launch was told.
    """

    revision: str | None = None
    task: str | None = None
    data: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    toolkit: str | None = None
    commit: str | None = None
    engine: str | None = None
    devices: dict[str, int] | None = None
    prompt_tokens: int | None = None
    usd_per_gpu_hour: float | None = None


def read_provenance(run: Run) -> Provenance:
    """Of all that a run has drawn, or as its bundle says. Damaged shards say nothing."""
    manifest = run.manifest()
    if told := manifest.get("provenance"):
        return Provenance(**told)
    shards = facts_of_work(run, skip_damaged=True)
    launched = [x.versions for x in standing_launches(run) if x.versions]
    versions = launched[-1] if launched else manifest.get("versions") or {}
    task, spent = manifest.get("task") or {}, spent_of(shards)
    times = [s.times for s in shards if s.times]
    commits = _named(s.engine.model_commit for s in shards)
    return Provenance(
        revision=commits or manifest["identity"].get("revision"),
        task=task.get("name"),
        data=task.get("sha256"),
        first_day=_day(min(t.started for t in times)) if times else None,
        last_day=_day(max(t.ended for t in times)) if times else None,
        toolkit=_named(s.origin.toolkit for s in shards) or versions.get("toolkit"),
        commit=versions.get("commit"),
        engine=_named(s.engine.engine for s in shards),
        devices=spent.devices or None,
        prompt_tokens=spent.prompt_tokens,
        usd_per_gpu_hour=recorded_config(run).get("budget", {}).get("usd_per_gpu_hour"),
    )


def _named(values: Iterable[str | None]) -> str | None:
    """The different ones, in their order; None if nobody says any."""
    return ", ".join(dict.fromkeys(v for v in values if v)) or None


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
