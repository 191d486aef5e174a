"""One view of all runs of a study. Slurm is asked once for all of them: one squeue, one sacct."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from toolkit.campaigns.record import asked, launched_runs, read_record
from toolkit.campaigns.study import Study
from toolkit.cli import how_many
from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch.accounting import Accounts, accounts_of_runs
from toolkit.launch.queue import QueuedJob, queues_of
from toolkit.launch.status import Status, read_status
from toolkit.runs.run import Run
from toolkit.runs.usage import sum_of_known
from toolkit.verifiers.judges import judge_of_run


@dataclass(frozen=True, slots=True)
class Row:
    """A run of a study.

    why: what has failed, one line each. state is one of these:

    - new: not launched; waiting, running: with jobs in the queue; done: nothing is missing.
    - stopped: something is missing, and nothing is on its way; damaged: cannot be read.
    - changed: the study file asks for another run now; left: no longer in the study file.
    """

    name: str
    state: str
    path: str = ""
    samples: int = 0
    samples_planned: int = 0
    evaluated: int = 0
    pass_at_k: dict[str, float] = field(default_factory=dict)
    tokens: int | None = None
    gpu_hours: float | None = None
    usd: float | None = None
    why: list[str] = field(default_factory=list)

    def line(self, width: int) -> str:
        """For a terminal."""
        ks = list(self.pass_at_k)
        shown = [f"{self.pass_at_k[k]:.3f} @{k}" for k in (ks[:1] + ks[-1:] if ks[1:] else ks)]
        amounts = f"{self.samples:>9}/{self.samples_planned:<9} {self.evaluated:>9}"
        hours = "-" if self.gpu_hours is None else f"{self.gpu_hours:.2f}"
        return f"{self.name:<{width}} {self.state:<8} {amounts} {hours:>9}  {'  '.join(shown)}"


@dataclass(frozen=True, slots=True)
class Overview:
    """All runs of a study, first those of its file. silence: why Slurm's queue is not known."""

    study: str
    rows: list[Row]
    silence: str = ""

    @property
    def complete(self) -> bool:
        """Every run that the study file has now is done."""
        return all(row.state == "done" for row in self.rows if row.state != "left")

    def json(self) -> str:
        """For scripts: one object."""
        told = {"study": self.study, "complete": self.complete, "silence": self.silence}
        return json.dumps(told | {"total": asdict(self._total())} | asdict(self), indent=1)

    def text(self) -> str:
        """For people."""
        width = max((len(row.name) for row in self.rows), default=3)
        head = f"{'run':<{width}} {'state':<8} {'samples':>9} {'':9} {'evaluated':>9} "
        lines = [f"{head}{'GPU-hours':>9}  pass@k", *(row.line(width) for row in self.rows)]
        states = Counter(row.state for row in self.rows)
        counted = ", ".join(f"{n} {state}" for state, n in states.items())
        total = self._total()
        hours = "" if total.gpu_hours is None else f", {total.gpu_hours:.2f} GPU-hours"
        usd = "" if total.usd is None else f", {total.usd:.2f} $"
        lines.append(f"{how_many(len(self.rows), 'run')}: {counted}")
        lines.append(
            f"{total.samples}/{total.samples_planned} samples, {total.evaluated} evaluated, "
            f"{total.tokens or 0} tokens{hours}{usd}"
        )
        lines += [f"failed     {row.name}: {why}" for row in self.rows for why in row.why]
        if self.silence:
            lines.append(f"in queue   not known: {self.silence}")
        return "\n".join(lines)

    def _total(self) -> Row:
        rows = [row for row in self.rows if row.state != "left"]
        return Row(
            "all",
            "done" if self.complete else "",
            samples=sum(row.samples for row in rows),
            samples_planned=sum(row.samples_planned for row in rows),
            evaluated=sum(row.evaluated for row in rows),
            tokens=sum(row.tokens or 0 for row in rows),
            gpu_hours=sum_of_known(row.gpu_hours for row in rows),
            usd=sum_of_known(row.usd for row in rows),
        )


def read_overview(study: Study) -> Overview:
    """Read the record and the runs of a study. What Slurm does not tell is no error."""
    record = read_record(study.directory)
    now = {run.name: asked(run) for run in study.runs}
    launched = launched_runs(record)
    runs = list(launched.values())
    silence, queues = "", [list[QueuedJob]() for _ in runs]
    try:
        queues = queues_of(runs) if runs else []
    except SlurmFailure as error:
        silence = str(error)
    told = dict(zip(launched, zip(queues, accounts_of_runs(runs), strict=True), strict=True))
    price = study.settings.usd_per_gpu_hour
    rows = []
    for name in [*now, *(name for name in launched if name not in now)]:
        if name not in launched:
            rows.append(Row(name, "new"))
            continue
        row = _row(name, launched[name], *told[name], silence, price)
        if name not in now:
            row = replace(row, state="left")
        elif record.runs[name].asked != now[name]:
            row = replace(row, state="changed")
        rows.append(row)
    return Overview(str(study.file), rows, silence)


def _row(
    name: str, run: Run, queue: list[QueuedJob], accounts: Accounts, silence: str, price: float
) -> Row:
    try:
        status = read_status(run, judge_of_run(run), accounts, (queue, silence))
    except ToolkitError as error:
        return Row(name, "damaged", str(run.path), why=[str(error)])
    hours = status.cost.gpu_hours
    return Row(
        name,
        _state(run, status),
        str(run.path),
        status.ledger.samples,
        status.ledger.samples_planned,
        status.evaluated,
        status.pass_at_k,
        status.speed.tokens,
        hours,
        status.cost.usd if hours is None else hours * price + (status.cost.usd or 0.0),
        list(_why(status)),
    )


def _state(run: Run, status: Status) -> str:
    """In one word. A run that is not fitted, or whose fit is still in the queue, is not done."""
    if status.tasks:
        running = any(job.state == "RUNNING" for job in status.tasks)
        return "running" if running else "waiting"
    return "done" if status.complete and _fitted(run) else "stopped"


def _fitted(run: Run) -> bool:
    """Whether the results miss nothing. Only this is read: there may be hundreds of documents."""
    try:
        return bool(json.loads((run.results_dir / "fit.json").read_bytes())["complete"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _why(status: Status) -> Iterator[str]:
    for failure in status.failures:
        yield failure.line()
