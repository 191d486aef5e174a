"""Hard budgets: random trials with the real sampler and the real account of a run.

The trials check the promise itself: a run spends more than its budget by the slices in hand at most.
"""

import heapq
import random
import threading
from dataclasses import dataclass, field

import pytest
from run_here import here

from toolkit.backends import open_backend
from toolkit.config import Budget, Config, Engine, ProblemSet, Quantity, Sampling
from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.records import EngineFacts, Load, Sample
from toolkit.runs.budget import Account, amounts, amounts_of_run
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts, Times, TokenCounts, read_facts
from toolkit.runs.shards import write_shard
from toolkit.runs.usage import Spent, TokenPrices
from toolkit.stages.sampler import Sampler
from toolkit.stages.slice_pool import SlicePool
from toolkit.verifiers.base import examples_of, prompts_of


def planned(folder, samples, slice_samples, tasks, budget):
    config = Config(
        sampling=Sampling(backend="synthetic"),
        problem_set=ProblemSet(limit=2),
        quantity=Quantity(samples=samples, slice_samples=slice_samples, slice_seeds=slice_samples),
        engine=Engine(max_num_seqs=random.Random(str(folder)).choice([3, 8, 64])),
        budget=budget,
    )
    plan = plan_launch(config, folder)
    run = freeze_launch(plan)
    by_name = {s.name: s for s in run.slices()}
    dealt = [[by_name[n] for n in names] for names in tasks_of(plan)]
    names = [s for share in dealt for s in share]
    return run, config, [names[i::tasks] for i in range(tasks)]


@dataclass
class Turns:
    """Lets one thread run at a time, the next one drawn at random; notes what opens and lands."""

    random: random.Random
    alive: set = field(default_factory=set)
    turn: int | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    opened: list = field(default_factory=list)

    def give(self):
        with self.changed:
            self.turn = self.random.choice(sorted(self.alive)) if self.alive else None
            self.changed.notify_all()

    def take(self, who):
        with self.changed:
            assert self.changed.wait_for(lambda: self.turn == who, timeout=60)


class TakingTurns:
    """A backend of the task `who`, whose samples take a random number of steps. Before each step
    its shards are on disk: so what the others see is the same at every run of the test.
    """

    def __init__(self, who, inner, turns, limit):
        self.who, self.inner, self.turns, self.max_in_flight = who, inner, turns, limit
        self.waiting, self.sampler = [], None

    def submit(self, request):
        self.inner.submit(request)
        self.waiting += self.inner.step()

    def step(self):
        assert self.sampler._writer.settle(0, 60)
        self.turns.give()
        self.turns.take(self.who)
        self.turns.random.shuffle(self.waiting)
        count = min(self.turns.random.randint(1, 6), len(self.waiting))
        return [self.waiting.pop() for _ in range(count)]

    def load(self):
        return Load()


class Noting(Account):
    """Notes, for each slice that is begun, what the shards on disk said at that moment."""

    def reached(self, in_hand=None):
        found = super().reached(in_hand)
        if found is None:
            self.begun.append(sum(tokens_on_disk(self.run)))
        return found


def tokens_on_disk(run):
    return [read_facts(run.shard_path(name)).tokens.output for name in run.done()]


def sample_in_turns(run, config, shares, drawn):
    """Real samplers, one for each share, interleaved at random. Gives what each slice began at."""
    turns, begun = Turns(drawn), []
    prompts, examples = prompts_of(run.problems()), examples_of(run.problems())

    def work(who, share):
        turns.take(who)
        inner = open_backend(config, examples)
        backend = TakingTurns(who, inner, turns, config.engine.max_num_seqs)
        account = Noting(run, config.budget)
        account.begun = begun
        facts = ShardFacts(origin=Origin(process=who))
        pool = SlicePool(run, share, account=account)
        backend.sampler = Sampler(run, pool, prompts, backend, facts)
        try:
            assert backend.sampler.sample()
        finally:
            turns.alive.discard(who)
            turns.give()

    turns.alive = set(range(len(shares)))
    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(shares)]
    for thread in threads:
        thread.start()
    turns.give()
    for thread in threads:
        thread.join(60)
    return begun


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 50, 10))
def test_tokens_are_overspent_by_the_slices_in_hand_at_most(tmp_path, first):
    """Fifty trials: 1 to 4 tasks, random sizes of slices, batches and budgets."""
    for trial in range(first, first + 10):
        drawn = random.Random(trial)
        most = drawn.randint(1, 4000)
        size, tasks = drawn.choice([3, 7, 12]), drawn.randint(1, 4)
        run, config, shares = planned(
            tmp_path / str(trial), 30, size, tasks, Budget(max_output_tokens=most)
        )
        begun = sample_in_turns(run, config, shares, drawn)
        assert begun
        assert all(on_disk < most for on_disk in begun)
        slices = tokens_on_disk(run)
        in_hand = sum(sorted(slices)[-_most_in_hand(config, size, tasks) :])
        assert sum(slices) <= most + in_hand
        everything = len(run.done()) == len(run.slices())
        assert everything or sum(slices) >= most


