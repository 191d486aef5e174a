"""The sampling stage: slices in, shards out. An engine that dies is started again."""

import contextlib
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from toolkit import __version__
from toolkit.backends import Backend, open_backend
from toolkit.config import Config
from toolkit.errors import EngineFailure, EngineRefused, StartInterrupted
from toolkit.models.hub_cache import at_snapshot
from toolkit.records import Examples
from toolkit.runs.judge import judge_choice
from toolkit.runs.partials import discard_stale_partials, read_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts
from toolkit.stages.sampler import Sampler
from toolkit.stages.signals import StopRequest
from toolkit.verifiers.base import examples_of, prompts_of

log = logging.getLogger(__name__)


def run_sampling(run: Run, names: Sequence[str], config: Config, stop: StopRequest) -> bool:
    """Sample the named slices of a run that have no shard yet. True if all have one now.

    False means that a stop was requested. What is finished is then on disk: whole slices as shards,
    the samples of others in partial files.

    If the engine dies, a new one samples what is missing. Raises `EngineFailure` if two engines in
    a row die before they have brought a sample to disk, `EngineRefused` if one says why it cannot
    start.
    """
    by_name = {s.name: s for s in run.slices()}
    problems = run.problems()
    prompts, examples = prompts_of(problems), examples_of(problems, judge_choice(run))
    hub_model = run.manifest().get("hub_model")
    at_hand = at_snapshot(config, hub_model)
    fruitless = restarts = 0
    discard_stale_partials(run)
    while pending := [by_name[n] for n in names if n not in run.done()]:
        partials = read_partials(run, pending)
        kept = sum(len(partial.samples) for partial in partials.values())
        log.info(
            "%d of %d slices to sample; %d samples of them are kept", len(pending), len(names), kept
        )
        sampler = None
        try:
            with _engine(at_hand, examples, restarts, stop) as (backend, facts):
                engine = replace(facts.engine, model_commit=(hub_model or {}).get("commit"))
                facts = replace(facts, engine=engine)
                sampler = Sampler(run, pending, prompts, backend, facts, partials)
                if not sampler.sample(lambda: stop.requested):
                    return False
        except StartInterrupted:
            return False
        except EngineRefused:
            raise
        except EngineFailure as failure:
            if stop.requested:  # Slurm may have ended the engine's processes with the same signal
                return False
            fruitless = 0 if sampler and sampler.progress.kept else fruitless + 1
            if fruitless > 1:
                raise
            restarts += 1
            log.warning("%s: starting it again to sample what is missing", failure)
    discard_stale_partials(run)
    return True


@contextlib.contextmanager
def _engine(
    config: Config, examples: Mapping[str, Examples], restarts: int, stop: StopRequest
) -> Iterator[tuple[Backend, ShardFacts]]:
    """An engine, and what all its shards record. It is closed at the end of the context."""
    starting = time.monotonic()
    backend = open_backend(config, examples, lambda: stop.requested)
    try:
        staging = getattr(backend, "staging_seconds", 0.0)  # only vLLM's model is staged
        startup = time.monotonic() - starting - staging
        log.info("engine up in %.1f s", startup)
        start = EngineStart(
            restarts=restarts,
            staging_seconds=staging,
            startup_seconds=startup,
            max_num_seqs=config.engine.max_num_seqs,
        )
        yield backend, ShardFacts(origin=provenance(), engine=backend.describe(), start=start)
    finally:
        backend.close()


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
