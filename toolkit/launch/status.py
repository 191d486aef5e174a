"""The one view of a run's progress: its ledger (plan against files) and one squeue call."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

import polars as pl

from toolkit.records import Judge
from toolkit.runs.outcomes import count_outcomes, outdated_samples, progress
from toolkit.runs.run import Run, launches
from toolkit.runs.shard_facts import ShardFacts, read_facts
from toolkit.runs.usage import Spent, spent_of
from toolkit.stats.curve import Counts, curve

LOG_SECONDS = 15.0
"""Between progress lines where there is no terminal to rewrite a line on."""
RECENT_SECONDS = 300.0
"""`tokens/s now` is over the shards that ended within this time of the last one."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """How much of the plan is on disk, in samples and slices."""

    samples_planned: int
    samples: int
    slices_planned: int
    slices: int

    @property
    def sampled(self) -> bool:
        """Every planned slice has its shard."""
        return self.slices == self.slices_planned

    def line(self) -> str:
        """One line for a terminal or a log."""
        share = self.samples / self.samples_planned if self.samples_planned else 1.0
        return (
            f"{self.samples}/{self.samples_planned} samples ({share:.0%}), "
            f"{self.slices}/{self.slices_planned} slices"
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A job in Slurm's queue, as squeue shows it."""

    job: str
    stage: str
    state: str
    node: str
    reason: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Output tokens a second of the whole run, from the times in its shards."""

    tokens: int
    average: float
    now: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything `jobs/status.py` shows; `evaluated`, `missing` and `passed` are samples.

    pass_at_k: {k: value} over the problems evaluated so far, unbiased, up to the k that all of
    them support; open_problems: those that an adaptive run's rule wants more samples of; judge:
    whose verdicts count; outdated: samples that only an older version of it has decided; spent:
    what the tasks that wrote shards say of tokens, time and engines.
    """

    run: str
    ledger: Ledger
    evaluated: int
    missing: int
    passed: int
    open_problems: int
    outdated: int
    judge: str
    pass_at_k: dict[str, float]
    speed: Speed
    spent: Spent
    tasks: list[Task]
    failures: dict[str, str]

    @property
    def complete(self) -> bool:
        """Every planned sample is there and has its verdict, and no more are to be planned."""
        return not self.missing and not self.open_problems

    def json(self) -> str:
        """For scripts: one object, keys as the fields, plus `complete`."""
        return json.dumps(asdict(self) | {"complete": self.complete}, indent=2)

    def text(self) -> str:
        """For people."""
        speed, ledger = self.speed, self.ledger
        shown = [f"pass@{k} {value:.4f}" for k, value in self.pass_at_k.items()]
        left = "" if speed.seconds_left is None else f", {speed.seconds_left / 60:.0f} min left"
        lines = [
            f"run        {self.run}",
            f"sampled    {ledger.line()}",
            f"evaluated  {self.evaluated} samples, {self.missing} missing"
            + (f", {self.open_problems} problems go on" if self.open_problems else ""),
            f"judge      {self.judge}",
            *self._outdated_line(),
            "so far     " + (", ".join(shown) or "no verdicts"),
            f"tokens     {_tokens_in(self.spent)}{speed.tokens} out, {speed.now:.0f} tokens/s now, "
            f"{speed.average:.0f} on average{left}",
            *_engine_lines(self.spent),
        ]
        lines += [
            f"task       {t.job} {t.stage} {t.state} {t.node or t.reason}"
            + (f", {t.restarts} restarts" if t.restarts else "")
            for t in self.tasks
        ]
        lines += [f"failed     {log}: {line}" for log, line in self.failures.items()]
        missing = ledger.slices_planned - ledger.slices
        if missing and not self.tasks:
            lines.append(f"missing    {missing} slices: launch again to sample them")
        return "\n".join(lines)

    def _outdated_line(self) -> Iterator[str]:
        if self.outdated:
            yield (
                f"outdated   {self.outdated} samples were decided by an older version of the "
                f"judge: `python jobs/evaluate.py {self.run}` judges them again"
            )


def read_ledger(run: Run) -> Ledger:
    """Compare plan and shards: one listing, no file is opened but the plan's."""
    slices, done = run.slices(), run.done()
    present = [s for s in slices if s.name in done]
    return Ledger(sum(map(len, slices)), sum(map(len, present)), len(slices), len(present))


def read_status(run: Run, judge: Judge) -> Status:
    """The whole view. Verdicts of this judge count; a cluster, if any, is asked once."""
    ledger = read_ledger(run)
    shards = [read_facts(p) for p in run.samples_dir.glob("*.parquet")]
    counts = count_outcomes(run, judge)
    tried = counts.filter(pl.col("n") > 0)
    done = progress(run, counts)
    return Status(
        run=str(run.path),
        ledger=ledger,
        evaluated=done.evaluated,
        missing=done.planned - done.evaluated,
        passed=int(counts["c"].sum()),
        open_problems=done.open_problems,
        outdated=outdated_samples(run, judge),
        judge=judge.line(),
        pass_at_k=_running(Counts.of(tried["n"], tried["c"], run.stopping_rule())),
        speed=speed_of(shards, ledger),
        spent=spent_of(shards),
        tasks=queued_tasks(run),
        failures=failed_logs(run),
    )


