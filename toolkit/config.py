"""Every knob, written once: frozen dataclasses whose fields carry default and help.

Values come from, in rising order: the field's default, the site's file, a preset (TOML, one table
for each section), the command line (flags are generated from the fields). An unknown key or flag
is a `UsageError` that names the valid ones.

`Sampling` and `ProblemSet` say *what* is computed: they are a run's identity (see
`toolkit.runs.run`). The other sections say where and how it runs, and may change between launches.
"""

import argparse
import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from toolkit.errors import UsageError


def knob(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A dataclass field with its help text, and its valid values where they are a closed list."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is sampled: identity."""

    backend: str = knob(
        "vllm",
        "what completes the prompts: vllm in-process; openai = a server by --base-url; "
        "synthetic = a known law, no model; replay = the completions of --replay-file in order",
        choices=("vllm", "openai", "synthetic", "replay"),
    )
    model: str = knob(
        "", "hub name or local directory; none: the embedded SmolLM2-135M-Instruct on a CPU"
    )
    revision: str = knob("", "revision of a hub model (branch, tag or commit)")
    prompt_style: str = knob(
        "chat",
        "chat: the model's chat template; completion: the raw prompt",
        choices=("chat", "completion"),
    )
    temperature: float = knob(0.7, "sampling temperature")
    top_p: float = knob(0.9, "nucleus sampling: smallest set of tokens with this probability")
    max_tokens: int = knob(1024, "longest completion, in tokens")
    stop: tuple[str, ...] | None = knob(
        None, "stop strings; none given: no stop for chat, the field's usual ones for completion"
    )
    base_seed: int = knob(0, "sample s of a problem is drawn with seed base_seed + s")
    synthetic_a: float = knob(0.29, "synthetic: p(problem) ~ Beta(a, b)")
    synthetic_b: float = knob(0.17, "synthetic: p(problem) ~ Beta(a, b)")


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Which problems: identity, through the digest of what they contain."""

    problems: str = knob("humaneval", "humaneval, or a JSONL(.gz) file with HumanEval's fields")
    limit: int | None = knob(None, "only the first so many problems")
    task_ids: tuple[str, ...] | None = knob(None, "only these problems")
    chosen: bool = knob(False, "the subset was picked to show something; the report says so")


@dataclass(frozen=True, slots=True)
class Quantity:
    """How much: may grow from launch to launch."""

    samples: int = knob(100, "samples of every problem (n)")
    slice_samples: int = knob(2048, "samples in a slice, the unit of work and of a shard")
    slice_seeds: int = knob(128, "most consecutive seeds of one problem in a slice")


@dataclass(frozen=True, slots=True)
class Stopping:
    """Adaptive sampling: rounds, each of the problems that have too few passes."""

    adaptive: bool = knob(False, "sample in rounds; the stop flags take the place of --samples")
    stop_r: int = knob(5, "a problem is finished when it has so many passes")
    stop_min: int = knob(50, "samples that every problem gets")
    stop_cap: int = knob(1000, "most samples of a problem; may be raised later")
    stop_batch: int = knob(
        0, "samples that a round adds to an open problem; 0: half as many again as it has"
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """How the model is run."""

    dtype: str = knob("auto", "weights and activations: auto, bfloat16, float16, float32")
    max_model_len: int = knob(2048, "longest prompt plus completion, in tokens")
    max_num_seqs: int = knob(256, "sequences decoded together")
    max_num_batched_tokens: int | None = knob(
        None, "tokens of prefill and decoding in one step; none given: the engine's own choice"
    )
    gpu_memory_utilization: float = knob(0.90, "share of the GPU's memory for the engine")
    tensor_parallel_size: int = knob(1, "GPUs that share one model")
    stage_model: str = knob(
        "",
        "vllm: copy the model to the node's own disk first, once for all tasks there: auto = under "
        "$SLURM_TMPDIR, else $TMPDIR, else /tmp; or a directory",
    )
    cpu_kv_cache_gib: int = knob(2, "KV cache of the CPU engine, in GiB")
    base_url: str = knob("http://127.0.0.1:8000/v1", "openai: the server's address")
    replay_file: str = knob("", "replay: JSONL(.gz) of {task_id, completion}")
    synthetic_rate: float = knob(0.0, "synthetic: samples a second (0: as fast as it goes)")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How answers are judged, and by how many processes."""

    timeout: float | None = knob(
        None,
        "seconds of its own time that an answer may use; none given: the run's limit, at first 3",
    )
    workers: int | None = knob(None, "answers judged at once; none given: the task's cores")
    isolation: Literal["strongest", "limits-only"] = knob(
        "strongest",
        "strongest: refuse below the minimum; limits-only: resource limits are enough",
        choices=("strongest", "limits-only"),
    )


@dataclass(frozen=True, slots=True)
class Resources:
    """Where it runs."""

    launcher: str = knob(
        "auto",
        "auto: slurm where a cluster answers, else local; local: processes of this machine; "
        "inline: in this process",
        choices=("auto", "slurm", "local", "inline"),
    )
    array: int = knob(1, "sampling tasks, one engine each")
    eval_array: int = knob(1, "evaluation tasks")
    partition: str | None = knob(None, "Slurm partition of the sampling tasks")
    cpu_partition: str | None = knob(None, "Slurm partition of evaluation and fit")
    account: str | None = knob(None, "Slurm account")
    qos: str | None = knob(None, "Slurm quality of service")
    constraint: str | None = knob(None, "Slurm node features")
    gres: str | None = knob("gpu:1", "Slurm generic resources of a sampling task ('' for none)")
    cpus: int = knob(8, "cores of a sampling task")
    mem_gib: int = knob(48, "memory of a sampling task, in GiB")
    minutes: int = knob(120, "time limit of a sampling task, in minutes")
    eval_cpus: int = knob(16, "cores of an evaluation task")
    eval_mem_gib: int = knob(32, "memory of an evaluation task, in GiB")
    eval_minutes: int = knob(120, "time limit of an evaluation task, in minutes")
    max_parallel: int | None = knob(None, "most sampling tasks that run at once")
    max_requeues: int = knob(10, "times a timed-out or preempted task is put back in the queue")
    setup: tuple[str, ...] | None = knob(
        None, "shell lines before the task, such as 'module load cuda'"
    )
    slurm: tuple[str, ...] | None = knob(None, "further sbatch parameters as key=value")


@dataclass(frozen=True, slots=True)
class Config:
    """One launch's configuration; the field names are the tables of a preset."""

    sampling: Sampling = Sampling()
    problem_set: ProblemSet = ProblemSet()
    quantity: Quantity = Quantity()
    stopping: Stopping = Stopping()
    engine: Engine = Engine()
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()


SECTIONS: dict[str, type] = {
    f.name: f.type for f in dataclasses.fields(Config) if isinstance(f.type, type)
}


SITE_SECTIONS = ("engine", "evaluation", "resources")

ALIASES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "minutes": ("--time", int),
    "gres": ("--gpus", lambda count: f"gpu:{int(count)}"),
    "mem_gib": ("--mem", lambda size: int(size.removesuffix("G"))),
}
"""Slurm's own names of some flags: field -> flag and how its value is read."""


