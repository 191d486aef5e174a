"""How fast an engine samples: as a run has measured it, or as it is assumed before."""

import math

from toolkit.config import Config, Sampling
from toolkit.launch.amounts import minutes_of
from toolkit.launch.progress import read_ledger
from toolkit.launch.sbatch_options import job_options
from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND, read_spent

ASSUMED_TOKENS = 130
"""Output tokens of a sample before any is known: the experiment's were 100 to 150."""
THINKING_TOKENS = 4000
"""The same where a sample may have more than `ALLOWED_TO_THINK`: reasoning models on MATH."""
ALLOWED_TO_THINK = 8192


def assumed_tokens(sampling: Sampling) -> int:
    """Output tokens of a sample of which nothing is known but its configuration."""
    if sampling.max_tokens > ALLOWED_TO_THINK:
        return THINKING_TOKENS
    return min(ASSUMED_TOKENS, sampling.max_tokens)


def assumed_seconds(sampling: Sampling) -> float:
    """The seconds that an engine takes for a sample of which nothing else is known."""
    return assumed_tokens(sampling) / ASSUMED_TOKENS_PER_SECOND


def measured_seconds(run: Run, config: Config) -> float | None:
    """The seconds that an engine has taken for a sample of this run; None if that is not known."""
    spent = read_spent(run)
    sampled = read_ledger(run).samples + sum(each.samples for each in list_partials(run))
    if not (spent.tokens and sampled):
        return None
    seconds = spent.sampling_seconds / sampled  # of one GPU, or of one task without a GPU
    return seconds / config.engine.tensor_parallel_size


def limit_minutes(config: Config) -> float:
    """The time limit of an array task that samples, in minutes; infinite for none."""
    return minutes_of(str(job_options(config, "sample")["time"])) or math.inf
