"""How large should a slice be? The array of a preset, simulated before it is launched.

python analysis/simulate.py [--preset llama-8b-a100] [--preemptions 1] [--repeats 40]

Small slices lose little work when a task is preempted without a signal. Large ones are fewer files:
two a slice. The table has the wall time by slice size; below it stands the largest size within 1 %
of the least. The intervals are the middle 90 % of the repeats.

toolkit/planning/simulation.py has the model and the source of every constant. --lengths takes the
lengths of the completions of a run instead.

How fast is an engine? By default as fast as the experiment's, which told its tokens/s, or as
--tokens-per-second says. Of another card or model, the roof says it (docs/roof.md), times the share
of it that engines reach:

    --card H100 --shape-of MODEL/config.json     by the data sheet, at 65 % of the roof
    --like RUN                                   as the shards of a run tell, at its own share
"""

import dataclasses
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import _installed  # noqa: F401
import numpy as np
import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.models.shape import shape_of
from toolkit.passed_on import engine_arguments
from toolkit.planning.roof_engine import MEASURED_SHARE, RoofEngine
from toolkit.planning.simulation import (
    Cluster,
    Engine,
    EngineModel,
    Lengths,
    Outcome,
    draw_lengths,
    largest_within,
    sweep,
)
from toolkit.report.comparisons import draw_sizes
from toolkit.resolve import resolve
from toolkit.runs.roof import engine_of_run, read_roof
from toolkit.runs.run import open_run
from toolkit.runs.shards import SAMPLE_SCHEMA, scan_samples
from toolkit.runs.usage import ASSUMED_TOKENS_PER_SECOND
from toolkit.stages.task import load_task
from toolkit.stats.roofline import CARDS, Card, Shape, card_of

PRESETS = Path(__file__).resolve().parents[1] / "jobs" / "presets"
Draw = Callable[[np.random.Generator], Lengths]
SPEED = (
    "of one full engine, measured [as reported by the experiment at 256 sequences, carried over to "
    "the preset's batch]"
)
BANDWIDTH = 1.555e12
"""Of an A100-40GB."""
SIZES = (32, 64, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)


def main() -> int:
    """One row a slice size, and a figure."""
    flags = parse()
    path = PRESETS / f"{flags.preset}.toml"
    config = resolve({}, path if path.is_file() else Path(flags.preset))
    chosen = config.problem_set
    problems = load_task(
        chosen.task, chosen.problems, limit=chosen.limit, task_ids=chosen.task_ids
    ).problems
    ids, samples = [p.task_id for p in problems], config.quantity.samples
    draw = measured(flags.lengths, ids, samples) if flags.lengths else assumed(ids, config)
    cluster = Cluster(
        # The engines of one array task share its slices. Here each has its own, as in one task.
        tasks=config.resources.array * config.resources.engines_per_task,
        startup_seconds=flags.startup_seconds,
        speed_spread=flags.speed_spread,
        preemptions=flags.preemptions,
        requeue_seconds=flags.requeue_seconds,
        write_seconds=flags.write_seconds,
        usd_per_gpu_hour=flags.usd_per_gpu_hour,
    )
    sizes = [(n, min(n, flags.slice_seeds or config.quantity.slice_seeds)) for n in flags.sizes]
    engine = engine_of(config, flags, draw)
    outcomes = sweep(ids, samples, sizes, engine, cluster, draw, flags.repeats)
    table = pl.DataFrame([row(size, found) for size, found in outcomes.items()])
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=160,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        print(table)
    walls = {size: np.array([o.wall for o in found]) for size, found in outcomes.items()}
    best = largest_within(walls)
    print(f"slice_samples = {best}: the largest within 1 % of the least wall time")
    draw_sizes(table, best, flags.out)
    print(f"figure: {flags.out}.png, .svg, .pdf")
    return 0


def parse() -> Namespace:
    """The flags, checked."""
    parser = Parser(__doc__ or "")
    add = parser.add_argument
    add("--preset", default="llama-8b-a100", help="name or TOML file [llama-8b-a100]")
    add("--sizes", type=int, nargs="+", default=SIZES, help=f"slice_samples [{SIZES}]")
    add("--slice-seeds", type=int, help="most seeds of a problem in a slice [the preset's]")
    add("--lengths", type=Path, metavar="RUN", help="a run whose completions' lengths are drawn")
    add("--tokens-per-second", type=float, help=SPEED)
    add("--bandwidth", type=float, help=f"of GPU memory, bytes/s [{BANDWIDTH:g}]")
    add("--card", help="the roof's: a GPU's name, such as H100; with --shape-of")
    add("--shape-of", type=Path, metavar="PATH", help="the roof's: a model, or its config.json")
    add("--like", type=Path, metavar="RUN", help="the roof's card, model and share: as in this run")
    add("--share-of-roof", type=float, help=f"that is reached [--like's, else {MEASURED_SHARE}]")
    add("--startup-seconds", type=float, default=90.0, help="until an engine is up [90]")
    add("--speed-spread", type=float, default=0.02, help="sd of log speed of nodes [0.02]")
    add("--preemptions", type=int, default=1, help="tasks that are preempted once [1]")
    add("--requeue-seconds", type=float, default=60.0, help="until it runs again [60]")
    add("--write-seconds", type=float, default=0.1, help="of one shard [0.1]")
    add("--usd-per-gpu-hour", type=float, default=2.0, help="price [2.0]")
    add("--repeats", type=int, default=40, help="simulated arrays of each size [40]")
    add("--out", type=Path, default=Path("simulate"), help="figure, no suffix")
    flags = parser.parse_args()
    for name in ("sizes", "repeats"):
        if np.min(getattr(flags, name)) < 1:
            raise UsageError(f"--{name}: must be 1 or more")
    check_speed(flags)
    return flags


