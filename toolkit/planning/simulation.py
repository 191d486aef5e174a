"""A sampling array before it is launched: wall time, idle GPUs, lost work and dollars, simulated.

A discrete-event model of the tasks that a launch would deal. `toolkit.runs.slices` plans and deals
here, as it does for the launch itself. In an engine every running sequence gains one token a step.
A place in the batch that became free goes to the next sample in the feed, one step later. So the
step at which each sample ends follows from the lengths alone, and the clock from the sum of the
steps.

A step with B running sequences that hold K tokens of KV cache and p tokens of prefill takes

    t(B, K, p) = (W + K kv) / (u M) + B s + p q

- W: bytes of the weights.
- kv: bytes of a token's keys and values.
- M: bytes a second of the GPU's memory; u: the share of M that kernels reach.
- s: seconds that a sequence costs beside the memory traffic (sorting for top_p, scheduling,
  detokenizing).
- q: seconds of a prefill token.

This is the roofline of decoding (Pope et al., arXiv 2211.05102, section 2), plus s. Only s is
calibrated: so that a full batch gives a measured speed. `toolkit.planning.roof_engine` has another
engine: the roof of any model on any card, times a measured share.

Constants of the preset `llama-8b-a100`, each with its source:

- W = 16.06e9, kv = 131,072, 8.03e9 parameters of two FLOP a token: Llama 3.1 8B in bfloat16,
  `toolkit/models/footprint.py`.
- M = 1.555e12 bytes/s, 312e12 FLOP/s: data sheet of the A100-40GB.
- u = 0.8, and half of the peak in prefill: what kernels are usually seen to reach; assumed.
- 4,000 output tokens/s: reported by the public experiment, 40k on ten such GPUs.
- 200 tokens of prompt: HumanEval's are 139 tokens long on average, system message and template
  are some 60.
- Lengths: a problem's mean is lognormal with coefficient of variation 0.47. Its samples follow a
  gamma distribution around that mean, with 0.65. So it is in 8,200 completions of
  CodeGen-16B-Mono, 50 of each HumanEval problem (microsoft/CodeT). The mean of all is set to 125
  tokens; the experiment's are reported at 100 to 150.
- Runaways: in those data 0.7 % are longer than eight times their problem's median. Here 0.5 % run
  into max_tokens.
- Assumed, and flags of `analysis/simulate.py`: speeds differ by 2 % from node to node. An engine is
  up after 90 s. A preempted task runs again after 60 s. A shard takes 0.1 s to write.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from toolkit.records import Slice
from toolkit.runs.slices import deal, missing_slices, plan_round
from toolkit.stats.arrays import Bools, Floats, Ints

Lengths = Mapping[str, Ints]
"""task_id -> output tokens of its samples, by seed."""

PARAMETERS, WEIGHT_BYTES, KV_BYTES = 8.03e9, 16.06e9, 131_072
REACHED_BANDWIDTH, REACHED_FLOPS = 0.8, 0.5


class Engine(Protocol):
    """What is asked of an engine: sequences in its batch, tokens of prompts, seconds of steps."""

    @property
    def batch(self) -> int:
        """The most sequences that run at the same time."""

    @property
    def prompt(self) -> int:
        """Tokens of a prompt."""

    @property
    def uncached(self) -> int:
        """Tokens of a prompt that are computed again though the cache has the prompt."""

    def step_seconds(self, running: Floats, kv_tokens: Floats, prefill: Floats) -> Floats:
        """Seconds of each step: its sequences, the tokens in their KV cache, those of prefill."""


@dataclass(frozen=True, slots=True)
class EngineModel:
    """One engine on one GPU; see the module for the formula and the constants.

    - bandwidth: bytes/s; flops: FLOP/s; per_sequence: seconds a step.
    - uncached: prompt tokens that even a sample with a cached prompt computes again. On average
      they are half a block of 16.
    """

    batch: int = 256
    bandwidth: float = 1.555e12
    flops: float = 312e12
    per_sequence: float = 0.0
    prompt: int = 200
    uncached: int = 8

    def step_seconds(self, running: Floats, kv_tokens: Floats, prefill: Floats) -> Floats:
        """Seconds of each step: its sequences, the tokens in their KV cache, those of prefill."""
        traffic = (WEIGHT_BYTES + kv_tokens * KV_BYTES) / (REACHED_BANDWIDTH * self.bandwidth)
        compute = prefill * 2 * PARAMETERS / (REACHED_FLOPS * self.flops)
        return traffic + running * self.per_sequence + compute

    def calibrated(self, tokens_per_second: float, lengths: Floats) -> "EngineModel":
        """This engine with `per_sequence` such that a full batch of such samples gives a speed.

        A running sequence holds, on average over time, the prompt and E[l^2] / (2 E[l]) tokens
        of its completion. A speed beyond the roofline gives per_sequence = 0.
        """
        mean = float(lengths.mean())
        held = self.prompt + float((lengths**2).mean()) / (2 * mean)
        full = (np.array([n * self.batch]) for n in (1.0, held, self.uncached / mean))
        bare = float(replace(self, per_sequence=0.0).step_seconds(*full)[0])
        rest = self.batch / tokens_per_second - bare
        return replace(self, per_sequence=max(0.0, rest / self.batch))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the array runs.

    - speed_spread: standard deviation of log speed between nodes.
    - preemptions: tasks of an array that are each preempted once, at a random moment.
    """

    tasks: int = 10
    startup_seconds: float = 90.0
    speed_spread: float = 0.02
    preemptions: int = 1
    requeue_seconds: float = 60.0
    write_seconds: float = 0.1
    usd_per_gpu_hour: float = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one simulated array.

    - wall: seconds from the launch to the last shard.
    - gpu_seconds: held by the tasks, their starts included.
    - busy_seconds: of these, with a full batch.
    - lost_seconds: of these, for samples that a preemption lost.
    - done: slice -> seconds from the launch to its shard.
    """

    wall: float
    gpu_seconds: float
    busy_seconds: float
    lost_seconds: float
    idle_share: float
    usd: float
    done: Mapping[str, float] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stretch:
    """One engine at work without interruption, its clock starting with its first step.

    - ends: seconds at which each slice's shard is written.
    - clock: seconds of each step's start, and of the last one's end.
    - full: steps with a full batch.
    - owner, first, last: of each sample its slice, its first step, and the step after its last.
    """

    ends: Floats
    clock: Floats
    full: Bools
    owner: Ints
    first: Ints
    last: Ints

    @property
    def seconds(self) -> float:
        """Until the last shard is written."""
        return float(self.ends.max(initial=0.0))

    def busy(self, until: float) -> float:
        """Seconds with a full batch in the steps that ended by then."""
        return float(np.diff(self.clock)[self.full & (self.clock[1:] <= until)].sum())

    def lost(self, at: float) -> float:
        """Seconds of an engine that is ended then that went into slices without a shard."""
        step = int(np.searchsorted(self.clock, at, side="right")) - 1
        made = np.clip(step - self.first, 0, self.last - self.first)
        return at * float(made[(self.ends > at)[self.owner]].sum() / max(1, made.sum()))


def draw_lengths(
    task_ids: Sequence[str],
    samples: int,
    rng: np.random.Generator,
    *,
    mean: float = 125.0,
    max_tokens: int = 1024,
    runaway: float = 0.005,
) -> dict[str, Ints]:
    """Output tokens of `samples` completions of each problem, in [1, max_tokens]."""
    between, within = np.sqrt(np.log1p(0.47**2)), 1 / 0.65**2
    means = mean * np.exp(between * rng.standard_normal(len(task_ids)) - between**2 / 2)
    drawn = rng.gamma(within, means[:, None] / within, size=(len(task_ids), samples))
    lengths = np.clip(np.ceil(drawn), 1, max_tokens).astype(np.int64)
    lengths[rng.random(lengths.shape) < runaway] = max_tokens
    return dict(zip(task_ids, lengths, strict=True))


def sweep(
    task_ids: Sequence[str],
    samples: int,
    sizes: Sequence[tuple[int, int]],
    engine: Engine,
    cluster: Cluster,
    draw: Callable[[np.random.Generator], Lengths],
    repeats: int,
) -> dict[int, list[Outcome]]:
    """slice_samples -> outcomes of the array, one a repeat.

    sizes: (slice_samples, slice_seeds). A repeat has the same lengths, node speeds, preempted
    tasks and moments at every size. So sizes are compared pair by pair.
    """
    outcomes: dict[int, list[Outcome]] = {}
    drawn = [draw(np.random.default_rng([repeat, 0])) for repeat in range(repeats)]
    for size, seeds in sizes:
        wanted = dict.fromkeys(task_ids, samples)
        slices = plan_round(0, wanted, {}, slice_samples=size, slice_seeds=seeds)
        outcomes[size] = [
            simulate(slices, lengths, engine, cluster, np.random.default_rng([repeat, 1]))
            for repeat, lengths in enumerate(drawn)
        ]
    return outcomes


def largest_within(walls: Mapping[int, Floats]) -> int:
    """The largest slice (the fewest files) whose mean wall time is within 1 % of the least.

    walls: slice_samples -> wall seconds of the repeats.
    """
    least = min(float(seconds.mean()) for seconds in walls.values())
    return max(size for size, wall in walls.items() if wall.mean() <= 1.01 * least)


def simulate(
    slices: Sequence[Slice],
    lengths: Lengths,
    engine: Engine,
    cluster: Cluster,
    rng: np.random.Generator,
) -> Outcome:
    """Run the array once; `rng` draws the nodes' speeds, and which task is preempted when."""
    by_name = {s.name: s for s in slices}
    dealt = deal(slices, cluster.tasks)
    speeds = np.exp(cluster.speed_spread * rng.standard_normal(cluster.tasks))
    struck = rng.permutation(cluster.tasks)[: cluster.preemptions]
    moments = rng.random(cluster.tasks)
    lives = []
    for i, names in enumerate(dealt):
        work, preempted = [by_name[n] for n in names], float(moments[i]) if i in struck else None
        lives.append(_task(work, lengths, engine, cluster, float(speeds[i]), preempted))
    wall = max(life.wall for life in lives)
    held, busy, lost = (
        sum(getattr(life, name) for life in lives)
        for name in ("gpu_seconds", "busy_seconds", "lost_seconds")
    )
    done = {name: at for life in lives for name, at in life.done.items()}
    idle, usd = 1 - busy / (len(dealt) * wall), held / 3600 * cluster.usd_per_gpu_hour
    return Outcome(wall, held, busy, lost, idle, usd, done)


