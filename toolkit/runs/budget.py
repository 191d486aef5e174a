"""Hard budgets: what a run has spent, against what it may spend.

The run's own files say what it has spent: its shards, and the partial files of interrupted slices.
So a budget holds over all launches, and a resume needs no other record. Whoever samples looks at
them before each slice that it begins. A run therefore spends more than its budget by the slices
that were in hand at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from toolkit.config import Budget
from toolkit.errors import ToolkitError
from toolkit.runs.history import recorded_config
from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts, read_facts
from toolkit.runs.usage import (
    Spent,
    TokenPrices,
    condensed,
    facts_of_work,
    spent_of,
    token_prices,
)

UNITS = {
    "max_usd": "dollars",
    "max_gpu_hours": "GPU-hours",
    "max_output_tokens": "output tokens",
}
"""The bounds of a budget, with their units in words."""


@dataclass(frozen=True, slots=True)
class Amount:
    """One bound of a budget. bound: its field. most: what may be spent. spent: what is."""

    bound: str
    most: float
    spent: float

    @property
    def reached(self) -> bool:
        """Whether no further slice is to be begun."""
        return self.spent >= self.most

    @property
    def flag(self) -> str:
        """The flag that sets it."""
        return f"--{self.bound.replace('_', '-')}"

    def line(self) -> str:
        """For people: `1,024 of 1,000 output tokens`."""
        return f"{_number(self.spent)} of {_number(self.most)} {UNITS[self.bound]}"


def _number(value: float) -> str:
    """Whole from 1000 on, else with four digits that count."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def amounts(budget: Budget, spent: Spent, prices: TokenPrices | None = None) -> list[Amount]:
    """What is spent of each bound that the budget sets.

    Hours are those in which engines started and sampled, times their GPUs. Without a GPU they are
    hours of engines. prices: of a hosted model, whose dollars are those of its tokens.
    """
    hours = (spent.sampling_seconds + spent.startup_seconds) / 3600
    found = {
        "max_usd": prices.of(spent) if prices else hours * budget.usd_per_gpu_hour,
        "max_gpu_hours": hours,
        "max_output_tokens": float(spent.tokens or 0),
    }
    limits = {name: getattr(budget, name) for name in UNITS}
    return [Amount(name, most, found[name]) for name, most in limits.items() if most is not None]


def bounded(budget: Budget) -> bool:
    """Whether the budget has any bound."""
    return bool(amounts(budget, Spent()))


def reached(found: Sequence[Amount]) -> Amount | None:
    """The first bound that is reached; None while more may be spent."""
    return next((amount for amount in found if amount.reached), None)


def stopped_by(spent: Amount) -> str:
    """Why slices are missing, and what to do: for people."""
    return f"the budget is spent, {spent.line()}: launch with a higher {spent.flag} to go on"


def budget_of_run(run: Run) -> Budget:
    """The budget of the run's last launch."""
    known = {f.name for f in fields(Budget)}
    table = recorded_config(run).get("budget", {})
    return Budget(**{name: value for name, value in table.items() if name in known})


def amounts_of_run(run: Run, budget: Budget) -> list[Amount]:
    """What a run has spent of each bound. Its files are read only if the budget has a bound.

    Damaged shards count nothing.
    """
    if not bounded(budget):
        return []
    return amounts(budget, spent_of(facts_of_work(run, skip_damaged=True)), token_prices(run))


@dataclass(slots=True)
class Account:
    """What a run has spent, for a process that samples. It reads each file once.

    It is asked before each slice. So what it keeps grows with the engines, not with the shards. A
    question costs two listings, a status for each partial file, and what came since the last one.
    The prices of tokens are those of the launch that is the newest when the process starts.
    """

    run: Run
    budget: Budget
    prices: TokenPrices | None = field(init=False)
    _counted: set[str] = field(default_factory=set)
    _drawn: list[ShardFacts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prices = token_prices(self.run)

    def reached(self, in_hand: Mapping[str, ShardFacts] | None = None) -> Amount | None:
        """The bound that is reached; None while another slice may be begun.

        in_hand: slice -> what is drawn of it here. It counts instead of the slice's partial file.
        Slices that have a shard by now are left out.
        """
        done = self.run.done()
        if not self._counted <= done:  # somebody removed a shard: what it said cannot be taken out
            self._counted, self._drawn = set(), []
        if fresh := done - self._counted:
            self._drawn = condensed([*self._drawn, *(_facts_of(self.run, n) for n in fresh)])
            self._counted |= fresh
        own = {name: facts for name, facts in (in_hand or {}).items() if name not in done}
        kept = list_partials(self.run, done | own.keys())
        spent = spent_of([*self._drawn, *own.values(), *(partial.facts for partial in kept)])
        return reached(amounts(self.budget, spent, self.prices))


def _facts_of(run: Run, name: str) -> ShardFacts:
    """What a shard says; nothing of a damaged one."""
    try:
        return read_facts(run.shard_path(name))
    except ToolkitError:
        return ShardFacts()
