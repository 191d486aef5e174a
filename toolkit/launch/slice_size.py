"""How many samples a slice has, where nobody says."""

from toolkit.config import Config
from toolkit.launch.speed import assumed_seconds, limit_minutes, measured_seconds
from toolkit.runs.run import Run
from toolkit.runs.slices import USUAL_SIZE

MOST_SLICES = 10_000
"""A round of more slices gets larger ones. Each slice is a file in two directories."""
SLICES_AN_ENGINE = 8
"""Larger slices leave at least so many to each engine, so that the last ones are a small part."""
SHARE_OF_LIMIT = 0.25
"""A larger slice takes at most this share of the time limit of an array task."""


def slice_size(config: Config, new: int, run: Run | None) -> int:
    """Samples in a slice of a round of `new` samples.

    It is `--slice-samples` if that was given. Else it is 2,048, and more only if the round would
    have over 10,000 slices of it. run: tells the speed of an engine, if it has samples; None for a
    new run, whose speed is assumed.
    """
    quantity, resources = config.quantity, config.resources
    if quantity.slice_samples:
        return quantity.slice_samples
    if new <= MOST_SLICES * USUAL_SIZE:
        return USUAL_SIZE
    seconds = (measured_seconds(run, config) if run else None) or assumed_seconds(config.sampling)
    engines = resources.array * resources.engines_per_task
    # A multiple of the seeds in a row, so that few of those rows are cut.
    wanted = -(-new // MOST_SLICES // quantity.slice_seeds) * quantity.slice_seeds
    most = min(
        60 * limit_minutes(config) * SHARE_OF_LIMIT / seconds, new / (SLICES_AN_ENGINE * engines)
    )
    return max(USUAL_SIZE, int(min(wanted, most)))