def _task(
    work: Sequence[Slice],
    lengths: Lengths,
    engine: Engine,
    cluster: Cluster,
    speed: float,
    preempted: float | None,
) -> Outcome:
    """One task; `preempted`: after which share of its sampling, if at all.

    It is killed without a signal then, and loses its unfinished slices, which are too young for
    partial files. It starts again, as fast, with what is missing.
    """
    startup = cluster.startup_seconds
    life = play(work, lengths, engine, speed, cluster.write_seconds)
    start, held, busy, lost = startup, startup, 0.0, 0.0
    done: dict[str, float] = {}
    if preempted is not None:
        at = preempted * life.seconds
        done = {s.name: start + e for s, e in zip(work, life.ends, strict=True) if e <= at}
        held, busy, lost = held + at + startup, life.busy(at), life.lost(at)
        start += at + cluster.requeue_seconds + startup
        work = missing_slices(work, done)
        life = play(work, lengths, engine, speed, cluster.write_seconds)
    done |= {s.name: start + end for s, end in zip(work, life.ends, strict=True)}
    wall, held = start + life.seconds, held + life.seconds
    busy += life.busy(life.seconds)
    usd = held / 3600 * cluster.usd_per_gpu_hour
    return Outcome(wall, held, busy, lost, 1 - busy / wall, usd, done)


