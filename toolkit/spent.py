"""What sampling has cost: output tokens and the time of its tasks, as the shards say."""

from dataclasses import dataclass

from toolkit.store import Run, metadata

TASK = ("host", "slurm_job", "slurm_task", "slurm_restarts", "process")
"""The metadata that tell one engine's life from another's."""


@dataclass(frozen=True, slots=True)
class Spent:
    """task_seconds: the sum over tasks of the time from the start of the first slice to the end
    of the last; the start of the engine is not in it.
    """

    tasks: int
    tokens: int
    task_seconds: float

    @property
    def tokens_per_second(self) -> float | None:
        """Of one task, so of one engine; None where nothing is known."""
        return self.tokens / self.task_seconds if self.tokens and self.task_seconds > 0 else None


def read_spent(run: Run) -> Spent:
    """From the metadata of all shards; those without times (ingested ones) cost nothing."""
    spans: dict[tuple[str, ...], tuple[float, float]] = {}
    tokens = 0
    for path in run.samples_dir.glob("*.parquet"):
        facts = metadata(path)
        if "started" not in facts:
            continue
        task = tuple(facts.get(name, "") for name in TASK)
        started, ended = float(facts["started"]), float(facts["ended"])
        low, high = spans.get(task, (started, ended))
        spans[task] = min(low, started), max(high, ended)
        tokens += int(facts["tokens"])
    return Spent(len(spans), tokens, sum(high - low for low, high in spans.values()))
