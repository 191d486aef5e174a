"""vLLM in this process, given one sample at a time.

A task runs it in a process of its own, see `toolkit.backends.engine_process`. There vLLM may start
further ones: on a GPU always, on a CPU with VLLM_ENABLE_V1_MULTIPROCESSING=1.

Each sample is a request of its own, with the random seed base_seed + seed. vLLM does the same
inside a request with n > 1: child i gets seed + i. Single requests avoid the limits on n.

With --no-seeded no request has a seed. vLLM then draws from the engine's own random stream, so each
engine starts with a fresh seed of the operating system, which its shards record.

On a CPU in float32, a sample is a function of (problem, seed). On a GPU the rest of the batch may
change it. Nothing relies on it.
"""

import contextlib
import importlib.util
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast, get_args

from toolkit.backends.engine_arguments import arguments_of
from toolkit.backends.logprob import mean_logprob
from toolkit.backends.vllm_stats import listen
from toolkit.config import Config
from toolkit.cores import available_cores
from toolkit.errors import EngineFailure, EngineRefused, UsageError
from toolkit.models.compile_cache import CompileCache
from toolkit.models.embedded import embedded_model
from toolkit.models.shape import shape_of
from toolkit.models.staging import stage_model
from toolkit.passed_on import chat_arguments
from toolkit.records import EngineFacts, FinishReason, Load, Request, Sample, after_thoughts

log = logging.getLogger(__name__)

MOST_SEEDS = 2**32 - 1
"""An engine's own seed is 1 to this. NumPy, which vLLM draws from, takes no larger one."""
KILLED = re.compile(r"Failed core proc\(s\): .*: -\d+")
"""How vLLM says that a process of its was killed while it started."""


