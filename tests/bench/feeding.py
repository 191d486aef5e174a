"""How many sequences the real engine runs in each step, as its scheduler shows.

python tests/bench/feeding.py MODEL: samples 24 slices and prints the figures as JSON.

The engine must run in this process, as it does on the CPU. On a GPU, the feed in the shards tells
the number of unfinished samples instead.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from toolkit.backends import Backend
from toolkit.backends.vllm import VllmBackend
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Load, Request, Sample
from toolkit.resolve import resolve
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import prompts_of


class Watched:
    """A vLLM backend that records how many sequences each step runs.

    It records only while samples are left to submit.
    """

    def __init__(self, inner: Backend, planned: int) -> None:
        self.inner, self.max_in_flight = inner, inner.max_in_flight
        self.running: list[int] = []
        self._left = planned
        self._scheduler = inner._llm.llm_engine.engine_core.engine_core.scheduler
        self._schedule = self._scheduler.schedule
        self._scheduler.schedule = self._watch

    def _watch(self, *arguments: Any, **named: Any) -> Any:
        scheduled = self._schedule(*arguments, **named)
        if self._left:
            self.running.append(len(scheduled.num_scheduled_tokens))
        return scheduled

    def submit(self, request: Request) -> None:
        self._left -= 1
        self.inner.submit(request)

    def step(self) -> list[Sample]:
        return self.inner.step()

    def load(self) -> Load:
        return self.inner.load()

    def describe(self) -> EngineFacts:
        return self.inner.describe()

    def close(self) -> None:
        self._scheduler.schedule = self._schedule


def in_process(backend: Backend) -> bool:
    """Whether the engine runs in this process, so that its scheduler can be watched."""
    return hasattr(backend._llm.llm_engine.engine_core, "engine_core")


def summary(running: list[int], batch: int) -> dict[str, float]:
    """How many sequences ran in the steps between the first full batch and the tail.

    "fewest" and "mean" are shares of a full batch.
    """
    filled = next((i for i, n in enumerate(running) if n >= batch), len(running))
    judged = running[filled:]
    return {
        "steps": len(judged),
        "steps to fill": filled,
        "fewest": round(min(judged) / batch, 3) if judged else 0.0,
        "mean": round(sum(judged) / len(judged) / batch, 3) if judged else 0.0,
    }


def main() -> None:
    """Sample short slices, with completions of many lengths: so sequences end one by one."""
    config = resolve(
        {
            "model": sys.argv[1],
            "limit": 6,
            "max_tokens": 40,
            "prompt_style": "completion",
            "stop": ["a", "e"],
            "top_p": 1.0,
            "samples": 64,
            "slice_samples": 16,
            "slice_seeds": 16,
            "max_num_seqs": 32,
            "cpu_kv_cache_gib": 1,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = freeze_launch(plan_launch(config, Path(folder)))
        slices, problems = run.slices(), run.problems()
        backend = Watched(VllmBackend(config, Path(folder)), sum(map(len, slices)))
        assert Sampler(run, slices, prompts_of(problems), backend).sample()
        found = summary(backend.running, config.engine.max_num_seqs)
        backend.inner.close()
    print(json.dumps({"slices": len(slices)} | found))


if __name__ == "__main__":
    main()