def play(
    work: Sequence[Slice], lengths: Lengths, engine: Engine, speed: float, write: float
) -> Stretch:
    """One engine over some slices without interruption; `write` seconds a shard, off its path."""
    tokens, owner, fresh = _feed(work, lengths)
    first = _places(tokens, engine.batch)
    last = first + tokens
    steps = int(last.max(initial=0))
    entering, leaving = np.bincount(first, minlength=steps), np.bincount(last, minlength=steps)
    running = np.cumsum(entering[:steps] - leaving[:steps]).astype(float)
    began = np.cumsum(
        np.bincount(first, weights=first, minlength=steps)[:steps]
        - np.bincount(last, weights=first, minlength=steps)[:steps]
    )
    held = (engine.prompt + np.arange(steps)) * running - began.astype(float)
    computed = np.where(fresh, engine.prompt, engine.uncached)
    prefill = np.bincount(first, weights=computed, minlength=steps)[:steps].astype(float)
    seconds = engine.step_seconds(running, held, prefill) / speed
    clock = np.concatenate([[0.0], np.cumsum(seconds)])
    ready = np.zeros(len(work))
    np.maximum.at(ready, owner, clock[last])
    return Stretch(_written(ready, write), clock, running >= engine.batch, owner, first, last)


def _feed(work: Sequence[Slice], lengths: Lengths) -> tuple[Ints, Ints, Bools]:
    """Samples in the order they are fed: tokens, index of the slice, whether the prompt is new."""
    ranges = [(i, r) for i, s in enumerate(work) for r in s.ranges]
    if not ranges:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    tokens = np.concatenate([lengths[r.task_id][r.seed_start : r.seed_stop] for _, r in ranges])
    sizes = [len(r) for _, r in ranges]
    fresh = np.zeros(len(tokens), np.bool_)
    before = ""
    for start, (_, r) in zip(np.cumsum([0, *sizes[:-1]]), ranges, strict=True):
        fresh[start] = r.task_id != before
        before = r.task_id
    return tokens, np.repeat([i for i, _ in ranges], sizes), fresh


def _places(tokens: Ints, batch: int) -> Ints:
    """The step at which each sample starts: the first `batch` at once, then as places are free."""
    free = [0] * batch
    first = np.empty(len(tokens), np.int64)
    for i, length in enumerate(tokens.tolist()):
        first[i] = start = free[0]
        heapq.heapreplace(free, start + length)
    return first


def _written(ready: Floats, write: float) -> Floats:
    """Seconds at which shards are on disk: one writer, in the order in which slices end."""
    written = np.empty(len(ready))
    free = 0.0
    for i in np.argsort(ready, kind="stable"):
        free = max(free, float(ready[i])) + write
        written[i] = free
    return written
