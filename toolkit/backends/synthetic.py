"""A model with a known law: p(problem) ~ Beta(a, b), a sample passes with probability p.

For tests, and for trying the pipeline out without a model: a passing completion is the
problem's canonical solution, a failing one is one of a few wrong bodies.
"""

import hashlib
import time
from collections import deque
from collections.abc import Sequence

from scipy import stats

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.records import Problem, Sample

WRONG_BODIES = (
    "    return None\n",
    "    raise ValueError('no idea')\n",
    "    return 0\n",
    "    pass\n",
    "    x = ((\n",
)


class SyntheticBackend:
    """Samples are a pure function of (base seed, task_id, seed), as a model's should be."""

    def __init__(self, config: Config, problems: Sequence[Problem]) -> None:
        lacking = [p.task_id for p in problems if not p.canonical_solution]
        if lacking:
            raise UsageError(
                f"--backend synthetic: {lacking[0]} has no canonical_solution to answer with"
            )
        self._sampling = config.sampling
        self._rate = config.engine.synthetic_rate
        self._queue: deque[Sample] = deque()
        self._next_at = time.monotonic()
        self._p = {p.task_id: self._pass_probability(p.task_id) for p in problems}
        self.max_in_flight = config.engine.max_num_seqs

    def _uniform(self, *key: object) -> float:
        text = "\0".join(map(str, (self._sampling.base_seed, *key)))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64

    def _pass_probability(self, task_id: str) -> float:
        a, b = self._sampling.synthetic_a, self._sampling.synthetic_b
        return float(stats.beta.ppf(self._uniform("p", task_id), a, b))

    def submit(self, problem: Problem, seed: int) -> None:
        """See `Backend.submit`."""
        if self._uniform("sample", problem.task_id, seed) < self._p[problem.task_id]:
            completion = problem.canonical_solution
        else:
            which = self._uniform("wrong", problem.task_id, seed)
            completion = WRONG_BODIES[int(which * len(WRONG_BODIES))]
        n_tokens = max(1, len(completion) // 4)
        self._queue.append(Sample(problem.task_id, seed, completion, n_tokens, "stop"))

    def step(self) -> list[Sample]:
        """See `Backend.step`; `synthetic_rate` bounds the samples a second."""
        if not self._rate:
            finished = list(self._queue)
            self._queue.clear()
            return finished
        self._next_at = max(self._next_at, time.monotonic() - 1.0)
        count = max(1, int((time.monotonic() - self._next_at) * self._rate))
        finished = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
        self._next_at += len(finished) / self._rate
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        return finished

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {"engine": "synthetic", "device": "none"}

    def close(self) -> None:
        """See `Backend.close`."""
        self._queue.clear()