def add_flags(parser: argparse.ArgumentParser, *sections: str) -> None:
    """Add a flag for every field of the named sections (of all, when none is named).

    A flag that is not given leaves no trace in the parsed namespace, so that `resolve` can
    tell it from one given with its default.
    """
    for name in sections or tuple(SECTIONS):
        group = parser.add_argument_group(name.replace("_", " "), SECTIONS[name].__doc__)
        for field in dataclasses.fields(SECTIONS[name]):
            kind, many = _scalar(field.type)
            shown = "" if field.default in (None, "") else f" [{field.default}]"
            kwargs: dict[str, Any] = {
                "help": (field.metadata["help"] + shown).replace("%", "%%"),
                "default": argparse.SUPPRESS,
                "dest": field.name,
            }
            if kind is bool:
                kwargs["action"] = argparse.BooleanOptionalAction
            else:
                kwargs["metavar"] = kind.__name__.upper().replace("STR", "TEXT")
                kwargs["type"] = kind
                kwargs["choices"] = field.metadata["choices"]
                if field.metadata["choices"]:
                    del kwargs["metavar"]
                if many:
                    kwargs["nargs"] = "*" if field.name == "stop" else "+"
            group.add_argument("--" + field.name.replace("_", "-"), **kwargs)
            if field.name in ALIASES:
                flag, read = ALIASES[field.name]
                text = f"as --{field.name.replace('_', '-')}, in sbatch's words"
                group.add_argument(
                    flag,
                    type=read,
                    dest=field.name,
                    metavar="VALUE",
                    default=argparse.SUPPRESS,
                    help=text,
                )


def site_file() -> Path:
    """Where a user keeps what is true of their cluster: partition, account, set-up lines ..."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "inference-scaling" / "site.toml"


def read_site(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a site file, none where it does not exist.

    Only what says where and how it runs: a site must not change what is computed.
    """
    if not path.is_file():
        return {}
    tables = read_preset(path)
    for name in tables.keys() - set(SITE_SECTIONS):
        raise UsageError(f"{path}: [{name}] is not a site's; valid: {', '.join(SITE_SECTIONS)}")
    return tables