def _running(counts: Counts) -> dict[str, float]:
    """pass@1, @10, @100 ... and at the largest k; nothing without a verdict."""
    if not len(counts):
        return {}
    ks = sorted({10**d for d in range(len(str(counts.k_max)))} | {counts.k_max})
    found = curve(counts, ks)
    return {str(k): float(v) for k, v in zip(ks, found.pass_at_k, strict=True)}


def _tokens_in(spent: Spent) -> str:
    if spent.prompt_tokens is None:
        return ""
    cached = spent.cached_tokens
    share = "" if cached is None else f" ({cached / max(1, spent.prompt_tokens):.0%} cached)"
    return f"{spent.prompt_tokens} in{share}, "


def _engine_lines(spent: Spent) -> Iterator[str]:
    """Where the engines ran, their time, and how full they were; nothing of ingested samples."""
    if not spent.tasks:
        return
    devices = ", ".join(f"{count} on {name}" for name, count in sorted(spent.devices.items()))
    yield f"engines    {spent.tasks} task(s): {devices}"
    staging = f" ({spent.staging_seconds:.0f} s staging)" if spent.staging_seconds >= 1 else ""
    yield (
        f"gpu time   {spent.startup_seconds:.0f} s start-up{staging}, "
        f"{spent.sampling_seconds:.0f} s sampling"
    )
    if spent.kv_cache_peak is not None:
        thrown = "" if spent.preemptions is None else f", {spent.preemptions} preemptions"
        yield f"kv cache   at most {spent.kv_cache_peak:.0%} in use{thrown}"


def speed_of(shards: Sequence[ShardFacts], ledger: Ledger) -> Speed:
    """From the tokens and the times of all shards."""
    times = sorted(
        (s.times.ended, s.times.started, s.tokens.output or 0) for s in shards if s.times
    )
    if not times:
        return Speed(0, 0.0, 0.0, None)
    tokens = sum(t for _, _, t in times)
    span = times[-1][0] - min(started for _, started, _ in times)
    since = max(times[-1][0] - RECENT_SECONDS, times[0][1])
    recent = sum(t for ended, _, t in times if ended > since)
    now = recent / max(times[-1][0] - since, 1e-9)
    missing = ledger.samples_planned - ledger.samples
    left = missing * (tokens / ledger.samples) / now if missing and now else None
    return Speed(tokens, tokens / max(span, 1e-9), now, left)


def queued_tasks(run: Run) -> list[Task]:
    """The run's jobs that Slurm still holds; none when no cluster answers."""
    stages = {job: stage for entry in launches(run) for stage, job in entry["jobs"].items()}
    if not stages:
        return []
    command = [
        "squeue",
        "--noheader",
        "--array",
        f"--jobs={','.join(stages)}",
        "--Format=ArrayJobID:|,JobArrayID:|,State:|,NodeList:|,Reason:|,RestartCnt:|",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError:
        return []
    tasks = []
    for line in answer.stdout.splitlines():
        job, task, state, node, reason, restarts = line.split("|")[:6]
        tasks.append(Task(task, stages.get(job, ""), state, node, reason, int(restarts or 0)))
    return tasks


def failed_logs(run: Run) -> dict[str, str]:
    """Log file -> its last line, for tasks whose newest attempt ended in an error."""
    failures = {}
    for path in sorted(run.slurm_dir.glob("*_log.out")):
        lines = tail(path)
        if lines and any("triggered an exception" in line for line in lines[-20:]):
            named = [line for line in lines if line.startswith("toolkit.errors.")]
            failures[path.name] = (named or lines)[-1].strip()[:300]
    return failures


def tail(path: Path, size: int = 8192) -> list[str]:
    """The last lines of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").splitlines()


@dataclass(slots=True)
class Ticker:
    """Shows how a run goes on: one rewritten line on a terminal, a line now and then in a log.

    Tasks log into the run's slurm/ folder; the newest line there says what goes on between two
    shards.
    """

    run: Run
    stream: TextIO
    _shown: str = ""
    _at: float = field(default=0.0)

    def show(self) -> None:
        """Show the state now, unless nothing is new or it was shown a moment ago."""
        line = f"{read_ledger(self.run).line()} | {self._newest_log_line()}"
        terminal = self.stream.isatty()
        if line == self._shown or (not terminal and time.monotonic() - self._at < LOG_SECONDS):
            return
        self._shown, self._at = line, time.monotonic()
        self.stream.write(f"\r\x1b[2K{line[:160]}" if terminal else f"{line}\n")
        self.stream.flush()

    def end(self) -> None:
        """Leave the rewritten line."""
        if self.stream.isatty() and self._shown:
            self.stream.write("\n")

    def _newest_log_line(self) -> str:
        logs = sorted(self.run.slurm_dir.glob("*_log.out"), key=lambda p: p.stat().st_mtime)
        ours = (
            [line for line in tail(logs[-1]) if line[:2] == "20" and "Z " in line] if logs else []
        )
        return ours[-1].split("Z ", 1)[1] if ours else ""
