"""The cells on which the forecast is judged: a law or a real set, problems, n and K, and seeds.

In each repetition of a cell problems are drawn anew, from the law or from the set with replacement,
and n samples of each: the estimand *such problems*. The truth is fail@K of the law, or of the whole
set. The laws are no families of the forecast, but for the first two.
"""

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import special

from toolkit.stats.passk import fail_at_k

HERE = Path(__file__).resolve()
COUNTS = HERE.parents[3] / "shared" / "data" / "counts"
OUTCOMES = HERE.parents[1] / "golden" / "codegen16b_outcomes.txt"
Law = Callable[[np.random.Generator, int], np.ndarray]


def beta(a: float, b: float) -> Law:
    """p ~ Beta(a, b)."""
    return lambda random, size: random.beta(a, b, size)


def logit_normal(mean: float, sd: float) -> Law:
    """logit p ~ N(mean, sd^2)."""
    return lambda random, size: special.expit(random.normal(mean, sd, size))


def always(p: float) -> Law:
    """An atom."""
    return lambda _, size: np.full(size, p)


def mixture(share: float, one: Law, other: Law) -> Law:
    """A share of the problems is of the first law."""
    return lambda random, size: np.where(
        random.random(size) < share, one(random, size), other(random, size)
    )


LAWS: dict[str, Law] = {
    "Beta(.2873, .1709)": beta(0.2873, 0.1709),
    "Beta(.2955, 12.365)": beta(0.2955, 12.365),
    "logit-normal(0, 3)": logit_normal(0, 3),
    "logit-normal(-1, 4)": logit_normal(-1, 4),
    "atoms .08 at 0, .27 at 1": mixture(
        0.08, always(0.0), mixture(0.27 / 0.92, always(1.0), beta(0.5, 0.5))
    ),
    "Beta + 10 % impossible": mixture(0.1, always(0.0), beta(0.2873, 0.1709)),
    "log-gamma(2, 1.5)": lambda random, size: np.exp(-random.gamma(2.0, 1.5, size)),
    ".7 Beta(2, 1) + .3 Beta(.5, 20)": mixture(0.7, beta(2, 1), beta(0.5, 20)),
    ".6 LN(2, 1.5) + .4 LN(-5, 2)": mixture(0.6, logit_normal(2, 1.5), logit_normal(-5, 2)),
    "1 - exp(-Gamma(.35, 8))": lambda random, size: -np.expm1(-random.gamma(0.35, 8.0, size)),
    ".3 Beta(.4, 1)": lambda random, size: 0.3 * random.beta(0.4, 1.0, size),
}
PYTHIA, GPT, LLAMA = "Pythia-12B MATH", "gpt-3.5 HumanEval", "simulated Llama"
CODEGEN = "CodeGen-16B HumanEval"
FILES = {
    PYTHIA: "open_llm_math_pythia_12b.csv",
    GPT: "open_humaneval_gpt35_n10.csv",
    LLAMA: "open_sim_llama_n1000.csv",
}


@dataclass(frozen=True)
class Cell:
    """`source`: a law or a real set."""

    source: str
    problems: int
    n: int
    k: int

    def draw(self, repetition: int) -> np.ndarray:
        """c of each problem; the seed follows from the cell and the repetition."""
        name = f"{self.source} {self.problems} {self.n} {self.k}"
        random = np.random.default_rng([zlib.crc32(name.encode()), repetition])
        if self.source in LAWS:
            p = LAWS[self.source](random, self.problems)
            return random.binomial(self.n, p)
        n, c = real(self.source)
        some = random.integers(len(n), size=self.problems)
        return random.hypergeometric(c[some], (n - c)[some], self.n)

    def truth(self) -> float:
        """fail@K: of a law by four million problems, of a set by all of its samples."""
        if self.source not in LAWS:
            return float(np.mean(fail_at_k(*real(self.source), self.k)))
        random = np.random.default_rng(123)
        draws = (LAWS[self.source](random, 400_000) for _ in range(10))
        return float(np.mean([np.mean((1 - p) ** self.k) for p in draws]))

    def absent(self) -> str:
        """Why its data are not here; "" where they are."""
        path = COUNTS / FILES[self.source] if self.source in FILES else OUTCOMES
        return "" if self.source in LAWS or path.is_file() else f"{path.name} is not there"


@cache
def real(source: str) -> tuple[np.ndarray, np.ndarray]:
    """n and c of a real set's problems."""
    if source == CODEGEN:
        lines = [line.split()[1] for line in OUTCOMES.read_text().splitlines()]
        return np.array([len(s) for s in lines]), np.array([s.count("P") for s in lines])
    rows = list(csv.DictReader((COUNTS / FILES[source]).read_text().splitlines()))
    return np.array([int(row["n"]) for row in rows]), np.array([int(row["c"]) for row in rows])


BETA, HARD, LN3, LN4, ATOMS, FLOOR, LOG_GAMMA, TWO, TWO_LN, POWER, SCALED = LAWS
CELLS = [
    Cell(PYTHIA, 128, 50, 500),
    Cell(PYTHIA, 128, 50, 5000),
    Cell(PYTHIA, 128, 100, 1000),
    Cell(PYTHIA, 128, 100, 10000),
    Cell(PYTHIA, 128, 200, 10000),
    Cell(PYTHIA, 30, 100, 1000),
    Cell(GPT, 164, 5, 10),
    Cell(CODEGEN, 164, 20, 50),
    Cell(CODEGEN, 164, 10, 50),
    Cell(LLAMA, 164, 100, 1000),
    Cell(LLAMA, 60, 50, 500),
    Cell(BETA, 164, 100, 1000),
    Cell(BETA, 164, 20, 200),
    Cell(BETA, 164, 100, 10000),
    Cell(BETA, 30, 100, 1000),
    Cell(BETA, 20, 100, 500),
    Cell(BETA, 10, 100, 1000),
    Cell(HARD, 164, 50, 500),
    Cell(LN3, 164, 100, 1000),
    Cell(LN3, 164, 50, 5000),
    Cell(LN3, 60, 50, 500),
    Cell(LN4, 164, 100, 1000),
    Cell(LN4, 100, 50, 100),
    Cell(ATOMS, 164, 100, 1000),
    Cell(ATOMS, 164, 50, 250),
    Cell(FLOOR, 164, 100, 1000),
    Cell(FLOOR, 60, 50, 500),
    Cell(LOG_GAMMA, 164, 100, 1000),
    Cell(LOG_GAMMA, 100, 50, 500),
    Cell(TWO, 164, 100, 1000),
    Cell(TWO, 100, 50, 500),
    Cell(TWO_LN, 164, 100, 1000),
    Cell(TWO_LN, 60, 200, 2000),
    Cell(POWER, 164, 100, 1000),
    Cell(SCALED, 164, 100, 200),
    Cell(SCALED, 164, 50, 500),
]
