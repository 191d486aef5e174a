"""The number format of a run's model: that of its first samples, for every later launch.

It changes what is drawn, but the digest of a run does not hold it: a launch may leave it to vLLM,
which looks at the model and the device. Each shard says what the engine took. So a run has the
format of its first shard, whether its launch named one or not.
"""

from dataclasses import replace

from toolkit.config import Config
from toolkit.errors import CorruptShard, RunMismatch
from toolkit.runs.partials import list_partials
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import read_facts

SAME = {"half": "float16", "float": "float32"}
"""Other names of a format, as vLLM takes them."""


def dtype_of_run(run: Run) -> str | None:
    """The format that the manifest records, else that of the first samples. None: not known yet."""
    recorded: str | None = run.manifest().get("dtype")
    return recorded or _of_samples(run)


def _of_samples(run: Run) -> str | None:
    done = run.done()
    for name in (s.name for s in run.slices() if s.name in done):
        try:
            found = read_facts(run.shard_path(name)).engine.dtype
        except CorruptShard:  # the launch names it
            continue
        if found:
            return found
    found_in = (partial.facts.engine.dtype for partial in list_partials(run))
    return next((found for found in found_in if found), None)


def with_dtype(config: Config, run: Run) -> Config:
    """The configuration with the run's format, where it names none.

    Unchanged for other backends than vLLM, and while the run has no samples. Raises `RunMismatch`
    if it names another format than the run's.
    """
    asked = config.engine.dtype
    known = dtype_of_run(run) if config.sampling.backend == "vllm" else None
    if known is None:
        return config
    if asked == "auto":
        return replace(config, engine=replace(config.engine, dtype=known))
    if SAME.get(asked, asked) != known:
        raise RunMismatch(
            f"{run.path}: was made with another configuration: dtype (run: {known!r}, launch: "
            f"{asked!r}); launch with --dtype {known}, or with a new directory as --run"
        )
    return config


def record_dtype(run: Run) -> None:
    """Write the format into the manifest, once samples tell it. Only launches may do so."""
    if not run.manifest().get("dtype") and (found := _of_samples(run)):
        run.update_manifest({"dtype": found})
