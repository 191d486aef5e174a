"""vLLM's OpenAI-compatible server on loopback, used as the public experiment used its servers.

All problems have a client of their own, and all clients run at the same time. A client asks for at
most 250 samples in a request. It sends the next request when the last one has returned. So does
generate.py of many-llamas-human-eval.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

PER_REQUEST = 250
START_SECONDS = 600


@contextmanager
def serving(model: str, settings: Mapping[str, Any], log: Path) -> Iterator[str]:
    """Yield the base URL of a server with these engine settings. End it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", model, "--served-model-name", "bench"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *"--generation-config vllm --disable-uvicorn-access-log".split(),
    ]
    for name, value in settings.items():
        flag = name.replace("_", "-")
        match value:
            case False if name.startswith("disable_"):
                pass  # this flag has no opposite
            case bool():
                command.append(f"--{flag}" if value else f"--no-{flag}")
            case None:
                pass
            case _:
                command += [f"--{flag}", str(value)]
    # The server's engine needs a process of its own. The variable that our engine has set forbids
    # that.
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, server, log)
            yield url
        finally:
            _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its process group. Otherwise the engine's process would go on."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")


def drive(
    url: str,
    prompts: Mapping[str, str],
    samples: int,
    per_request: int,
    parameters: Mapping[str, Any],
    base_seed: int,
) -> dict[tuple[str, int], tuple[str, int]]:
    """(task_id, seed) -> text and output tokens. prompts: task_id -> text.

    Sample i of a request gets the request's seed + i. The server tells the tokens of a request, not
    of a sample. They are divided evenly.
    """
    starts = range(0, samples, min(per_request, PER_REQUEST))

    def client(task_id: str) -> dict[tuple[str, int], tuple[str, int]]:
        found = {}
        with httpx.Client(timeout=None) as connection:
            for start in starts:
                count = min(starts.step, samples - start)
                body = {
                    "model": "bench",
                    "prompt": prompts[task_id],
                    "n": count,
                    "seed": base_seed + start,
                    **parameters,
                }
                answer = connection.post(f"{url}/v1/completions", json=body)
                answer.raise_for_status()
                document = answer.json()
                tokens = _spread(document["usage"]["completion_tokens"], count)
                for choice, n_tokens in zip(document["choices"], tokens, strict=True):
                    found[task_id, start + choice["index"]] = choice["text"], n_tokens
        return found

    with ThreadPoolExecutor(len(prompts)) as clients:
        parts = list(clients.map(client, prompts))
    return {key: value for part in parts for key, value in part.items()}


def _spread(total: int, count: int) -> Sequence[int]:
    return [total // count + (i < total % count) for i in range(count)]
