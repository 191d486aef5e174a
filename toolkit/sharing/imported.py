"""Samples that come with their answers, as the shards and maps of a new run."""

from collections.abc import Mapping, Sequence

import polars as pl

from toolkit.records import EngineFacts, Sample
from toolkit.runs.answers import ANSWER_SCHEMA, write_map
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import ShardFacts
from toolkit.stages.ingest import write_missing
from toolkit.stats.stopping import StoppingRule

SLICE_SAMPLES = 1000


def write_samples(
    run: Run,
    samples: Sequence[Sample],
    answers: Mapping[tuple[str, int], int | None],
    engine: EngineFacts,
    extraction: str,
    rule: StoppingRule | None = None,
) -> None:
    """Write the plan, the shards that are not there yet, and the map of each.

    answers: (task_id, seed) -> digest of the sample's answer; None if it holds none. extraction: by
    which they were taken. rule: by which sampling stopped.
    """
    facts = ShardFacts(engine=engine)
    write_missing(run, samples, facts, SLICE_SAMPLES, SLICE_SAMPLES, rule)
    for each in run.slices():
        rows = [(*key, answers[key]) for key in each.sample_keys()]
        frame = pl.DataFrame(rows, schema=ANSWER_SCHEMA, orient="row").sort("task_id", "seed")
        write_map(run, each.name, frame, extraction)
