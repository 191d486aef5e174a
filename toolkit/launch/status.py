"""The one view of a run's progress: its ledger (plan against files), Slurm's queue, its accounting.

squeue and sacct are asked once each, and only if the run has jobs.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from toolkit.cli import how_many, job_command
from toolkit.errors import SlurmFailure
from toolkit.launch.accounting import Accounts, read_accounts
from toolkit.launch.failures import Failure, read_failures
from toolkit.launch.progress import Ledger
from toolkit.launch.queue import QueuedJob, queued_jobs
from toolkit.records import Judge
from toolkit.runs.budget import Amount, amounts, budget_of_run, reached, stopped_by
from toolkit.runs.outcomes import open_problems
from toolkit.runs.partials import list_partials
from toolkit.runs.roof import RunRoof, roof_of
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.summary import read_summary
from toolkit.runs.taxonomy import Taxonomy, counted
from toolkit.runs.usage import Cost, Spent, condensed, spent_of, token_prices
from toolkit.stats.curve import Counts, curve
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.judges import harness_of, harness_steps

RECENT_SECONDS = 300.0
"""`tokens/s now` is over the shards that ended within this time of the last one."""
MOST_FAILURES = 10
"""So many are shown in the text; scripts get all."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Output tokens a second of the whole run, from the times in its shards.

    tokens: None where there are shards but nobody knows their tokens, as of ingested samples.
    """

    tokens: int | None
    average: float
    now: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything `jobs/status.py` shows; `evaluated`, `missing` and `passed` are samples.

    partial: slice -> samples of it in its partial file, for interrupted slices.
    open_problems: those that an adaptive run's rule wants more samples of.
    outdated: samples that only an older version of the judge has decided.
    judge: whose verdicts count.
    pass_at_k: {k: value} unbiased, over the problems evaluated so far, up to a k that all support.
    taxonomy: what became of the evaluated samples; suspect passes count as passes.
    spent: what the array tasks that wrote shards say of tokens, time and engines.
    cost: what is paid for, by accounting where it exists.
    tasks: what Slurm still holds. silence: why that is not known, "" where it is.
    unaccounted: why accounting said nothing, "" where it did.
    failures: what has failed in the newest launch and is not made good.
    waiting: samples without a verdict that a harness elsewhere must give. harness: which, in words.
    budget: what is spent of each bound of the last launch's budget.
    roof: the speed that the cards allow, and the share of it that was reached. None: not known.
    """

    run: str
    ledger: Ledger
    partial: dict[str, int]
    evaluated: int
    missing: int
    passed: int
    open_problems: int
    outdated: int
    judge: str
    pass_at_k: dict[str, float]
    taxonomy: Taxonomy
    speed: Speed
    spent: Spent
    cost: Cost
    tasks: list[QueuedJob]
    silence: str
    unaccounted: str
    failures: list[Failure]
    waiting: int = 0
    harness: str = ""
    roof: RunRoof | None = None
    budget: list[Amount] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every planned sample is there and has its verdict, and no more are to be planned."""
        return not self.missing and not self.open_problems

    def json(self) -> str:
        """For scripts: one object, keys as the fields, plus `complete`."""
        told = asdict(self) | {"complete": self.complete}
        told["budget"] = [asdict(x) | {"reached": x.reached} for x in self.budget]
        told["cost"] |= {"gpu_hours": self.cost.gpu_hours, "efficiency": self.cost.efficiency}
        return json.dumps(told, indent=2)

    def text(self) -> str:
        """For people."""
        speed, ledger = self.speed, self.ledger
        shown = [f"pass@{k} {value:.4f}" for k, value in self.pass_at_k.items()]
        left = "" if speed.seconds_left is None else f", {speed.seconds_left / 60:.0f} min left"
        lines = [
            f"run        {self.run}",
            f"sampled    {ledger.line()}",
            *self._partial_line(),
            f"evaluated  {how_many(self.evaluated, 'sample')}, {self.missing} missing"
            + (
                f", {how_many(self.open_problems, 'problem goes on', 'problems go on')}"
                if self.open_problems
                else ""
            ),
            f"judge      {self.judge}",
            *self._outdated_line(),
            *self._waiting_line(),
            "so far     " + (", ".join(shown) or "no verdicts"),
            *_taxonomy_lines(self.taxonomy),
            "tokens     unknown"
            if speed.tokens is None
            else f"tokens     {_tokens_in(self.spent)}{speed.tokens} out{_shared_of(self.spent)}, "
            f"{speed.now:.0f} tokens/s now, {speed.average:.0f} on average{left}",
            *self._roof_line(),
            *_engine_lines(self.spent),
            *_cost_line(self.cost),
            *(f"budget     {each.line()}" for each in self.budget),
        ]
        lines += [
            f"in queue   {t.job} {t.stage} {t.state} {t.node or t.reason}"
            + (f", {how_many(t.restarts, 'restart')}" if t.restarts else "")
            + (f", looks for the run where it was before, {t.path}" if t.path else "")
            for t in self.tasks
        ]
        if self.silence:
            lines.append(f"in queue   not known: {self.silence}")
        if self.unaccounted:
            lines.append(f"accounts   not known: {self.unaccounted}")
        return "\n".join([*lines, *self._failed_lines(), *self._missing_line()])

    def _roof_line(self) -> Iterator[str]:
        if self.roof:
            yield f"roof       {self.roof.line()}"

    def _failed_lines(self) -> Iterator[str]:
        for failure in self.failures[:MOST_FAILURES]:
            yield f"failed     {failure.line()}"
        if len(self.failures) > MOST_FAILURES:
            more = how_many(len(self.failures) - MOST_FAILURES, "more kind")
            yield f"failed     {more}: --json shows all"

    def _missing_line(self) -> Iterator[str]:
        """What is missing, where nothing is on its way to make it."""
        missing = self.ledger.slices_planned - self.ledger.slices
        slices = how_many(missing, "slice")
        if missing and not self.tasks and (spent := reached(self.budget)):
            yield f"missing    {slices}: {stopped_by(spent)}"
        elif missing and not self.tasks and not self.silence:
            todo = "launch again to sample what is missing"
            if not all(failure.again for failure in self.failures):
                todo = "first mend what failed, see above"
            yield f"missing    {slices}: {todo}"

    def _partial_line(self) -> Iterator[str]:
        if self.partial:
            kept = how_many(sum(self.partial.values()), "sample is", "samples are")
            yield f"partial    {kept} kept of {how_many(len(self.partial), 'interrupted slice')}"

    def _waiting_line(self) -> Iterator[str]:
        if self.waiting:
            yield (
                f"waiting    {how_many(self.waiting, 'sample waits', 'samples wait')} for the "
                f"verdicts of {self.harness}: {harness_steps(Path(self.run))}"
            )

    def _outdated_line(self) -> Iterator[str]:
        if self.outdated:
            yield (
                f"outdated   {how_many(self.outdated, 'sample was', 'samples were')} decided by an "
                f"older version of the judge: `{job_command('evaluate')} {self.run}` judges "
                f"{'it' if self.outdated == 1 else 'them'} again"
            )


def read_status(
    run: Run,
    judge: Judge,
    accounts: Accounts | None = None,
    queue: tuple[list[QueuedJob], str] | None = None,
) -> Status:
    """The whole view. Verdicts of this judge count.

    accounts: what accounting said a moment ago. queue: what Slurm's queue holds of the run, and why
    that is not known. Without them, Slurm is asked. A cluster that does not answer is no error.
    """
    slices = run.slices()
    ledger = Ledger.of(slices, run.done())
    found = read_summary(run, judge, slices)
    counts, partials = found.outcomes.counts, list_partials(run)
    shards = [*found.shards, *(partial.facts for partial in partials)]
    rule, evaluated = run.stopping_rule(), int(counts["n"].sum())
    tasks, silence = _queue(run) if queue is None else queue
    accounts = read_accounts(run) if accounts is None else accounts
    lacking = {"sample"} if not ledger.sampled else set()
    # Thousands of shards come from a few engines, and their costs are summed up several times.
    drawn = condensed(shards)
    harness, spent = harness_of(judge), spent_of(drawn)
    if evaluated < ledger.samples:
        lacking |= {"evaluate", "alongside"}
    return Status(
        run=str(run.path),
        ledger=ledger,
        partial={each.slice: each.samples for each in partials},
        evaluated=evaluated,
        missing=ledger.samples_planned - evaluated,
        passed=int(counts["c"].sum()),
        open_problems=open_problems(counts, rule),
        outdated=found.outcomes.outdated,
        judge=judge.line(),
        pass_at_k=_running(counts, judge, rule),
        taxonomy=found.outcomes.taxonomy,
        speed=speed_of(shards, ledger),
        roof=roof_of(drawn, ledger.samples + sum(each.samples for each in partials)),
        spent=spent,
        cost=accounts.cost(run, drawn),
        tasks=tasks,
        silence=silence,
        unaccounted=accounts.silence,
        failures=read_failures(run, lacking, None if silence else tasks, accounts),
        waiting=int(counts["unjudged"].sum()) if harness else 0,
        harness=harness,
        budget=amounts(budget_of_run(run), spent, token_prices(run)),
    )


def _queue(run: Run) -> tuple[list[QueuedJob], str]:
    """What Slurm holds of the run, and why that is not known: one of both is empty."""
    try:
        return queued_jobs(run), ""
    except SlurmFailure as error:
        return [], str(error)


def _running(table: pl.DataFrame, judge: Judge, rule: StoppingRule | None) -> dict[str, float]:
    """pass@1, @10, @100 ... and at the largest k; nothing without a verdict."""
    tried = table.filter(pl.col("n") > 0)
    if harness_of(judge) and not rule:
        # A sample without a patch has failed at once. Beside patches that wait, it misleads.
        tried = tried.filter(pl.col("unjudged") == 0)
    counts = Counts.of(tried["n"], tried["c"], rule)
    if not len(counts):
        return {}
    ks = sorted({10**d for d in range(len(str(counts.k_max)))} | {counts.k_max})
    found = curve(counts, ks)
    return {str(k): float(v) for k, v in zip(ks, found.pass_at_k, strict=True)}


def _taxonomy_lines(found: Taxonomy) -> Iterator[str]:
    """The kinds and their shares, how many samples were cut at max_tokens, suspect passes."""
    if found.samples:
        shares = (f"{kind} {n} ({found.share(kind)})" for kind, n in found.kinds.items())
        yield f"outcomes   {', '.join(shares)}"
    if found.cut:
        cut = how_many(sum(found.cut.values()), "sample")
        yield f"cut        {cut} ended at max_tokens: {counted(found.cut)}"
    if found.suspect_passes:
        yield f"suspect    {found.suspect_line()}"


def _tokens_in(spent: Spent) -> str:
    if spent.prompt_tokens is None:
        return ""
    cached = spent.cached_tokens
    share = "" if cached is None else f" ({cached / max(1, spent.prompt_tokens):.0%} cached)"
    return f"{spent.prompt_tokens} in{share}, "


def _shared_of(spent: Spent) -> str:
    if spent.shared_tokens is None:
        return ""
    return f" ({spent.shared_tokens / max(1, spent.tokens or 0):.0%} shared)"


def _engine_lines(spent: Spent) -> Iterator[str]:
    """Where the engines ran, their time, and how full they were; nothing of ingested samples."""
    if not spent.tasks:
        return
    named = {"none": "no GPU", "cpu": "a CPU"}
    devices = ", ".join(
        f"{count} on {named.get(name, name)}" for name, count in sorted(spent.devices.items())
    )
    # One engine in each task is the usual case, and needs no second number.
    engines = "" if spent.engines == spent.tasks else f"{spent.engines} in "
    yield f"engines    {engines}{how_many(spent.tasks, 'array task')}: {devices}"
    staging = f" ({spent.staging_seconds:.0f} s staging)" if spent.staging_seconds >= 1 else ""
    time = "gpu time " if spent.on_gpus else "task time"
    yield (
        f"{time}  {spent.startup_seconds:.0f} s start-up{staging}, "
        f"{spent.sampling_seconds:.0f} s sampling"
    )
    if spent.kv_cache_peak is not None:
        thrown = ""
        if spent.preemptions is not None:
            thrown = f", {how_many(spent.preemptions, 'preemption')}"
        yield f"kv cache   at most {spent.kv_cache_peak:.0%} in use{thrown}"


def _cost_line(cost: Cost) -> Iterator[str]:
    if cost.seconds > 0:
        yield f"cost       {cost.line()}"


def speed_of(shards: Sequence[ShardFacts], ledger: Ledger) -> Speed:
    """From the tokens and the times of all attempts at all shards."""
    times = sorted(
        (each.times.ended, each.times.started, each.tokens.output or 0)
        for s in shards
        for each in s.attempts()
        if each.times
    )
    if not times:
        untold = shards and all(s.tokens.output is None for s in shards)
        return Speed(None if untold else 0, 0.0, 0.0, None)
    tokens = sum(t for _, _, t in times)
    span = times[-1][0] - min(started for _, started, _ in times)
    since = max(times[-1][0] - RECENT_SECONDS, times[0][1])
    recent = sum(t for ended, _, t in times if ended > since)
    now = recent / max(times[-1][0] - since, 1e-9)
    missing = ledger.samples_planned - ledger.samples
    # A running task may have written the first shard after the ledger was read.
    known = missing and now and ledger.samples
    left = missing * (tokens / ledger.samples) / now if known else None
    return Speed(tokens, tokens / max(span, 1e-9), now, left)