def check_speed(flags: Namespace) -> None:
    """Raise `UsageError` unless the flags tell the engine's speed in one way."""
    ways = [
        name
        for name, given in (
            ("--tokens-per-second, --bandwidth", flags.tokens_per_second or flags.bandwidth),
            ("--card, --shape-of", flags.card or flags.shape_of),
            ("--like", flags.like),
        )
        if given
    ]
    if len(ways) > 1:
        raise UsageError(f"{'; '.join(ways)}: each tells how fast an engine is; give one of them")
    if (flags.card is None) != (flags.shape_of is None):
        raise UsageError("--card and --shape-of: give both: a roof is of a model on a card")
    share = flags.share_of_roof
    if share is not None and not 0 < share <= 1:
        raise UsageError(f"--share-of-roof {share:g}: must be over 0, at most 1")
    if share is not None and not (flags.card or flags.like):
        raise UsageError("--share-of-roof: of which roof? Give --card and --shape-of, or --like")


def assumed(ids: list[str], config: Config) -> Draw:
    """Lengths of the module's distribution."""
    samples, most = config.quantity.samples, config.sampling.max_tokens
    return lambda rng: draw_lengths(ids, samples, rng, max_tokens=most)


def measured(path: Path, ids: list[str], samples: int) -> Draw:
    """Lengths drawn, with replacement, from a run's samples of the same problem."""
    files = sorted(open_run(path).samples_dir.glob("*.parquet"))
    shards = scan_samples(files).collect() if files else pl.DataFrame(schema=SAMPLE_SCHEMA)
    # Nobody knows the tokens of ingested samples.
    shards = shards.filter(pl.col("n_tokens").is_not_null())
    found = {t: np.array(n) for t, n in shards.group_by("task_id").agg("n_tokens").iter_rows()}
    if lacking := [task_id for task_id in ids if task_id not in found]:
        raise UsageError(f"{path}: has no samples of {lacking[0]}, which the preset samples")
    return lambda rng: {t: rng.choice(found[t], samples).astype(np.int64) for t in ids}


def engine_of(config: Config, flags: Namespace, draw: Draw) -> Engine:
    """The preset's engine: by its roof, by a measured speed, else what the experiment's implies."""
    lengths = np.concatenate(list(draw(np.random.default_rng(0)).values())).astype(float)
    batch, speed = config.engine.max_num_seqs, flags.tokens_per_second
    bandwidth = flags.bandwidth or BANDWIDTH
    if flags.card or flags.like:
        if config.engine.tensor_parallel_size > 1:
            raise UsageError(f"--preset {flags.preset}: the roof here is of one GPU for an engine")
        found = roof_of_run(flags.like) if flags.like else roof_of_card(config, flags)
        card, shape, share = found
        engine = RoofEngine(shape, card, batch, flags.share_of_roof or share)
        print(f"engine: {engine.line(lengths)}")
        return engine
    if speed:
        return EngineModel(batch, bandwidth).calibrated(speed, lengths)
    known = EngineModel().calibrated(ASSUMED_TOKENS_PER_SECOND, lengths)
    return dataclasses.replace(known, batch=batch, bandwidth=bandwidth)


def roof_of_card(config: Config, flags: Namespace) -> tuple[Card, Shape, float]:
    """The card that is named, the shape of a model by its config.json, and the usual share."""
    card = card_of(flags.card)
    if card is None:
        known = ", ".join(each.name for each in CARDS)
        raise UsageError(f"--card {flags.card}: not known; known: {known}")
    path = flags.shape_of / "config.json" if flags.shape_of.is_dir() else flags.shape_of
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--shape-of {path}: cannot be read: {error}") from None
    if not isinstance(model, dict):
        raise UsageError(f"--shape-of {path}: is no config.json of a model; name another file")
    asked = engine_arguments(config.engine)
    quantization = (model.get("quantization_config") or {}).get("quant_method", "")
    quantization, cache = asked.get("quantization", quantization), asked.get("kv_cache_dtype")
    shape = shape_of(model, config.engine.dtype, quantization, cache or "auto")
    if shape is None:
        raise UsageError(
            f"--shape-of {path}: its architecture or its number format has no roof here; give "
            "--tokens-per-second instead"
        )
    return card, shape, MEASURED_SHARE


def roof_of_run(path: Path) -> tuple[Card, Shape, float]:
    """Card and shape that a run's shards tell, and the share that it has reached."""
    run = open_run(path)
    engine, roof = engine_of_run(run), read_roof(run)
    if engine is None or roof is None:
        raise UsageError(
            f"--like {path}: its shards do not tell the card and the model's shape; give --card "
            "and --shape-of, or --tokens-per-second"
        )
    card, shape, gpus = engine
    if gpus > 1:
        raise UsageError(f"--like {path}: an engine had {gpus} GPUs; the roof here is of one")
    return card, shape, roof.share


def row(size: int, outcomes: list[Outcome]) -> dict[str, int | float]:
    """Means over the repeats, and the wall time's interval."""
    low, high = np.percentile([o.wall for o in outcomes], [5, 95])
    mean = {
        name: float(np.mean([getattr(o, name) for o in outcomes]))
        for name in ("wall", "idle_share", "lost_seconds", "usd")
    }
    return {
        "slice_samples": size,
        "files": 2 * len(outcomes[0].done),
        "wall_s": round(mean["wall"], 1),
        "wall_lo": round(float(low), 1),
        "wall_hi": round(float(high), 1),
        "idle_share": round(mean["idle_share"], 3),
        "lost_gpu_s": round(mean["lost_seconds"], 1),
        "usd": round(mean["usd"], 3),
    }


if __name__ == "__main__":
    run_job(main)
