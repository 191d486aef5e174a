"""Output tokens per second of our sampler against vLLM alone, alternately, on the same cores.

All sides get the same requests with the same seeds:

- our sampler over a run of twenty slices, shards written;
- `LLM.generate` of all requests at once, which holds everything in memory to the end;
- `LLM.generate` slice by slice: it does not, but the engine runs empty after each slice;
- vLLM's server, used as the public experiment used it, with an engine of its own.

The other three share one engine. A first round is not measured. It fills the prefix cache with
every prompt, for all sides.

The sizes depend on whether there is a GPU. BENCH_MODEL names another model than the embedded one.
The server loads it a second time, so it must fit twice.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feeding
import memory
import server

from toolkit.backends.vllm import VllmBackend
from toolkit.config import Config
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import Slice
from toolkit.resolve import resolve
from toolkit.runs.feed import read_feed
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import EngineStart, ShardFacts
from toolkit.runs.shards import read_shard
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import prompts_of

Outputs = dict[tuple[str, int], tuple[str, int]]
"""(task_id, seed) -> text and output tokens."""


@dataclass(frozen=True)
class Size:
    """Sizes of the benchmark.

    rounds: measured rounds of our sampler and of `LLM.generate` at once. few: those of the two
    slower sides. stop: makes the lengths of completions differ.
    """

    problems: int
    samples: int
    slice_samples: int
    max_num_seqs: int
    max_tokens: int
    stop: tuple[str, ...]
    rounds: int = 10
    few: int = 3


ON_CPU = Size(12, 20, 12, 16, 48, ("return",))
ON_GPU = Size(40, 256, 512, 256, 256, ("\ndef", "\nclass", "\nif", "\nprint"))
GPU_SHARE = 0.42
"""Share of the GPU's memory for each of the two engines."""


def bench() -> Iterator[dict[str, object]]:
    """The rows of the table: speeds, then how full the batch was, then peak memory."""
    size = ON_GPU if Path("/dev/nvidiactl").exists() else ON_CPU
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(size, Path(folder))
        settings = sides.backend._engine_arguments(size is ON_CPU)
        log = Path(folder) / "server.log"
        try:
            with server.serving(sides.backend._model, settings, log) as url:
                yield from sides.compare(url)
            yield sides.fullness()
        finally:
            sides.backend.close()
    yield from memory.rows()