def _most_in_hand(config, size, tasks):
    """So many slices at most: of each task those that fill its batch, and the one beside."""
    return tasks * (2 + config.engine.max_num_seqs // size)


@pytest.mark.slow
@pytest.mark.parametrize("bound", ["max_gpu_hours", "max_usd"])
def test_gpu_time_is_overspent_by_the_slices_in_hand_at_most(tmp_path, bound):
    """Fifty trials on a clock of their own: engines start late, slices take random times."""
    for trial in range(25):
        drawn = random.Random(f"{bound} {trial}")
        price = drawn.uniform(0.5, 5)
        most = drawn.uniform(0.1, 6) * (price if bound == "max_usd" else 1)
        budget = Budget(**{bound: most}, usd_per_gpu_hour=price)
        run, config, shares = planned(tmp_path / str(trial), 20, 4, drawn.randint(1, 4), budget)
        over = clockwork(run, config, shares, drawn)
        (amount,) = amounts_of_run(run, budget)
        unit = price if bound == "max_usd" else 1
        assert amount.spent <= most + over * unit + 1e-6
        assert amount.reached or len(run.done()) == len(run.slices())


def clockwork(run, config, shares, drawn):
    """Tasks of one slice at a time, with times in hours.

    Gives the GPU-hours of the slices in hand when the budget was reached first, with the starts of
    their engines.
    """
    startup, in_hand, over = drawn.uniform(0, 0.2), {}, None
    events = [(drawn.uniform(0, 1), task, None) for task in range(len(shares))]
    accounts = [Account(run, config.budget) for _ in shares]
    heapq.heapify(events)
    while events:
        now, task, ended = heapq.heappop(events)
        if ended is not None:
            began = in_hand.pop(task)
            write_shard(run, ended, samples_of(ended), facts_of(task, began, now, startup))
            if over is None and Account(run, config.budget).reached():
                over = (now - began) + sum(now - since + 2 for since in in_hand.values())
                over += startup * len(shares)
        if shares[task] and not accounts[task].reached():
            in_hand[task] = now
            heapq.heappush(events, (now + drawn.uniform(0.05, 2), task, shares[task].pop(0)))
    return over or 0.0


def samples_of(slice_):
    return [Sample(task_id, seed, "x", 3, "stop") for task_id, seed in slice_.sample_keys()]


def facts_of(task, began, ended, startup):
    return ShardFacts(
        origin=Origin(process=task),
        engine=EngineFacts("test", device="A100"),
        start=EngineStart(startup_seconds=3600 * startup),
        times=Times(3600 * began, 3600 * ended),
        tokens=TokenCounts(output=1),
    )


@pytest.mark.slow
def test_a_higher_budget_goes_on_and_each_place_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ("--backend", "synthetic", "--launcher", "inline", "--limit", 2, "--samples", 30)
    flags += ("--slice-samples", 10, "--slice-seeds", 5, "--max-num-seqs", 4, "--replicates", 100)
    stopped = here("launch", *flags, "--max-output-tokens", 300)
    assert stopped.code == 1
    assert "the budget is spent" in stopped.out
    status = here("status")
    assert "launch with a higher --max-output-tokens to go on" in status.out
    assert "the budget is spent" in (tmp_path / "runs/latest/results/report.md").read_text().lower()
    before = set((tmp_path / "runs/latest/samples").iterdir())
    again = here("launch", *flags, "--max-output-tokens", 300)
    assert "is spent: nothing is sampled" in again.out
    assert set((tmp_path / "runs/latest/samples").iterdir()) == before
    done = here("launch", "--resume", "--max-output-tokens", 10**6)
    assert done.code == 0
    assert "the budget is spent" not in here("status").out


def test_a_server_s_dollars_are_those_of_its_tokens(tmp_path):
    asked = ("--runs", tmp_path, "--backend", "openai", "--model", "m")
    for flag, says in (
        ("--max-usd", "--usd-per-million-output-tokens"),
        ("--max-gpu-hours", "GPUs"),
    ):
        done = here("launch", *asked, flag, 3)
        assert done.code == 2
        assert says in done.all()
        assert "--max-output-tokens" in done.all()
    spent, prices = Spent(tokens=2_000_000, prompt_tokens=1_000_000), TokenPrices(1e-6, 4e-6)
    (amount,) = amounts(Budget(max_usd=9.5), spent, prices)
    assert (amount.spent, amount.reached) == (pytest.approx(9), False)
