"""Completions that were made elsewhere, in the file's order.

Seed s of a problem is its line s in the file, counted from 0.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
from toolkit.records import EngineFacts, Load, Request, Sample


class ReplayBackend:
    """A recorded model: each line of `--replay-file` is {task_id, completion}."""

    def __init__(self, config: Config, task_ids: Sequence[str]) -> None:
        path = Path(config.engine.replay_file)
        if not config.engine.replay_file:
            raise UsageError("--backend replay: name the file of completions with --replay-file")
        self._completions: dict[str, list[str]] = {task_id: [] for task_id in task_ids}
        for number, row in read_jsonl(path):
            where = f"{path}, line {number}"
            task_id = text_field(row, "task_id", where)
            if task_id in self._completions:
                self._completions[task_id].append(text_field(row, "completion", where))
        self._path = path
        self._queue: deque[Sample] = deque()
        self.max_in_flight = config.engine.max_num_seqs

    def submit(self, request: Request) -> None:
        """See `Backend.submit`. `UsageError` if the file has no completion for this seed."""
        task_id, seed = request.task_id, request.seed
        recorded = self._completions[task_id]
        if seed >= len(recorded):
            raise UsageError(
                f"{self._path}: completions of {task_id}: {len(recorded)}, but seed {seed} is "
                "planned; launch with fewer --samples and a new directory as --run"
            )
        completion = recorded[seed]
        n_tokens = max(1, len(completion) // 4)
        self._queue.append(Sample(task_id, seed, completion, n_tokens, "stop"))

    def step(self) -> list[Sample]:
        """See `Backend.step`."""
        finished = list(self._queue)
        self._queue.clear()
        return finished

    def load(self) -> Load:
        """See `Backend.load`. There is no engine, so nothing is known."""
        return Load()

    def describe(self) -> EngineFacts:
        """See `Backend.describe`."""
        return EngineFacts("replay", device="none", replay_file=str(self._path))

    def close(self) -> None:
        """See `Backend.close`."""
        self._queue.clear()
