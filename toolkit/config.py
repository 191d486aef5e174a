"""The configuration: frozen dataclasses, whose fields carry their defaults and help texts.

`Sampling` and `ProblemSet` say *what* is computed. They are the identity of a run (see
`toolkit.launch.identity`). The other sections say where and how it is computed. They may change
from launch to launch. Where the values come from: `toolkit.resolve`.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from toolkit.errors import UsageError

LOGPROB_BACKENDS = ("vllm", "openai")
"""The backends that tell the probabilities of the tokens that they draw."""


OWN_FLAGS = {
    **{
        name: f"give --{name.replace('_', '-')} itself"
        for name in (
            "revision",
            "dtype",
            "max_model_len",
            "max_num_seqs",
            "max_num_batched_tokens",
            "gpu_memory_utilization",
            "tensor_parallel_size",
        )
    },
    "model": "give --model itself",
    "seed": "each sample has a seed from --base-seed; with --no-seeded each engine draws its own",
    "speculative_config": "give --speculation",
    "logprobs_mode": "give --store-logprob, which needs the default",
    "hf_token": "set HF_TOKEN in the environment; a run records its arguments",
}
"""Arguments of vLLM's engine that are set in another way: which."""
CHANGE_SAMPLES = (
    "calculate_kv_scales",
    "code_revision",
    "config_format",
    "default_mm_loras",
    "disable_sliding_window",
    "enable_mamba_cache_stochastic_rounding",
    "enable_trace_replay",
    "hf_config_path",
    "hf_overrides",
    "kv_cache_dtype",
    "kv_cache_dtype_skip_layers",
    "load_format",
    "logits_processors",
    "mamba_cache_dtype",
    "mamba_ssm_cache_dtype",
    "model_class_overrides",
    "model_weights",
    "override_attention_dtype",
    "quantization",
    "quantization_config",
    "swa_bounded_replay",
    "tokenizer",
    "tokenizer_mode",
    "tokenizer_revision",
    "watermark_config",
)
"""Arguments of vLLM's engine, of any version, that change what is drawn: a run's identity."""


