"""A run of a day with evaluation alongside, simulated: when is its last answer judged?

Sampling is the array of `toolkit.planning.simulation`, with a reasoning model: ten tasks at 4,000
tokens/s, samples of 4,000 tokens on average, one preemption. Evaluation is the loop that the job
runs (`toolkit.stages.alongside`), on a clock of its own. It is told how fast answers are judged.
Each evaluation also has a cost of its own: so long workers start, and so long the verdicts so far
take to read. Both are assumed, above what was seen on two busy cores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from toolkit.planning.simulation import Cluster, EngineModel, draw_lengths, simulate
from toolkit.runs.slices import plan_round
from toolkit.stages.alongside import BATCH_SECONDS, Alongside

PROBLEMS, SAMPLES, SLICE = 164, 2944, 2048
START_SECONDS, READ_SECONDS = 5.0, 2e-6
"""Of an evaluation: to start, and to read each verdict that there is."""
LISTING_SECONDS = 0.1
REPORT_SECONDS = 300.0
"""Of what follows in any case: the jobs of evaluation and fit start, look, fit, and draw."""


@dataclass
class Day:
    """The shards of a simulated array, judged alongside. done: slice -> second of its shard.

    rate: answers a second. Times are in seconds since the launch.
    """

    done: Mapping[str, float]
    rate: float
    now: float = 0.0
    first: float | None = None
    verdicts: int = 0
    evaluations: int = 0
    listings: int = 0
    judged: set[str] = field(default_factory=set)

    def listed(self) -> set[str]:
        self.listings += 1
        self.now += LISTING_SECONDS
        return {name for name, at in self.done.items() if at <= self.now}

    def judge(self, names: Sequence[str]) -> None:
        self.evaluations += 1
        answers = SLICE * len(names)
        self.now += START_SECONDS + READ_SECONDS * self.verdicts
        self.first = self.first or self.now + min(BATCH_SECONDS, answers / self.rate)
        self.now += answers / self.rate
        self.verdicts += answers

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pass_by(self) -> "Day":
        planned = set(self.done)
        clock = {"clock": lambda: self.now, "sleep": self.sleep}
        Alongside(self.listed, lambda: planned, self.judge, lambda: False, **clock).work()
        return self


def bench() -> Iterator[dict[str, object]]:
    """One row for each ratio of the evaluation's time to the sampling's."""
    ids = [f"p{i}" for i in range(PROBLEMS)]
    random = np.random.default_rng(7)
    lengths = draw_lengths(ids, SAMPLES, random, mean=4000, max_tokens=32_768)
    slices = plan_round(
        0, dict.fromkeys(ids, SAMPLES), {}, slice_samples=SLICE, slice_seeds=SLICE // 16
    )
    engine = EngineModel().calibrated(4000.0, np.concatenate([*lengths.values()]).astype(float))
    array = simulate(slices, lengths, engine, Cluster(), random)
    samples = SAMPLES * PROBLEMS
    for ratio in (0.1, 0.5, 0.9, 1.0, 1.1, 2.0):
        evaluation = ratio * array.wall
        day = Day(array.done, samples / evaluation).pass_by()
        rest = day.now - array.wall + REPORT_SECONDS
        wall = array.wall + rest
        yield {
            "evaluation : sampling": f"{ratio:g}",
            "sampling": f"{array.wall / 3600:.1f} h",
            "one after the other": f"{(array.wall + evaluation + REPORT_SECONDS) / 3600:.1f} h",
            "alongside": f"{wall / 3600:.1f} h",
            "of the larger": f"{wall / max(array.wall, evaluation):.3f}",
            "last sample to report": f"{rest / 60:.0f} min ({rest / evaluation:.0%} of evaluation)",
            "first verdicts": f"{(day.first or 0) - min(array.done.values()):.0f} s after a shard",
            "evaluations": day.evaluations,
            "listings": day.listings,
        }
