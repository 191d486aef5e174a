"""The nouns of the toolkit as plain frozen records; this module imports nothing of it."""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

Outcome = Literal["passed", "failed", "timed_out", "error"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
"""`error` is ours (the engine could not decide), never a failure of the model."""

FinishReason = Literal["stop", "length", "abort"]
FINISH_REASONS: tuple[str, ...] = get_args(FinishReason)

PromptStyle = Literal["chat", "completion", "verbatim"]
"""How a completion was asked for; `verbatim` (ingested) is executed as it is."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A prompt with a test: `test` defines `check(candidate)`, called with `entry_point`."""

    task_id: str
    prompt: str
    test: str
    entry_point: str
    canonical_solution: str = ""


@dataclass(frozen=True, slots=True)
class SeedRange:
    """The samples `seed_start <= seed < seed_stop` of one problem."""

    task_id: str
    seed_start: int
    seed_stop: int

    def __len__(self) -> int:
        return self.seed_stop - self.seed_start


@dataclass(frozen=True, slots=True)
class Slice:
    """The unit of sampling work; it becomes exactly one shard, `samples/<name>.parquet`."""

    name: str
    ranges: tuple[SeedRange, ...]

    def __len__(self) -> int:
        return sum(len(r) for r in self.ranges)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of one problem under one seed; the text is the model's, untouched.

    prompt_tokens: what was submitted for it, chat template included; cached_tokens: those of them
    that the engine's prefix cache held already. None: the backend does not know.
    """

    task_id: str
    seed: int
    completion: str
    n_tokens: int
    finish_reason: FinishReason
    prompt_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine says of itself; None where it does not.

    kv_cache: the largest share of its KV cache in use since it was asked last, 0 to 1;
    preemptions: how many sequences it has thrown out of the batch since its start, for lack of
    KV cache, and begun again.
    """

    kv_cache: float | None = None
    preemptions: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is judged of a completion, as its verifier takes it: a program, a number, a proof.

    `digest` is `answer_digest(text)`. Equal answers of a problem have one verdict under a judge.
    """

    task_id: str
    digest: int
    text: str


def answer_digest(text: str) -> int:
    """64-bit BLAKE2b of an answer's text.

    Among 10^6 answers of a problem two collide with probability 3e-8.
    """
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an answer (its digest) under a judge.

    detail: why it did not pass, in at most 200 characters. seconds: what it used of the clock
    that decides: CPU time plus time asleep.
    """

    task_id: str
    answer: int
    outcome: Outcome
    detail: str
    seconds: float