def knob(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A dataclass field with a help text. `choices` are the valid values of a closed list."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is sampled. Another value makes another run."""

    backend: str = knob(
        "vllm",
        "what completes the prompts. vllm: vLLM on this node. openai: the server at "
        "--base-url. synthetic: no model, each problem has a known probability of passing. "
        "replay: the completions in --replay-file, in order",
        choices=("vllm", "openai", "synthetic", "replay"),
    )
    model: str = knob(
        "",
        "Hugging Face name (ORGANISATION/NAME) or local directory. Not given: the embedded "
        "SmolLM2-135M-Instruct, on a CPU",
    )
    revision: str = knob("", "branch, tag or commit of a Hugging Face model")
    prompt_style: str = knob(
        "chat",
        "chat: ask with the model's chat template. completion: let the model continue the prompt",
        choices=("chat", "completion"),
    )
    temperature: float = knob(0.7, "sampling temperature")
    top_p: float = knob(
        0.9, "nucleus sampling: draw from the fewest tokens that have this probability together"
    )
    max_tokens: int = knob(1024, "maximum length of a completion, in tokens")
    stop: tuple[str, ...] | None = knob(
        None,
        "strings that end a completion; --stop without a string: none. Not given: none for chat, "
        "the usual ones of the kind of problem for completion",
    )
    chat_arg: tuple[str, ...] | None = knob(
        None,
        "an argument of the model's chat template, as key=value, such as enable_thinking=true",
    )
    base_seed: int = knob(0, "sample s of a problem is drawn with the random seed base_seed + s")
    synthetic_a: float = knob(
        0.29, "synthetic: a of Beta(a, b), from which a problem's probability of passing is drawn"
    )
    synthetic_b: float = knob(0.17, "synthetic: b of that Beta(a, b)")


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Which problems are sampled. Other problems, or changed ones, make another run."""

    task: str = knob(
        "humaneval",
        "what is asked and how it is judged: a built-in task (a wrong name lists them), or your "
        "own TOML file (docs/tasks.md)",
    )
    problems: str = knob(
        "",
        "the task's data, in the form in which they are published; for humaneval a JSONL or "
        "JSONL.gz file with its fields. Not given: those of the task",
    )
    limit: int | None = knob(None, "use only this many problems, from the first one on")
    task_ids: tuple[str, ...] | None = knob(None, "use only the problems with these task_ids")
    chosen: bool = knob(
        False, "the problems were picked by hand, to show something; the report says so"
    )


@dataclass(frozen=True, slots=True)
class Quantity:
    """How many samples. A later launch may ask for more."""

    samples: int = knob(100, "samples of each problem (n)")
    slice_samples: int = knob(
        0,
        "samples in a slice. A slice is the unit of work; its samples become one file. 0: 2048, or "
        "more in a round of over 20 million samples",
    )
    slice_seeds: int = knob(128, "maximum number of samples of one problem in a row in a slice")


@dataclass(frozen=True, slots=True)
class Stopping:
    """Adaptive sampling: in rounds, each for the problems that still have too few passes."""

    adaptive: bool = knob(
        False, "sample in rounds; --stop-r, --stop-min and --stop-cap replace --samples"
    )
    stop_r: int = knob(5, "a problem is finished when it has this many passes")
    stop_min: int = knob(50, "minimum number of samples of each problem")
    stop_cap: int = knob(1000, "maximum number of samples of a problem; it may be raised later")
    stop_batch: int = knob(
        0, "samples that a round adds to an unfinished problem. 0: half of those it has"
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """How the model is run."""

    dtype: str = knob(
        "auto", "number format of weights and activations: auto, bfloat16, float16 or float32"
    )
    max_model_len: int = knob(2048, "maximum length of prompt and completion together, in tokens")
    max_num_seqs: int = knob(
        256, "maximum number of samples in work at the same time; vllm: sequences in the batch"
    )
    max_num_batched_tokens: int | None = knob(
        None, "vllm: maximum number of tokens in one engine step. Not given: vLLM chooses"
    )
    gpu_memory_utilization: float = knob(
        0.90, "share of the GPU's memory that the engine may use, up to 1"
    )
    tensor_parallel_size: int = knob(1, "number of GPUs that hold one model together")
    engine_arg: tuple[str, ...] | None = knob(
        None,
        "vllm: a further argument of its engine, as key=value, such as kv_cache_dtype=fp8; "
        "[engine.args] in a preset. Those that change what is drawn are part of the run's identity",
    )
    speculation: str = knob(
        "off",
        "vllm: guess several tokens at once, from text that is there already, and keep those that "
        "the model would have drawn. The distribution stays. ngram: from the sample itself. "
        "suffix: from all samples; needs arctic-inference",
        choices=("off", "ngram", "suffix"),
    )
    seeded: bool = knob(
        True,
        "vllm: give each sample a random seed of its own, so that it can be drawn again. "
        "--no-seeded: leave the seeds to the engine, which starts with a fresh one; faster on a "
        "GPU where --top-p is under 1",
    )
    share_prefixes: bool = knob(
        False,
        "vllm: compute the tokens that samples of a problem have in common once. The distribution "
        "stays. One GPU an engine; larger --slice-seeds share more",
    )
    stage_model: str = knob(
        "",
        "vllm: first copy the model to the node's own disk, once for all array tasks there. auto: "
        "under $SLURM_TMPDIR, else $TMPDIR, else /tmp. Or the name of a directory",
    )
    startup_limit: float = knob(
        3600.0, "vllm: how long an engine may take to start, staging included, in seconds"
    )
    step_limit: float = knob(
        300.0,
        "vllm: an engine that is busy, but makes no step for so many seconds, is started again; a "
        "dead, stopped or silent one is started again sooner",
    )
    cpu_kv_cache_gib: int = knob(2, "size of the CPU engine's KV cache, in GiB")
    opens_thought: bool = knob(
        False,
        "openai: the server's chat template ends with <think>, so that a completion without "
        "</think> holds no answer. vllm looks at the template itself",
    )
    base_url: str = knob(
        "http://127.0.0.1:8000/v1",
        "openai: URL of the server. A key that it needs is read from OPENAI_API_KEY",
    )
    max_parallel_requests: int | None = knob(
        None,
        "openai: maximum number of requests at the same time, of each array task. Not given: "
        "--max-num-seqs",
    )
    usd_per_million_input_tokens: float | None = knob(
        None, "openai: price of prompts, in dollars, for status, report and frontier"
    )
    usd_per_million_output_tokens: float | None = knob(
        None, "openai: price of completions, in dollars, for status, report and frontier"
    )
    store_logprob: bool = knob(
        False,
        "vllm, openai: store the mean log-probability of each sample's tokens, by which "
        "analysis/selection.py --score logprob chooses; the samples are the same",
    )
    replay_file: str = knob("", "replay: a JSONL or JSONL.gz file of {task_id, completion}")
    synthetic_rate: float = knob(0.0, "synthetic: samples per second. 0: as fast as possible")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How answers are judged, and by how many processes."""

    timeout: float | None = knob(
        None,
        "time limit of an answer, in seconds; CPU time and time asleep count. Not given: the "
        "run's limit, which is 3 for a new run",
    )
    libraries: str | None = knob(
        None,
        "which libraries a program can import beside the standard library: names with commas "
        "between, or none. Not given: the run's libraries, which are numpy for a new run",
    )
    workers: int | None = knob(
        None, "number of answers judged at the same time. Not given: the number of available cores"
    )
    isolation: Literal["strongest", "weak", "limits-only"] = knob(
        "strongest",
        "how executed programs are confined, with all that the node offers. strongest: refuse to "
        "run below a minimum. weak: run whatever is missing. limits-only: old name of weak",
        choices=("strongest", "weak", "limits-only"),
    )


@dataclass(frozen=True, slots=True)
class Fit:
    """How counts are fitted."""

    replicates: int = knob(
        1000, "number of bootstrap replicates, from which the intervals come; 100 or more"
    )
    browse: bool = knob(
        True, "write results/browse.html, a page of all samples, if they are at most 200,000"
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend, all its launches together; then slices in hand are finished only."""

    max_usd: float | None = knob(
        None, "dollars of GPU time, at --usd-per-gpu-hour; of a hosted model, of its tokens"
    )
    max_gpu_hours: float | None = knob(
        None, "GPU-hours of sampling, the start of engines included; without a GPU: task-hours"
    )
    max_output_tokens: int | None = knob(None, "tokens of all completions together")
    usd_per_gpu_hour: float = knob(2.0, "price of a GPU-hour for --max-usd, in dollars")


@dataclass(frozen=True, slots=True)
class Resources:
    """Where the work runs, and with what."""

    launcher: str = knob(
        "auto",
        "slurm: jobs on the cluster. local: processes on this machine. inline: in this process. "
        "auto: where the run was launched last; else slurm on a machine of a cluster, else local",
        choices=("auto", "slurm", "local", "inline"),
    )
    array: int = knob(
        1, "number of array tasks that sample; each starts --engines-per-task engines"
    )
    engines_per_task: int = knob(
        1,
        "number of engines in an array task that samples, as on a node with several GPUs. Each has "
        "--tensor-parallel-size GPUs of its own; they share the task's slices",
    )
    eval_array: int = knob(1, "number of array tasks that evaluate")
    evaluate_alongside: bool = knob(
        False,
        "judge finished shards while others are sampled, in jobs beside the sampling array; the "
        "evaluation after it judges what is left. Not with the launcher inline",
    )
    partition: str | None = knob(None, "Slurm partition for sampling")
    cpu_partition: str | None = knob(None, "Slurm partition for evaluation and fit")
    account: str | None = knob(None, "Slurm account")
    qos: str | None = knob(None, "Slurm quality of service for sampling")
    cpu_qos: str | None = knob(None, "Slurm quality of service for evaluation and fit")
    constraint: str | None = knob(None, "Slurm node features for sampling")
    gres: str | None = knob(
        None,
        "Slurm generic resources of an array task that samples, such as gpu:a100:1; '' for none. "
        "Not given: as many GPUs as --engines-per-task times --tensor-parallel-size",
    )
    cpus: int = knob(8, "cores of an array task that samples")
    mem: str = knob(
        "48G", "memory of an array task that samples, as sbatch takes it: 48G, 48000 (MB), 0 (all)"
    )
    time: str = knob(
        "2:00:00",
        "time limit of an array task that samples, as sbatch takes it: 90 (minutes), 1:30:00, "
        "2-12 (days-hours), UNLIMITED",
    )
    eval_cpus: int = knob(16, "cores of an array task that evaluates")
    eval_mem: str = knob("32G", "memory of an array task that evaluates")
    eval_time: str = knob("2:00:00", "time limit of an array task that evaluates")
    max_parallel: int | None = knob(
        None, "maximum number of array tasks that sample at the same time"
    )
    max_requeues: int = knob(
        10, "how often an array task goes back to the queue, when preempted or out of time"
    )
    setup: tuple[str, ...] | None = knob(
        None,
        "shell lines to run before each array task, such as 'module load cuda'; one that fails "
        "ends the job",
    )
    slurm: tuple[str, ...] | None = knob(
        None,
        "further options of sbatch, as key=value, or key alone. With sample., evaluate. or fit. "
        "before the key: of that stage only. The job that plans a next round follows fit.; next. "
        "is for it alone. Evaluation alongside follows evaluate.; alongside. is for it alone",
    )
    container: str = knob(
        "",
        "a container for sampling: the command before Python, such as 'apptainer exec --nv "
        "vllm.sif', or srun's arguments of pyxis, such as '--container-image=vllm.sqsh'",
    )
    cpu_container: str = knob("", "a container for evaluation and fit, written in the same way")
    container_python: str = knob("python3", "Python inside a container")


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one launch. Its field names are the tables of a preset."""

    sampling: Sampling = Sampling()
    problem_set: ProblemSet = ProblemSet()
    quantity: Quantity = Quantity()
    stopping: Stopping = Stopping()
    engine: Engine = Engine()
    evaluation: Evaluation = Evaluation()
    fit: Fit = Fit()
    resources: Resources = Resources()
    budget: Budget = Budget()


SECTIONS: dict[str, type] = {
    f.name: f.type for f in dataclasses.fields(Config) if isinstance(f.type, type)
}


def validate(config: Config) -> None:
    """Raise `UsageError`, naming the flag, for a value that no launch could use."""
    for section in SECTIONS:
        values = getattr(config, section)
        for field in dataclasses.fields(values):
            choices, value = field.metadata["choices"], getattr(values, field.name)
            if choices and value not in choices:
                _refuse(field.name, value, f"one of {', '.join(choices)}")
    s, q, e, r = config.sampling, config.quantity, config.engine, config.resources
    stop = config.stopping
    checks: list[tuple[str, Any, bool, str]] = [
        ("temperature", s.temperature, 0 <= s.temperature < 10, "0 or more, under 10"),
        ("top_p", s.top_p, 0 < s.top_p <= 1, "over 0, at most 1"),
        ("max_tokens", s.max_tokens, s.max_tokens >= 1, "1 or more"),
        ("base_seed", s.base_seed, 0 <= s.base_seed < 2**62, "0 or more, under 2^62"),
        ("synthetic_a", s.synthetic_a, s.synthetic_a > 0, "over 0"),
        ("synthetic_b", s.synthetic_b, s.synthetic_b > 0, "over 0"),
        ("samples", q.samples, 1 <= q.samples < 2**32, "1 or more, under 2^32"),
        ("slice_samples", q.slice_samples, q.slice_samples >= 0, "0 or more"),
        ("slice_seeds", q.slice_seeds, q.slice_seeds >= 1, "1 or more"),
        ("stop_r", stop.stop_r, stop.stop_r >= 1, "1 or more"),
        ("stop_min", stop.stop_min, stop.stop_min >= 1, "1 or more"),
        (
            "stop_cap",
            stop.stop_cap,
            stop.stop_min <= stop.stop_cap < 2**32,
            "at least --stop-min, under 2^32",
        ),
        ("stop_batch", stop.stop_batch, stop.stop_batch >= 0, "0 or more"),
        ("max_model_len", e.max_model_len, e.max_model_len > s.max_tokens, "over --max-tokens"),
        ("max_num_seqs", e.max_num_seqs, e.max_num_seqs >= 1, "1 or more"),
        (
            "gpu_memory_utilization",
            e.gpu_memory_utilization,
            0 < e.gpu_memory_utilization <= 1,
            "over 0, at most 1",
        ),
        ("synthetic_rate", e.synthetic_rate, e.synthetic_rate >= 0, "0 or more"),
        ("array", r.array, r.array >= 1, "1 or more"),
        ("engines_per_task", r.engines_per_task, r.engines_per_task >= 1, "1 or more"),
        ("eval_array", r.eval_array, r.eval_array >= 1, "1 or more"),
        ("replicates", config.fit.replicates, config.fit.replicates >= 100, "100 or more"),
        *(
            (name, value, value is None or value >= 1, "1 or more")
            for name, value in (
                ("limit", config.problem_set.limit),
                ("workers", config.evaluation.workers),
                ("max_parallel", r.max_parallel),
                ("max_num_batched_tokens", e.max_num_batched_tokens),
                ("max_parallel_requests", e.max_parallel_requests),
            )
        ),
        *(
            (name, price, price is None or price >= 0, "0 or more")
            for name in ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
            for price in (getattr(e, name),)
        ),
        ("timeout", (limit := config.evaluation.timeout), limit is None or limit > 0, "over 0"),
        *(
            (name, most, most is None or most > 0, "over 0")
            for name, most in _bounds(config.budget)
        ),
    ]
    for name, value, holds, wanted in checks:
        if not holds:
            _refuse(name, value, wanted)
    chat_arguments(s)
    if e.share_prefixes:
        _check_sharing(s, e)
    if r.engines_per_task > 1 and s.backend == "openai":
        raise UsageError(
            f"--engines-per-task {r.engines_per_task}: --backend openai asks one server and starts "
            "no engine; launch with --engines-per-task 1, and ask it more at a time by "
            "--max-parallel-requests"
        )
    if "@" in (split := urlsplit(e.base_url)).netloc or split.query:
        # Not shown: it would be in the log.
        raise UsageError(
            "--base-url: holds a user, a password or a key, which would be recorded; give the URL "
            "alone, and the key in the variable OPENAI_API_KEY"
        )
    _check_budget(s.backend, e, config.budget)
    engine_arguments(e)
    if e.store_logprob and s.backend not in LOGPROB_BACKENDS:
        raise UsageError(
            f"--store-logprob: --backend {s.backend} has no model, and so no log-probabilities; "
            f"launch with --no-store-logprob, or with --backend {' or '.join(LOGPROB_BACKENDS)}"
        )


def _check_sharing(sampling: Sampling, engine: Engine) -> None:
    """Raise `UsageError` for what `--share-prefixes` cannot be combined with."""
    if sampling.backend != "vllm":
        said = f"--backend {sampling.backend} has no engine here; launch without it"
    elif sampling.temperature == 0:
        said = "with --temperature 0 all samples are one; launch without it, with --samples 1"
    elif engine.tensor_parallel_size > 1:
        said = "works with one GPU an engine; launch with --tensor-parallel-size 1, or without it"
    elif engine.speculation != "off":
        said = "draws each token itself; launch with --speculation off, or without it"
    elif engine.store_logprob:
        said = "knows no log-probabilities; launch with --no-store-logprob, or without it"
    else:
        return
    raise UsageError(f"--share-prefixes: {said}")


def _bounds(budget: Budget) -> Iterator[tuple[str, float | None]]:
    """Each amount of a budget that must be over 0, by its name."""
    for field in dataclasses.fields(budget):
        yield field.name, getattr(budget, field.name)


def _check_budget(backend: str, engine: Engine, budget: Budget) -> None:
    """Raise `UsageError` for a bound that a backend could never reach."""
    if backend != "openai":
        return
    if budget.max_gpu_hours is not None:
        raise UsageError(
            "--max-gpu-hours: the GPUs are the server's, so that their time is not known here; "
            "give --max-output-tokens"
        )
    prices = engine.usd_per_million_input_tokens, engine.usd_per_million_output_tokens
    if budget.max_usd is not None and prices == (None, None):
        raise UsageError(
            "--max-usd: what does the server ask for its tokens? Give "
            "--usd-per-million-output-tokens, or --max-output-tokens in place of --max-usd"
        )


def chat_arguments(sampling: Sampling) -> dict[str, Any]:
    """The arguments of the chat template, by name. A value is read as JSON, else as a text.

    Raises `UsageError` for what is no key=value, or where nothing is asked as a chat.
    """
    found = _pairs("chat_arg", sampling.chat_arg, "enable_thinking=true")
    if found and sampling.prompt_style != "chat":
        raise UsageError(
            f"--chat-arg {next(iter(found))}: --prompt-style {sampling.prompt_style} has no chat "
            "template; leave it out, or ask with --prompt-style chat"
        )
    return found


def engine_arguments(engine: Engine) -> dict[str, Any]:
    """The further arguments of vLLM's engine, by name. A value is read as JSON, else as a text.

    Raises `UsageError` for what is no key=value, and for an argument that a flag of its own sets.
    Which names vLLM has, only vLLM knows: `toolkit.backends.engine_arguments` asks it.
    """
    found = _pairs("engine_arg", engine.engine_arg, "kv_cache_dtype=fp8")
    for key in found:
        if key in OWN_FLAGS:
            raise UsageError(f"--engine-arg {key}: {OWN_FLAGS[key]}")
    return found


def _pairs(name: str, texts: tuple[str, ...] | None, example: str) -> dict[str, Any]:
    """key=value of each text; a value is read as JSON, else as a text."""
    found: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (equals and key.isidentifier()):
            _refuse(name, text, f"key=value, such as {example}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def describe_config(config: Config) -> dict[str, Any]:
    """The whole configuration as values that JSON can hold, for the manifest."""
    return dataclasses.asdict(config)


def _refuse(name: str, value: Any, wanted: str) -> None:
    raise UsageError(f"--{name.replace('_', '-')} {value}: must be {wanted}")