class VllmBackend:
    """One engine. Its constructor loads the model: seconds on a CPU, a minute or more on a GPU."""

    def __init__(self, config: Config, folder: Path) -> None:
        """folder: for the engine's own files and sockets. Who made it removes it afterwards.

        Raises `EngineRefused` if vLLM cannot start, `EngineFailure` if its process was killed,
        `UsageError` if the model cannot be staged.
        """
        staging = time.monotonic()
        self._config = config = stage_model(config)
        self.staging_seconds = time.monotonic() - staging
        self._model = config.sampling.model or str(embedded_model())
        on_cpu = not Path("/dev/nvidiactl").exists()
        cache = folder / "cache"
        shared = _node_disk()  # before this process has a disk of its own
        _set_environment(config, folder, on_cpu=on_cpu, local=Path(self._model).is_dir())
        compiled = _compile_cache(config, cache, shared)
        if compiled and compiled.copy_to(cache):
            log.info("starting with the compiled code of an earlier engine on this node")
        _share_model_infos(cache)
        self._vllm = _import_vllm()
        # Two engines, or two starts of one, must not share a stream. See `Engine.seeded`.
        self._seed = None if config.engine.seeded else 1 + secrets.randbelow(MOST_SEEDS)
        arguments = self._engine_arguments(on_cpu)
        try:
            self._llm = self._vllm.LLM(self._model, **arguments)
        except Exception as error:
            # vLLM passes on any error of loading the model. The last line says most.
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            said = f"vLLM cannot start with {self._model}: {reason[0]}"
            raise (EngineFailure if KILLED.search(reason[0]) else EngineRefused)(said) from error
        if compiled:
            compiled.keep(cache)
        self._reports = listen(self._llm.llm_engine)
        self._tokenizer = self._llm.get_tokenizer()
        self._prompts: dict[str, list[int]] = {}
        self._queued: list[Request] = []
        self._running: dict[str, tuple[str, int]] = {}
        # A second batch waits in the engine. Sequences that start together reach max_tokens
        # together. Even if a whole batch finishes in one step, the next one is already there.
        self.max_in_flight = 2 * config.engine.max_num_seqs

    def _engine_arguments(self, on_cpu: bool) -> dict[str, Any]:
        known = _arguments(self._vllm)
        methods = _methods() if self._config.engine.speculation != "off" else set()
        return arguments_of(self._config, known, methods, self._seed or 0, on_cpu=on_cpu)

    def submit(self, request: Request) -> None:
        """See `Backend.submit`."""
        if request.task_id not in self._prompts:
            self._prompts[request.task_id] = self._prompt_tokens(request)
        self._queued.append(request)

    def _prompt_tokens(self, request: Request) -> list[int]:
        if self._config.sampling.prompt_style == "chat":
            if not self._tokenizer.chat_template:
                raise UsageError(
                    f"{self._model}: the model has no chat template; launch with "
                    "--prompt-style completion"
                )
            # The template has written the special tokens already.
            text = self._in_template(request.prompt.chat())
            tokens = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            tokens = self._tokenizer.encode(request.prompt.text)
        if len(tokens) >= self._config.engine.max_model_len:
            raise UsageError(
                f"{request.task_id}: its prompt has {len(tokens)} tokens, but --max-model-len is "
                f"{self._config.engine.max_model_len}; launch again with a larger one"
            )
        return cast(list[int], tokens)

    def _in_template(self, messages: list[dict[str, str]]) -> str:
        """The text that the model continues to answer these messages."""
        text = self._tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            **chat_arguments(self._config.sampling),
        )
        return cast(str, text)

    def step(self) -> list[Sample]:
        """See `Backend.step`. One step of the engine makes one token of each running sequence."""
        if self._queued:
            self._enqueue()
        return [self._sample(output) for output in self._finished()]

    def _finished(self) -> list[Any]:
        """Make a step. Returns vLLM's outputs of the requests that have finished."""
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:
            raise EngineFailure(f"vLLM died: {type(error).__name__}: {error}") from error
        return [output for output in outputs if output.finished]

    def _enqueue(self) -> None:
        sampling = self._config.sampling
        # 0: of the token that was drawn, and of no other one. What is drawn does not change.
        logprobs = 0 if self._config.engine.store_logprob else None
        params = [
            self._vllm.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                stop=list(request.prompt.stop_strings(sampling.prompt_style, sampling.stop)),
                seed=sampling.base_seed + request.seed if self._seed is None else None,
                logprobs=logprobs,
                output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
            )
            for request in self._queued
        ]
        prompts = [{"prompt_token_ids": self._prompts[r.task_id]} for r in self._queued]
        ids = self._llm.enqueue(prompts, params, use_tqdm=False)
        for request_id, request in zip(ids, self._queued, strict=True):
            # `enqueue` returns "<our id>-<random>". Outputs carry only our id.
            self._running[request_id.partition("-")[0]] = request.task_id, request.seed
        self._queued.clear()

    def _sample(self, output: Any) -> Sample:
        task_id, seed = self._running.pop(output.request_id)
        (completion,) = output.outputs
        reason: FinishReason = {"stop": "stop", "length": "length"}.get(  # type: ignore[assignment]
            completion.finish_reason, "abort"
        )
        return Sample(
            task_id,
            seed,
            completion.text,
            len(completion.token_ids),
            reason,
            mean_logprob(completion.cumulative_logprob, len(completion.token_ids)),
            prompt_tokens=len(self._prompts[task_id]),
            cached_tokens=getattr(output, "num_cached_tokens", None),
        )

    def load(self) -> Load:
        """See `Backend.load`."""
        return self._reports.load()

    def describe(self) -> EngineFacts:
        """See `Backend.describe`."""
        from vllm.platforms import current_platform

        model_config = self._llm.llm_engine.model_config
        return EngineFacts(
            f"vllm {self._vllm.__version__}",
            device=current_platform.get_device_name(),
            dtype=str(model_config.dtype).removeprefix("torch."),
            max_model_len=model_config.max_model_len,
            tensor_parallel_size=self._config.engine.tensor_parallel_size,
            opens_thought=self._opens_thought(),
            engine_seed=self._seed,
            shape=self._shape(),
        )

    def _shape(self) -> str | None:
        """What a step of the model reads and multiplies, for its roof. None: not known."""
        model = self._llm.llm_engine.model_config
        cache = self._llm.llm_engine.vllm_config.cache_config.cache_dtype
        dtype = str(model.dtype).removeprefix("torch.")
        found = shape_of(model.hf_config.to_dict(), dtype, model.quantization or "", cache)
        return None if found is None else json.dumps(asdict(found))

    def _opens_thought(self) -> bool:
        """Whether the chat template ends within a thought, whatever it is asked."""
        if self._config.sampling.prompt_style != "chat" or not self._tokenizer.chat_template:
            return False
        return after_thoughts(self._in_template([{"role": "user", "content": "?"}])) is None

    def close(self) -> None:
        """See `Backend.close`."""
        self._llm.llm_engine.engine_core.shutdown()