def resolve(
    flags: Mapping[str, Any],
    preset: Path | None = None,
    base: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Defaults < `base` (tables of a site file or of a run) < preset < flags, checked.

    `flags` may hold other names; they are left alone.
    """
    sections = {name: dict[str, Any]() for name in SECTIONS}
    for name, values in (base or {}).items():
        if name in SECTIONS:
            known = {f.name for f in dataclasses.fields(SECTIONS[name])}
            sections[name].update({k: _tupled(v) for k, v in values.items() if k in known})
    if preset is not None:
        for name, table in read_preset(preset).items():
            sections[name].update(table)
    for name, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            if field.name in flags:
                sections[name][field.name] = _tupled(flags[field.name])
    config = Config(**{name: SECTIONS[name](**values) for name, values in sections.items()})
    validate(config)
    return config


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_preset(path: Path) -> dict[str, dict[str, Any]]:
    """A preset's tables, with unknown tables, unknown keys and wrong types refused."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"preset {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"preset {path}: not TOML: {error}") from None
    tables: dict[str, dict[str, Any]] = {}
    for name, table in raw.items():
        if name not in SECTIONS or not isinstance(table, dict):
            raise UsageError(f"preset {path}: unknown table [{name}]; valid: {', '.join(SECTIONS)}")
        tables[name] = _checked_table(table, name, path)
    return tables


def _checked_table(table: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(SECTIONS[name])}
    checked: dict[str, Any] = {}
    for key, value in table.items():
        where = f"preset {path}: [{name}] {key}"
        if key not in fields:
            raise UsageError(f"{where}: unknown key; valid: {', '.join(sorted(fields))}")
        kind, many = _scalar(fields[key].type)
        if kind is float and type(value) is int:
            value = float(value)
        values = value if many and isinstance(value, list) else [value]
        if many is not isinstance(value, list) or any(type(v) is not kind for v in values):
            wanted = f"a list of {kind.__name__}" if many else kind.__name__
            raise UsageError(f"{where} = {value!r}: expected {wanted}")
        checked[key] = tuple(value) if many else value
    return checked


def validate(config: Config) -> None:
    """Refuse values that no launch could use, naming the flag."""
    for section in SECTIONS:
        values = getattr(config, section)
        for field in dataclasses.fields(values):
            choices, value = field.metadata["choices"], getattr(values, field.name)
            if choices and value not in choices:
                _refuse(field.name, value, f"one of {', '.join(choices)}")
    s, q, e, r = config.sampling, config.quantity, config.engine, config.resources
    stop = config.stopping
    checks: list[tuple[str, Any, bool, str]] = [
        ("temperature", s.temperature, 0 <= s.temperature < 10, "0 or more"),
        ("top_p", s.top_p, 0 < s.top_p <= 1, "in (0, 1]"),
        ("max_tokens", s.max_tokens, s.max_tokens >= 1, "1 or more"),
        ("base_seed", s.base_seed, 0 <= s.base_seed < 2**62, "0 or more, under 2^62"),
        ("synthetic_a", s.synthetic_a, s.synthetic_a > 0, "over 0"),
        ("synthetic_b", s.synthetic_b, s.synthetic_b > 0, "over 0"),
        ("samples", q.samples, 1 <= q.samples < 2**32, "1 or more"),
        ("slice_samples", q.slice_samples, q.slice_samples >= 1, "1 or more"),
        ("slice_seeds", q.slice_seeds, q.slice_seeds >= 1, "1 or more"),
        ("stop_r", stop.stop_r, stop.stop_r >= 1, "1 or more"),
        ("stop_min", stop.stop_min, stop.stop_min >= 1, "1 or more"),
        ("stop_cap", stop.stop_cap, stop.stop_min <= stop.stop_cap < 2**32, "at least --stop-min"),
        ("stop_batch", stop.stop_batch, stop.stop_batch >= 0, "0 or more"),
        ("max_model_len", e.max_model_len, e.max_model_len > s.max_tokens, "over --max-tokens"),
        ("max_num_seqs", e.max_num_seqs, e.max_num_seqs >= 1, "1 or more"),
        (
            "gpu_memory_utilization",
            e.gpu_memory_utilization,
            0 < e.gpu_memory_utilization <= 1,
            "in (0, 1]",
        ),
        ("synthetic_rate", e.synthetic_rate, e.synthetic_rate >= 0, "0 or more"),
        ("array", r.array, r.array >= 1, "1 or more"),
        ("eval_array", r.eval_array, r.eval_array >= 1, "1 or more"),
        ("minutes", r.minutes, r.minutes >= 1, "1 or more"),
        *(
            (name, value, value is None or value >= 1, "1 or more")
            for name, value in (
                ("limit", config.problem_set.limit),
                ("workers", config.evaluation.workers),
                ("max_parallel", r.max_parallel),
                ("max_num_batched_tokens", e.max_num_batched_tokens),
            )
        ),
        ("timeout", (limit := config.evaluation.timeout), limit is None or limit > 0, "over 0"),
    ]
    for name, value, holds, wanted in checks:
        if not holds:
            _refuse(name, value, wanted)


def describe_config(config: Config) -> dict[str, Any]:
    """The whole configuration as JSON-able values, for the manifest."""
    return dataclasses.asdict(config)


def _refuse(name: str, value: Any, wanted: str) -> None:
    raise UsageError(f"--{name.replace('_', '-')} {value}: must be {wanted}")


def _scalar(annotation: Any) -> tuple[type, bool]:
    """The scalar type of a field, and whether the field holds a tuple of it."""
    if isinstance(annotation, UnionType):
        (annotation,) = (a for a in get_args(annotation) if a is not NoneType)
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    if get_origin(annotation) is Literal:
        return str, False
    return annotation, False
