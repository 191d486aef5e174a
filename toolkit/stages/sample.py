"""The sampling stage: slices in, shards out, by one engine or by several on a node."""

import contextlib
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from toolkit import __version__
from toolkit.backends import Backend, open_backend
from toolkit.cli import how_many
from toolkit.config import Config
from toolkit.cores import OWN, available_cores
from toolkit.models.hub_cache import at_snapshot
from toolkit.records import Examples, Slice
from toolkit.runs.budget import Account, bounded
from toolkit.runs.judge import judge_choice
from toolkit.runs.partials import discard_stale_partials, read_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts
from toolkit.runs.shares import Share
from toolkit.stages.crew import Crew, Seat
from toolkit.stages.progress import SamplingProgress
from toolkit.stages.signals import StopRequest
from toolkit.stages.slice_pool import SlicePool
from toolkit.verifiers.base import examples_of, prompts_of

log = logging.getLogger(__name__)


VISIBLE = "CUDA_VISIBLE_DEVICES"
Devices = tuple[str, ...]
"""GPUs as CUDA_VISIBLE_DEVICES names them. (): whatever the task sees, or none."""


def run_sampling(
    run: Run,
    names: Sequence[str],
    config: Config,
    stop: StopRequest,
    devices: Sequence[Devices] = ((),),
    share: Share | None = None,
) -> bool:
    """Sample the named slices of a run that have no shard yet. True if all have one now.

    True also if the run's budget is spent: then the slices that were begun have one.

    False means that a stop was requested. What is finished is then on disk: whole slices as shards,
    the samples of others in partial files.

    share: gives further slices, which are planned meanwhile.

    devices: those of each engine. There are as many engines, but no more than slices. If one dies,
    a new one samples what is missing. Raises `EngineFailure` if engines die before they have
    brought a sample to disk, `EngineRefused` if they say why they cannot start; see `Crew.work`.
    """
    by_name = {s.name: s for s in run.slices()}
    dealt = [by_name[name] for name in names]
    if share:
        share.resume()
    problems = run.problems()
    prompts, examples = prompts_of(problems), examples_of(problems, judge_choice(run))
    hub_model = run.manifest().get("hub_model")
    engines = _Engines(at_snapshot(config, hub_model), examples, (hub_model or {}).get("commit"))
    account = Account(run, config.budget) if bounded(config.budget) else None
    discard_stale_partials(run)
    while (pending := _pending(run, dealt, share)) or (share and not share.over(idle=True)):
        if account and (spent := account.reached()):
            log.info("the budget is spent, no slice is begun: %s", spent.line())
            break
        partials = read_partials(run, pending)
        kept = sum(len(each.samples) for each in partials.values())
        log.info(
            "%d of %s to sample; %s of them kept",
            len(pending),
            how_many(len(dealt), "slice"),
            how_many(kept, "sample"),
        )
        pool = SlicePool(run, pending, partials, account, share)
        seats = engines.seats(devices if share else devices[: len(pending)])
        with SamplingProgress.shown(pool.planned_samples) as progress:
            crew = Crew(run, pool, prompts, seats, progress, lambda: stop.requested)
            if not crew.work():
                return False
        if pool.out_of_budget:
            break
    discard_stale_partials(run)
    return True


def _pending(run: Run, dealt: Sequence[Slice], share: Share | None) -> list[Slice]:
    """The slices of this task without a shard: those that it was dealt, and those it has taken."""
    done = run.done()
    return [s for s in (*dealt, *(share.taken if share else ())) if s.name not in done]


@dataclass(frozen=True, slots=True)
class _Engines:
    """How the engines of a task are started. model_commit: of a model of the Hugging Face hub."""

    config: Config
    examples: Mapping[str, Examples]
    model_commit: str | None

    def seats(self, devices: Sequence[Devices]) -> list[Seat]:
        """A place for each engine. One alone sees what the task sees."""
        if len(devices) == 1:
            return [Seat("", partial(self.started, provenance(), _surroundings(devices[0], 1)))]
        found = []
        for slot, gpus in enumerate(devices):
            origin = replace(provenance(), slot=slot, gpus=",".join(gpus) or None)
            start = partial(self.started, origin, _surroundings(gpus, len(devices)))
            found.append(Seat(_name(origin), start))
        return found

    @contextlib.contextmanager
    def started(
        self,
        origin: Origin,
        surroundings: Mapping[str, str],
        restarts: int,
        stop_requested: Callable[[], bool],
    ) -> Iterator[tuple[Backend, ShardFacts]]:
        """An engine, and what all its shards record. It is closed at the end of the context."""
        starting = time.monotonic()
        backend = open_backend(self.config, self.examples, stop_requested, surroundings)
        try:
            staging = getattr(backend, "staging_seconds", 0.0)  # only vLLM's model is staged
            startup = time.monotonic() - starting - staging
            log.info("%s up in %.1f s", _name(origin), startup)
            start = EngineStart(
                restarts=restarts,
                staging_seconds=staging,
                startup_seconds=startup,
                max_num_seqs=self.config.engine.max_num_seqs,
            )
            engine = replace(backend.describe(), model_commit=self.model_commit)
            yield backend, ShardFacts(origin=origin, engine=engine, start=start)
        finally:
            backend.close()


def _name(origin: Origin) -> str:
    """An engine in words: `engine`, or one of several as `engine 2 on GPU 6`."""
    which = "engine" if origin.slot is None else f"engine {origin.slot}"
    return which if origin.gpus is None else f"{which} on GPU {origin.gpus}"


def _surroundings(gpus: Devices, engines: int) -> dict[str, str]:
    """What an engine's environment has that is not the task's: its GPUs, its share of the cores."""
    found = {VISIBLE: ",".join(gpus)} if gpus else {}
    if engines > 1:
        found[OWN] = str(max(1, available_cores() // engines))
    return found


def provenance() -> Origin:
    """Where this process runs, and with which version of the toolkit."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")
    return Origin(
        toolkit=__version__,
        host=platform.node(),
        process=os.getpid(),
        slurm_job=job,
        slurm_task=os.environ.get("SLURM_ARRAY_TASK_ID", ""),
        slurm_restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    )
