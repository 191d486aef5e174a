"""What completes prompts: one protocol, and four backends that follow it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.records import EngineFacts, Examples, Load, Request, Sample

VLLM = "toolkit.backends.vllm:VllmBackend"
SHARING = "toolkit.backends.shared_prefixes:SharingBackend"
"""The engines that `toolkit.backends.engine_process` starts; the second for --share-prefixes."""


class Backend(Protocol):
    """An engine that takes single samples and returns each when it finishes, in any order.

    One sample is one request. So the engine's own queue shows exactly how busy it is, and no sample
    waits for others of its problem. The engine's prefix cache shares the prefill of a prompt.
    """

    @property
    def max_in_flight(self) -> int:
        """How many unfinished samples keep the engine busy."""

    def submit(self, request: Request) -> None:
        """Queue a sample. If its prompt does not fit, this or `step` raises `UsageError`."""

    def step(self) -> list[Sample]:
        """Work for a moment, at most some seconds. Returns the samples that finished, if any.

        It returns in time whatever the engine does, so that the task can answer a signal. Raises
        `EngineFailure` if the engine died. All unfinished samples are then lost.
        """

    def load(self) -> Load:
        """How full the engine is. Called about once a second, so it may cost a little time."""

    def describe(self) -> EngineFacts:
        """Engine, version, device and settings, as every shard records them."""

    def close(self) -> None:
        """Release the engine. Unfinished samples are dropped."""


def open_backend(
    config: Config,
    examples: Mapping[str, Examples],
    stop_requested: Callable[[], bool] = lambda: False,
    surroundings: Mapping[str, str] | None = None,
) -> Backend:
    """Start the configured backend. For vllm this loads the model.

    examples: task_id -> completions with known verdicts, for the synthetic backend. surroundings:
    variables that the engine's own process gets, where there is one. Raises `StartInterrupted`
    within seconds if a stop is requested before the engine is up.
    """
    match config.sampling.backend:
        case "vllm":
            from toolkit.backends.engine_process import EngineProcess

            engine = SHARING if config.engine.share_prefixes else VLLM
            return EngineProcess(config, engine, stop_requested, surroundings=surroundings)
        case "openai":
            from toolkit.backends.openai import OpenAIBackend

            return OpenAIBackend(config)
        case "synthetic":
            from toolkit.backends.synthetic import SyntheticBackend

            return SyntheticBackend(config, examples)
        case "replay":
            from toolkit.backends.replay import ReplayBackend

            return ReplayBackend(config, list(examples))
        case other:
            raise UsageError(f"--backend {other}: must be vllm, openai, synthetic or replay")
