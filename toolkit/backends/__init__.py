"""What completes prompts: one protocol, four backends, chosen by one `match`."""

from collections.abc import Mapping
from typing import Protocol

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.records import EngineFacts, Examples, Load, Request, Sample


class Backend(Protocol):
    """An engine that takes single samples and gives them back in any order as they finish.

    One sample is one request: the engine's own queue then says exactly how busy it is, and no
    sample waits for its siblings. The prompt's prefill is shared by the engine's prefix cache.
    """

    @property
    def max_in_flight(self) -> int:
        """Samples submitted and unfinished that keep the engine busy."""

    def submit(self, request: Request) -> None:
        """Queue a sample to be drawn. `UsageError` when its prompt does not fit."""

    def step(self) -> list[Sample]:
        """Work for a moment, at most some seconds; the samples that finished, if any.

        Raises `EngineFailure` when the engine died: what was in flight is lost.
        """

    def load(self) -> Load:
        """How full the engine is; asked about once a second, so it may cost a little."""

    def describe(self) -> EngineFacts:
        """Engine, version, device and settings, as every shard records them."""

    def close(self) -> None:
        """Release the engine; what is in flight is dropped."""


def open_backend(config: Config, examples: Mapping[str, Examples]) -> Backend:
    """Start the configured backend (for vllm this loads the model).

    examples: task_id -> completions with known verdicts, for the backend without a model.
    """
    match config.sampling.backend:
        case "vllm":
            from toolkit.backends.vllm import VllmBackend

            return VllmBackend(config)
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
