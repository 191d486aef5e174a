"""A server with OpenAI's interface, such as vLLM's own, at a URL. One request for each sample.

The server holds the model. Each request carries the seed of its sample. If the server needs a key,
it is read from OPENAI_API_KEY.
"""

import math
import os
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import httpx

from toolkit.backends.logprob import mean_logprob
from toolkit.config import Config, chat_arguments
from toolkit.errors import EngineFailure, UsageError
from toolkit.records import THOUGHT, THOUGHT_END, EngineFacts, FinishReason, Load, Request, Sample

STEP_SECONDS = 1.0
RETRIES = 4
"""Attempts at one request. Between attempts to connect, httpx doubles its pause."""


class OpenAIBackend:
    """Up to `max_num_seqs` requests at the same time, each in a thread of its own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._url = config.engine.base_url.rstrip("/")
        key = os.environ.get("OPENAI_API_KEY", "")
        self.max_in_flight = config.engine.max_num_seqs
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(600.0, connect=10.0),
            limits=httpx.Limits(max_connections=self.max_in_flight),
            transport=httpx.HTTPTransport(retries=RETRIES),
        )
        self._model = config.sampling.model or self._only_model()
        self._threads = ThreadPoolExecutor(self.max_in_flight, thread_name_prefix="request")
        self._futures: set[Future[Sample]] = set()

    def _only_model(self) -> str:
        names = [m["id"] for m in self._send("GET", "/models", None)["data"]]
        if len(names) != 1:
            raise UsageError(
                f"{self._url}: serves {len(names)} models ({', '.join(names)}); "
                "name the one to sample with --model"
            )
        return str(names[0])

    def submit(self, request: Request) -> None:
        """See `Backend.submit`."""
        self._futures.add(self._threads.submit(self._complete, request))

    def step(self) -> list[Sample]:
        """See `Backend.step`."""
        done, self._futures = wait(self._futures, STEP_SECONDS, FIRST_COMPLETED)
        return [future.result() for future in done]

    def load(self) -> Load:
        """See `Backend.load`. A server does not say how full it is."""
        return Load()

    def describe(self) -> EngineFacts:
        """See `Backend.describe`."""
        opens_thought = self._config.engine.opens_thought
        if self._config.sampling.prompt_style != "chat":
            opens_thought = False
        return EngineFacts(
            "openai", device=self._url, served_model=self._model, opens_thought=opens_thought
        )

    def close(self) -> None:
        """See `Backend.close`."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _complete(self, request: Request) -> Sample:
        sampling, prompt = self._config.sampling, request.prompt
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.base_seed + request.seed,
            "stop": list(prompt.stop_strings(sampling.prompt_style, sampling.stop)) or None,
        }
        if self._config.engine.store_logprob:  # of the tokens that are drawn, and of no others
            body["logprobs"] = True if sampling.prompt_style == "chat" else 0
        if sampling.prompt_style == "chat":
            body["messages"] = prompt.chat()
            if arguments := chat_arguments(sampling):
                body["chat_template_kwargs"] = arguments
            answer = self._send("POST", "/chat/completions", body)
            text = _as_written(answer["choices"][0]["message"])
        else:
            body["prompt"] = prompt.text
            answer = self._send("POST", "/completions", body)
            text = answer["choices"][0]["text"] or ""
        reason: FinishReason = (
            "length" if answer["choices"][0]["finish_reason"] == "length" else "stop"
        )
        usage = answer["usage"]
        return Sample(
            request.task_id,
            request.seed,
            text,
            int(usage["completion_tokens"]),
            reason,
            self._logprob(answer["choices"][0], int(usage["completion_tokens"])),
            prompt_tokens=usage.get("prompt_tokens"),
            # Some servers report this only with an option at their start.
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        )

    def _logprob(self, choice: Mapping[str, Any], tokens: int) -> float | None:
        """The mean over the tokens that the server lists. tokens: how many it has counted.

        Raises `UsageError` if it lists none, though there are some.
        """
        if not (self._config.engine.store_logprob and tokens):
            return None
        found = choice.get("logprobs") or {}
        each = [token.get("logprob") for token in found.get("content") or ()]  # of a chat
        listed = [value for value in each or found.get("token_logprobs") or () if value is not None]
        if not listed:
            raise UsageError(
                f"{self._url}: the server gives no log-probabilities; launch with "
                "--no-store-logprob, or ask a server that does"
            )
        return mean_logprob(math.fsum(listed), len(listed))

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for attempt in range(1, RETRIES + 1):
            try:
                response = self._client.request(method, self._url + path, json=body)
            except httpx.HTTPError as error:
                # For a failed connection, the transport has made its attempts already.
                if attempt == RETRIES or isinstance(error, httpx.ConnectError):
                    raise EngineFailure(
                        f"{self._url}: no answer ({error}); check --base-url and that the server "
                        "runs, then launch again"
                    ) from None
                continue
            if response.status_code < 400:
                answer: dict[str, Any] = response.json()
                return answer
            if response.status_code < 500 and response.status_code != 429:
                reason = " ".join(response.text.split())[:200]
                raise UsageError(
                    f"{self._url}{path}: the server refused the request "
                    f"({response.status_code}): {reason}"
                )
        raise EngineFailure(
            f"{self._url}{path}: status {response.status_code} after {RETRIES} attempts; see the "
            "server's log, then launch again"
        )


def _as_written(message: Mapping[str, Any]) -> str:
    """A chat's message as the model wrote it, with its thought.

    A server with a reasoning parser gives the thought apart, under one of two names. A message
    without an answer is then cut within its thought.
    """
    said: str = message.get("content") or ""
    thought: str = message.get("reasoning_content") or message.get("reasoning") or ""
    if not thought:
        return said
    return f"{THOUGHT}{thought}{THOUGHT_END}{said}" if said else THOUGHT + thought
