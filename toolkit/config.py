"""The configuration: frozen dataclasses, whose fields carry their defaults and help texts.

`Sampling` and `ProblemSet` say *what* is computed. They are the identity of a run (see
`toolkit.launch.identity`). The other sections say where and how it is computed. They may change
from launch to launch. Where the values come from: `toolkit.resolve`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


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
        "stays, and a run may go on with or without it. Larger --slice-seeds share more. One GPU "
        "an engine; not with --speculation, --store-logprob or --temperature 0",
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


def describe_config(config: Config) -> dict[str, Any]:
    """The whole configuration as values that JSON can hold, for the manifest."""
    return dataclasses.asdict(config)