class Sides:
    """One engine, and the sides that are compared. Each gets the same requests."""

    def __init__(self, size: Size, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.config = _config(size)
        self.run = self._new_run()
        self.problems = {p.task_id: p for p in self.run.problems()}
        self.backend = VllmBackend(self.config, folder)
        self.params: dict[tuple[str, int], object] = {}

    def _new_run(self) -> Run:
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        return freeze_launch(plan_launch(self.config, self.folder, path))

    def compare(self, url: str) -> Iterator[dict[str, object]]:
        """Run the sides in turns, forwards and backwards. The very first round is not measured."""
        sides: dict[str, Callable[[], tuple[float, Outputs]]] = {
            "ours": self.ours,
            "LLM.generate, all at once": lambda: self.generate([self.run.slices()]),
            "LLM.generate, slice by slice": lambda: self.generate([[s] for s in self.run.slices()]),
            "server, a client a problem": lambda: self.server(url),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        expected = self.ours()[1]
        self.server(url)
        differ = dict.fromkeys(sides, 0)
        for turn in range(self.size.rounds):
            names = list(sides)[: 4 if turn < self.size.few else 2]
            for name in names if turn % 2 == 0 else reversed(names):
                seconds, outputs = sides[name]()
                rates[name].append(sum(n for _, n in outputs.values()) / seconds)
                differ[name] = sum(outputs[key][0] != text for key, (text, _) in expected.items())
        for name in list(sides)[1:]:
            yield self._row(name, rates["ours"], rates[name], differ[name])

    def _row(
        self, peer: str, ours: list[float], theirs: list[float], differ: int
    ) -> dict[str, object]:
        size = self.size
        ratios = [a / b for a, b in zip(ours, theirs, strict=False)]
        return {
            "case": f"{size.problems} x {size.samples} samples, slices of {size.slice_samples}, "
            f"batch of {size.max_num_seqs}",
            "ours, tokens/s": round(statistics.median(ours)),
            "peer": peer,
            "peer, tokens/s": round(statistics.median(theirs)),
            "ratio": round(statistics.median(ratios), 3),
            "spread": f"{min(ratios):.3f}-{max(ratios):.3f}",
            "pairs": len(ratios),
            "samples that differ": f"{differ} of {size.problems * size.samples}",
        }

    def ours(self) -> tuple[float, Outputs]:
        """Seconds of our sampler over a new run, until its last shard is on disk."""
        run = self._new_run()
        started = time.perf_counter()
        done = Sampler(run, run.slices(), prompts_of(run.problems()), self.backend).sample()
        seconds = time.perf_counter() - started
        assert done
        shards = [read_shard(run, s) for s in run.slices()]
        rows = [row for shard in shards for row in shard.iter_rows(named=True)]
        return seconds, {(r["task_id"], r["seed"]): (r["completion"], r["n_tokens"]) for r in rows}

    def generate(self, calls: list[list[Slice]]) -> tuple[float, Outputs]:
        """Seconds of these calls of `LLM.generate`, one after the other."""
        outputs: Outputs = {}
        started = time.perf_counter()
        for call in calls:
            keys = [key for slice_ in call for key in slice_.sample_keys()]
            prompts = [{"prompt_token_ids": self._prompt(task_id)} for task_id, _ in keys]
            params = [self._parameters(seed) for _, seed in keys]
            with without_statistics(self.backend._llm.llm_engine):
                answers = self.backend._llm.generate(prompts, params, use_tqdm=False)
            for key, answer in zip(keys, answers, strict=True):
                outputs[key] = answer.outputs[0].text, len(answer.outputs[0].token_ids)
        return time.perf_counter() - started, outputs

    def _prompt(self, task_id: str) -> list[int]:
        return self.backend._prompts[task_id]

    def _parameters(self, seed: int) -> object:
        sampling = self.config.sampling
        return self.backend._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=list(self.size.stop),
            max_tokens=sampling.max_tokens,
            seed=sampling.base_seed + seed,
        )

    def server(self, url: str) -> tuple[float, Outputs]:
        """Seconds of all clients. Four requests per problem, like 1,000 samples by 250."""
        sampling = self.config.sampling
        parameters = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": list(self.size.stop),
        }
        prompts = {
            task_id: prompt.text
            for task_id, prompt in prompts_of(list(self.problems.values())).items()
        }
        started = time.perf_counter()
        outputs = server.drive(
            url,
            prompts,
            self.size.samples,
            -(-self.size.samples // 4),
            parameters,
            sampling.base_seed,
        )
        return time.perf_counter() - started, outputs

    def fullness(self) -> dict[str, object]:
        """How full the batch was before the tail: from the scheduler if possible, else the feed."""
        run = self._new_run()
        slices, problems = run.slices(), run.problems()
        planned = sum(map(len, slices))
        watched = feeding.in_process(self.backend)
        backend = feeding.Watched(self.backend, planned) if watched else self.backend
        facts = ShardFacts(start=EngineStart(max_num_seqs=self.size.max_num_seqs))
        assert Sampler(run, slices, prompts_of(problems), backend, facts).sample()
        found = (
            feeding.summary(backend.running, self.size.max_num_seqs) if watched else recorded(run)
        )
        if watched:
            backend.close()
        where = "running in the scheduler" if watched else "in flight, as recorded"
        return {
            "case": f"{where}, before the tail, share of max_num_seqs",
            "slices": len(slices),
        } | found


@contextmanager
def without_statistics(engine: Any) -> Iterator[None]:
    """Turn off the engine's statistics, as `LLM` does by default. Our backend pays for them."""
    parts = [engine, engine.output_processor]
    if hasattr(engine.engine_core, "engine_core"):
        parts.append(engine.engine_core.engine_core.scheduler)
    kept = [part.log_stats for part in parts]
    for part in parts:
        part.log_stats = False
    try:
        yield
    finally:
        for part, value in zip(parts, kept, strict=True):
            part.log_stats = value


def recorded(run: Run) -> dict[str, float]:
    """How full the batch was, by the feed in the shards, without the first second."""
    feed = read_feed(run).filter("feeding")[1:]
    share = feed["in_flight"] / feed["wanted"]
    return {
        "steps": feed.height,
        "steps to fill": 1,
        "fewest": round(share.min(), 3),
        "mean": round(share.mean(), 3),
    }


def _config(size: Size) -> Config:
    return resolve(
        {
            "model": os.environ.get("BENCH_MODEL", ""),
            "prompt_style": "completion",
            "temperature": 0.8,
            "top_p": 1.0,
            "max_tokens": size.max_tokens,
            "stop": size.stop,
            "task_ids": tuple(f"HumanEval/{i}" for i in range(0, 4 * size.problems, 4)),
            "samples": size.samples,
            "slice_samples": size.slice_samples,
            "slice_seeds": size.samples,
            "max_num_seqs": size.max_num_seqs,
            "max_model_len": 1024,
            "gpu_memory_utilization": GPU_SHARE,
        }
    )
