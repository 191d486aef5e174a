"""A server with OpenAI's interface, such as vLLM's own, at a URL. One request for each sample.

The server holds the model. Each request carries the seed of its sample. If the server needs a key,
it is read from OPENAI_API_KEY. It goes into the header of requests and nowhere else.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import httpx

from toolkit.backends.logprob import mean_logprob
from toolkit.backends.retries import (
    ATTEMPTS,
    PATIENCE_SECONDS,
    Turnstile,
    pause,
    retry_after,
)
from toolkit.config import Config
from toolkit.errors import EngineFailure, UsageError
from toolkit.passed_on import chat_arguments
from toolkit.records import THOUGHT, THOUGHT_END, EngineFacts, FinishReason, Load, Request, Sample

STEP_SECONDS = 1.0
CONNECTIONS = 4
"""Attempts at a connection, for one attempt at a request. httpx doubles its pause between them."""


class OpenAIBackend:
    """Up to `max_parallel_requests` at the same time, each in a thread of its own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._url = config.engine.base_url.rstrip("/")
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError("OPENAI_API_KEY: holds what no header may hold; set the key alone")
        self._turnstile, self._answered = Turnstile(), False
        self._failed: Future[Sample] | None = None
        engine = config.engine
        self.max_in_flight = engine.max_parallel_requests or engine.max_num_seqs
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(600.0, connect=10.0),
            limits=httpx.Limits(max_connections=self.max_in_flight),
            transport=httpx.HTTPTransport(retries=CONNECTIONS),
        )
        self._model = config.sampling.model or self._only_model()
        self._threads = ThreadPoolExecutor(self.max_in_flight, thread_name_prefix="request")
        self._futures: set[Future[Sample]] = set()

    def _only_model(self) -> str:
        names = [m["id"] for m in self._send("GET", "/models", None, "data")["data"]]
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
        if self._failed is not None:
            self._failed.result()
        done, self._futures = wait(self._futures, STEP_SECONDS, FIRST_COMPLETED)
        good = [future.result() for future in done if future.exception() is None]
        bad = [future for future in done if future.exception() is not None]
        if bad and not good:
            bad[0].result()
        # What was paid for is kept before the failure is told, in the next step.
        self._failed = bad[0] if bad else None
        return good

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
        self._turnstile.close()
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
            path, body["messages"] = "/chat/completions", prompt.chat()
            if arguments := chat_arguments(sampling):
                body["chat_template_kwargs"] = arguments
        else:
            path, body["prompt"] = "/completions", prompt.text
        answer = self._send("POST", path, body, "choices", "usage")
        try:
            return self._sample(request, answer["choices"][0], answer["usage"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{self._url}{path}: no answer of OpenAI's interface ({error!r}); check --base-url"
            ) from None

    def _sample(
        self, request: Request, choice: Mapping[str, Any], usage: Mapping[str, Any]
    ) -> Sample:
        chat = self._config.sampling.prompt_style == "chat"
        reason: FinishReason = "length" if choice["finish_reason"] == "length" else "stop"
        return Sample(
            request.task_id,
            request.seed,
            _as_written(choice["message"]) if chat else choice["text"] or "",
            int(usage["completion_tokens"]),
            reason,
            self._logprob(choice, int(usage["completion_tokens"])),
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

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, *needs: str
    ) -> dict[str, Any]:
        """The server's answer: a JSON object with these keys.

        What may go well later is tried again, as `toolkit.backends.retries` says. Raises
        `UsageError` for what the server refuses, and `EngineFailure` when patience ends.
        """
        began, attempt, faults = time.monotonic(), 0, 0
        while self._turnstile.wait():
            attempt += 1
            try:
                answer = self._try(method, self._url + path, body, needs)
            except _Trouble as trouble:
                wait = pause(attempt, trouble.asked)
                faults += not trouble.busy
                self._refuse_at_end(trouble, faults, time.monotonic() - began, wait)
                if trouble.asked is not None:
                    self._turnstile.hold(trouble.asked)
                self._turnstile.wait(wait)
            else:
                self._answered = True
                return answer
        raise EngineFailure(f"{self._url}{path}: given up, because sampling has ended")

    def _refuse_at_end(self, trouble: "_Trouble", faults: int, spent: float, wait: float) -> None:
        """Raise `EngineFailure` unless it is tried again after another `wait` seconds.

        faults: how many of its attempts have failed, without those that met a busy server.
        """
        if trouble.unreached and not self._answered:
            # The transport has made its attempts already, and nothing was ever there.
            raise EngineFailure(
                f"{self._url}: {trouble}; check --base-url and that the server runs, then launch "
                "again"
            )
        if spent + wait > PATIENCE_SECONDS:
            raise EngineFailure(
                f"{self._url}: {trouble}, for {spent:.0f} s, and the next attempt would be in "
                f"{wait:.0f} s; lower --max-parallel-requests, or launch again later"
            )
        if faults >= ATTEMPTS:
            raise EngineFailure(
                f"{self._url}: {trouble}, {faults} times; see the server's log, then launch again"
            )

    def _try(
        self, method: str, url: str, body: dict[str, Any] | None, needs: Sequence[str]
    ) -> dict[str, Any]:
        """One attempt. Raises `_Trouble` where another one may do better."""
        try:
            response = self._client.request(method, url, json=body)
        except httpx.HTTPError as error:
            unreached = isinstance(error, httpx.ConnectError)
            said = self._without_key(str(error)) or type(error).__name__
            raise _Trouble(f"no answer ({said})", unreached=unreached) from None
        status = response.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS:
            asked = retry_after(response.headers.get("Retry-After"))
            said = self._reason(response)
            raise _Trouble(f"too many requests (429: {said})", busy=True, asked=asked)
        if status >= 500 or status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY):
            asked = retry_after(response.headers.get("Retry-After"))
            raise _Trouble(f"status {status}", asked=asked)
        if status >= 300:
            key = status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
            mend = "; the key is read from the variable OPENAI_API_KEY" if key else ""
            raise UsageError(
                f"{url}: the server refused the request ({status}): {self._reason(response)}{mend}"
            )
        try:
            answer = response.json()
        except ValueError:
            raise _Trouble("an answer that is torn, or no JSON") from None
        if not isinstance(answer, dict) or any(answer.get(key) is None for key in needs):
            raise _Trouble(f"an answer without {' and '.join(needs)}")
        return answer

    def _reason(self, response: httpx.Response) -> str:
        """The beginning of what the server says, in one line."""
        return " ".join(self._without_key(response.text).split())[:200]

    def _without_key(self, text: str) -> str:
        """A server's own words, which may repeat the key that it was sent."""
        return text.replace(self._key, "[key]") if self._key else text


class _Trouble(Exception):
    """An attempt failed, and another one may do better.

    busy: the server wants fewer requests. asked: the seconds that it wants to be left alone.
    unreached: there was no connection.
    """

    def __init__(
        self, said: str, *, busy: bool = False, asked: float | None = None, unreached: bool = False
    ) -> None:
        super().__init__(said)
        self.busy, self.asked, self.unreached = busy, asked, unreached


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