def installed() -> tuple[str, set[str], set[str]]:
    """Of the installed vLLM: its version, the engine's arguments, and the kinds of speculation."""
    vllm = _import_vllm()
    return vllm.__version__, _arguments(vllm), _methods()


def _arguments(vllm: Any) -> set[str]:
    return {field.name for field in fields(vllm.EngineArgs)}


def _methods() -> set[str]:
    from vllm.config.speculative import SpeculativeMethod

    return set(_texts(SpeculativeMethod))


def _texts(literal: Any) -> Iterator[str]:
    """The texts of a Literal, which may hold further ones."""
    for each in get_args(literal):
        if isinstance(each, str):
            yield each
        else:
            yield from _texts(each)


def _node_disk() -> str:
    """Where the engines of this node share what they compile. "": on SLURM_TMPDIR."""
    slurm = os.environ.get("SLURM_TMPDIR", "")
    return "" if slurm and Path(slurm).is_dir() else tempfile.gettempdir()


def _set_environment(config: Config, folder: Path, *, on_cpu: bool, local: bool) -> None:
    """Set the variables that vLLM reads at import. What the user has set stays."""
    # Sockets and temporary files, which vLLM leaves behind when it is killed.
    os.environ["TMPDIR"] = os.environ["VLLM_RPC_BASE_PATH"] = tempfile.tempdir = str(folder)
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        # Engines that start at the same time would corrupt a shared compile cache.
        "VLLM_CACHE_ROOT": str(folder / "cache"),
    }
    if local:
        defaults["HF_HUB_OFFLINE"] = "1"
    if on_cpu:
        defaults |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(config.engine.cpu_kv_cache_gib),
            # Threads bound to cores become very slow when anything else runs on these cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(available_cores()),
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _compile_cache(config: Config, own: Path, shared: str) -> CompileCache | None:
    """The kept cache of this configuration and this version of vLLM.

    None if the user has set VLLM_CACHE_ROOT. The user then decides who shares that cache.
    """
    if os.environ["VLLM_CACHE_ROOT"] != str(own):
        return None
    found = importlib.util.find_spec("vllm")  # not imported: it would read its environment
    origin = found.origin if found and found.origin else ""
    version = Path(origin).stat().st_mtime_ns if origin else 0
    changing = ("VLLM_CACHE_ROOT", "VLLM_RPC_BASE_PATH")
    settings = {k: v for k, v in os.environ.items() if k.startswith("VLLM_") and k not in changing}
    kind = config.sampling.model, config.sampling.revision, asdict(config.engine)
    where = config.engine.stage_model.removeprefix("auto") or shared
    return CompileCache(origin, version, sorted(settings.items()), *kind, where=where)


def _share_model_infos(own: Path) -> None:
    """Let vLLM keep what it knows of a model's class where it keeps it by default: in the home.

    Else each first engine on a node starts a process that imports vLLM, only to look at the class:
    12 s of CPU, while a GPU waits. vLLM renames these files into place, and reads one only if its
    digest is that of the module, so all nodes and versions may share them.
    """
    if os.environ["VLLM_CACHE_ROOT"] != str(own):  # the user decides who shares what
        return
    with contextlib.suppress(OSError, RuntimeError):  # no home, or not writable: vLLM looks again
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vllm/modelinfos"
        users.mkdir(parents=True, exist_ok=True)
        if os.access(users, os.W_OK):
            own.mkdir(exist_ok=True)
            (own / "modelinfos").symlink_to(users)


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise UsageError(
            f"vllm cannot be imported ({error}); on a GPU node run `pip install -e '.[vllm]'`, for "
            "the CPU build run `make install`"
        ) from error
    return vllm
