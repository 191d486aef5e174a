"""The sampling stage: slices in, shards out. An engine that dies is started again."""

import logging
import os
import platform
import time
from collections.abc import Sequence

from toolkit import __version__
from toolkit.backends import open_backend
from toolkit.config import Config
from toolkit.errors import EngineFailure
from toolkit.models.staging import stage_model
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
    a row die before they have brought a sample to disk.
    """
    by_name = {s.name: s for s in run.slices()}
    problems = run.problems()
    prompts, examples = prompts_of(problems), examples_of(problems)
    fruitless = restarts = 0
    discard_stale_partials(run)
    while pending := [by_name[n] for n in names if n not in run.done()]:
        partials = read_partials(run, pending)
        kept = sum(len(partial.samples) for partial in partials.values())
        log.info(
            "%d of %d slices to sample; %d samples of them are kept", len(pending), len(names), kept
        )
        staging = time.monotonic()
        at_hand = stage_model(config)
        if stop.requested:
            return False
        starting = time.monotonic()
        with stop.starting():
            backend = open_backend(at_hand, examples)
        up = time.monotonic()
        log.info("engine up in %.1f s", up - starting)
        start = EngineStart(
            restarts=restarts,
            staging_seconds=starting - staging,
            startup_seconds=up - starting,
            max_num_seqs=config.engine.max_num_seqs,
        )
        facts = ShardFacts(origin=provenance(), engine=backend.describe(), start=start)
        sampler = Sampler(run, pending, prompts, backend, facts, partials)
        try:
            if not sampler.sample(lambda: stop.requested):
                return False
        except EngineFailure:
            fruitless = 0 if sampler.progress.kept else fruitless + 1
            if fruitless > 1:
                raise
            restarts += 1
            log.exception("the engine died; starting it again to sample what is missing")
        finally:
            backend.close()
    discard_stale_partials(run)
    return True


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
