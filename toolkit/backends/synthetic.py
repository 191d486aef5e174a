"""A model with a known law: a sample passes with probability p, and p(problem) ~ Beta(a, b).

It is for tests, and for trying out a run without a model. A passing completion is a right example
of the problem's verifier. A failing one is one of its wrong examples.

With --synthetic-rate the engine is a process of its own, like vLLM's on a GPU. So a trial can also
show what happens when the engine dies.
"""

import contextlib
import hashlib
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

from scipy import special

from toolkit.config import Config
from toolkit.errors import EngineFailure, UsageError
from toolkit.records import EngineFacts, Examples, Load, Request, Sample

STEP_SECONDS = 1.0
_FORKING = threading.Lock()


class SyntheticBackend:
    """Samples are a pure function of (base seed, task_id, seed), as those of a model should be."""

    def __init__(self, config: Config, examples: Mapping[str, Examples]) -> None:
        lacking = [task_id for task_id, known in examples.items() if not known.right]
        if lacking:
            raise UsageError(
                f"--backend synthetic: {lacking[0]} has no solution to answer with; add one to the "
                "problems file (HumanEval's field canonical_solution)"
            )
        self._examples = examples
        self._sampling = config.sampling
        self._queue: list[Sample] = []
        self._engine = (
            _Paced(config.engine.synthetic_rate) if config.engine.synthetic_rate else None
        )
        self._p = {task_id: self._pass_probability(task_id) for task_id in examples}
        self.max_in_flight = config.engine.max_num_seqs

    def _uniform(self, *key: object) -> float:
        text = "\0".join(map(str, (self._sampling.base_seed, *key)))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64

    def _pass_probability(self, task_id: str) -> float:
        a, b = self._sampling.synthetic_a, self._sampling.synthetic_b
        return float(special.betaincinv(a, b, self._uniform("p", task_id)))

    def submit(self, request: Request) -> None:
        """See `Backend.submit`."""
        task_id, seed = request.task_id, request.seed
        known = self._examples[task_id]
        if self._uniform("sample", task_id, seed) < self._p[task_id]:
            completion = known.right[0]
        else:
            which = self._uniform("wrong", task_id, seed)
            completion = known.wrong[int(which * len(known.wrong))]
        n_tokens, asked = (max(1, len(text) // 4) for text in (completion, request.prompt.text))
        self._queue.append(Sample(task_id, seed, completion, n_tokens, "stop", prompt_tokens=asked))

    def step(self) -> list[Sample]:
        """See `Backend.step`. `synthetic_rate` limits the samples per second."""
        queued, self._queue = self._queue, []
        return self._engine.step(queued) if self._engine else queued

    def load(self) -> Load:
        """See `Backend.load`. There is no real engine, so nothing is known."""
        return Load()

    def describe(self) -> EngineFacts:
        """See `Backend.describe`."""
        return EngineFacts("synthetic", device="none")

    def close(self) -> None:
        """See `Backend.close`."""
        self._queue.clear()
        if self._engine:
            self._engine.close()


class _Paced:
    """A process that returns samples in their order, `rate` of them per second."""

    def __init__(self, rate: float) -> None:
        # Forked, because it needs only what is loaded, and starts at once. One at a time: a process
        # that inherits the far end of another's pipe would hide the other's death.
        context = multiprocessing.get_context("fork")
        with _FORKING:
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_give_back, args=(theirs, self._connection, rate), daemon=True
            )
            self._process.start()
            theirs.close()

    def step(self, samples: Sequence[Sample]) -> list[Sample]:
        try:
            if samples:
                self._connection.send(samples)
            if not self._connection.poll(STEP_SECONDS):
                return []
            finished: list[Sample] = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineFailure("the synthetic engine died; launch again to go on") from error
        return finished

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()


def _give_back(connection: Connection, parents: Connection, rate: float) -> None:
    parents.close()  # otherwise this process would not notice when the parent ends
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the task alone answers them
    queue: deque[Sample] = deque()
    next_at = time.monotonic()
    with contextlib.suppress(EOFError, OSError):
        while True:
            while not queue or connection.poll():
                queue.extend(connection.recv())
            next_at = max(next_at, time.monotonic() - 1.0)
            due = min(len(queue), max(1, int((time.monotonic() - next_at) * rate)))
            next_at += due / rate
            time.sleep(max(0.0, next_at - time.monotonic()))
            connection.send([queue.popleft() for _ in range(due)])
