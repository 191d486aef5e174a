"""Many samples of a prompt that share the tokens they have in common. No engine is needed here.

A row is one sequence of the engine. It stands for all samples that have drawn the same tokens so
far. Each of them draws its next token with a random number of its own, by inversion of the
cumulative distribution that the row's one forward pass gives. Those that drew the most frequent
token stay in the row. The others leave it, as branches: further rows, which begin with the tokens
in common.

So each sample is what it would be alone: the random number of a sample at a position depends on
nothing but the sample and the position. The samples are independent, and what they share is
arithmetic. Who is in a row with whom changes nothing but the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Seeds = NDArray[np.int64]
Streams = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
"""The increment of SplitMix64: 2^64 divided by the golden ratio, made odd."""


def stream_of(*words: int) -> int:
    """The state from which the random numbers of one sample follow.

    words: whole numbers from 0 that name the sample. Different words have unrelated states.
    """
    (state,) = np.random.SeedSequence(words).generate_state(1, np.uint64)
    return int(state)


def uniforms(streams: Streams, position: int) -> NDArray[np.float64]:
    """The random numbers of these streams at this position, from 0 up to, but without, 1.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, Figure 16). It has random access: number t of a
    stream is a hash of its state plus t increments. Shape: that of `streams`.
    """
    # Whole numbers of NumPy wrap around, but it warns of single ones that do.
    z = streams + np.uint64((position + 1) * GOLDEN % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Branch:
    """Samples that left a row at its token number `position`, which is `token` for them."""

    position: int
    token: int
    seeds: Seeds
    streams: Streams


@dataclass(slots=True)
class Row:
    """One sequence of the engine, and the samples that it stands for.

    prefix: the tokens after the prompt that came from earlier rows. tokens: those drawn since.
    seeds, streams: of the samples, in the same order. branches: who left since they were asked for.
    """

    task_id: str
    seeds: Seeds
    streams: Streams
    prefix: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    def uniforms(self) -> NDArray[np.float64]:
        """The random numbers of its samples for the next token."""
        return uniforms(self.streams, len(self.prefix) + len(self.tokens))

    def take(self, drawn: NDArray[np.int64]) -> int:
        """Go on with the most frequent of the tokens that its samples have drawn. Returns it.

        drawn: one token of each sample. Of equally frequent ones, the smallest goes on.
        """
        found, which, counts = np.unique(drawn, return_inverse=True, return_counts=True)
        most = int(np.argmax(counts))
        for other in range(len(found)):
            if other != most:
                leave = which == other
                self.branches.append(
                    Branch(
                        len(self.tokens),
                        int(found[other]),
                        self.seeds[leave],
                        self.streams[leave],
                    )
                )
        if len(found) > 1:
            stay = which == most
            self.seeds, self.streams = self.seeds[stay], self.streams[stay]
        self.tokens.append(int(found[most]))
        return self.tokens[-1]

    def split(self) -> list["Row"]:
        """The rows of the samples that left since the last call. Their last token is drawn."""
        rows = [
            Row(
                self.task_id,
                branch.seeds,
                branch.streams,
                [*self.prefix, *self.tokens[: branch.position], branch.token],
            )
            for branch in self.branches
        ]
        self.branches.clear()
        return rows


def positions(rows: Sequence[Row]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For all samples of the rows, one after the other: the index of its row, and its number."""
    sizes = [len(row.seeds) for row in rows]
    return np.repeat(np.arange(len(rows)), sizes), np.concatenate([row.uniforms() for row in rows])
