"""The backend of OpenAI-compatible servers, against vLLM's own server with the tiny model."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import polars as pl
import pytest
from run_jobs import assert_each_sample_once, job, samples

from toolkit.backends.openai import OpenAIBackend
from toolkit.errors import UsageError
from toolkit.records import Prompt, Request
from toolkit.resolve import resolve
from toolkit.runs.run import open_run
from toolkit.runs.taxonomy import read_taxonomy
from toolkit.verifiers.judges import judge_of_run

FLAGS = (
    *"--backend openai --launcher inline --limit 2 --max-tokens 12 --samples 6 --top-p 1".split(),
    *("--replicates", "100"),
    "--gres",
    "",
)


@pytest.fixture(scope="module")
def server(tiny_model, tmp_path_factory):
    """The address of a server on loopback, ended with the module."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(tiny_model), "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *"--dtype float32 --enforce-eager --no-enable-chunked-prefill".split(),
        *"--max-model-len 2048 --block-size 32 --max-num-seqs 16".split(),
    ]
    log = tmp_path_factory.mktemp("server") / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        deadline = time.monotonic() + 240
        while not _is_up(port):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()


def _is_up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("style", ["chat", "completion"])
def test_a_run_by_a_real_server(server, tmp_path, style):
    asked = ("--prompt-style", style, "--stop", "\nclass ", "--store-logprob")
    flags = (*FLAGS, "--base-url", server, *asked)
    done = job("launch.py", *flags, "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "run", problems=2, n=6)
    drawn = samples(tmp_path / "run")
    streams = drawn.group_by("task_id").agg(pl.col("completion").n_unique())
    assert streams["completion"].to_list() == [6, 6]  # every request had its own seed
    assert drawn["n_tokens"].is_between(1, 12).all()
    assert drawn["logprob"].is_between(-7, -4).sum() == 12  # of 258 tokens, about equally probable


class _Choice(BaseHTTPRequestHandler):
    """Answers with this choice of so many tokens, and keeps what it was asked."""

    choice: ClassVar[dict] = {}
    tokens: ClassVar[int] = 2
    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        usage = {"completion_tokens": self.tokens, "prompt_tokens": 1}
        said = json.dumps({"choices": [self.choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


LISTED = {
    "chat": (True, {"content": [{"token": "h", "logprob": -1.0}, {"token": "i", "logprob": -2.0}]}),
    "completion": (0, {"tokens": ["h", "i"], "token_logprobs": [-1.0, -2.0]}),
}


@pytest.mark.parametrize("style", LISTED)
def test_a_server_is_asked_for_the_log_probabilities_of_what_it_draws(monkeypatch, style):
    asked, listed = LISTED[style]
    said = {"message": {"content": "hi"}, "text": "hi", "finish_reason": "stop"}
    monkeypatch.setattr(_Choice, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Choice) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"

        def drawn(logprobs, tokens=2, store=True):
            monkeypatch.setattr(_Choice, "choice", {**said, "logprobs": logprobs})
            monkeypatch.setattr(_Choice, "tokens", tokens)
            flags = {"backend": "openai", "model": "tiny", "base_url": url, "prompt_style": style}
            backend = OpenAIBackend(resolve({**flags, "store_logprob": store}))
            try:
                backend.submit(Request("a", 0, Prompt((("user", "hi"),), "hi")))
                while not (found := backend.step()):
                    pass
                return found[0].logprob
            finally:
                backend.close()

        assert drawn(listed) == -1.5
        assert _Choice.asked[-1]["logprobs"] is asked
        assert drawn(None, tokens=0) is None
        with pytest.raises(UsageError, match="gives no log-probabilities; launch with --no-store"):
            drawn(None)
        assert drawn(None, store=False) is None
        assert "logprobs" not in _Choice.asked[-1]
        server.shutdown()


@pytest.mark.slow
def test_no_server_is_said_in_one_line(tmp_path):
    flags = (*FLAGS, "--base-url", "http://127.0.0.1:9/v1", "--model", "tiny", "--run", "run")
    done = job("launch.py", *flags, cwd=tmp_path)
    assert done.returncode == 1
    assert "http://127.0.0.1:9/v1: no answer (" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "run" / "samples").iterdir())


class _Recorder(BaseHTTPRequestHandler):
    """Answers any chat with "hi", and keeps what it was asked.

    If the template has arguments, it is a reasoning parser, and the model's thought is cut.
    """

    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body))
        choice = {"message": {"content": "hi"}, "finish_reason": "stop"}
        if "chat_template_kwargs" in self.asked[-1]:
            cut = {"content": None, "reasoning_content": "hm"}
            choice = {"message": cut, "finish_reason": "length"}
        answer = {"choices": [choice], "usage": {"completion_tokens": 1, "prompt_tokens": 1}}
        said = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("given", [(), ("--chat-arg", "enable_thinking=false", "effort=low")])
def test_a_server_gets_the_arguments_of_its_chat_template(tmp_path, given):
    _Recorder.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        done = job(
            *("launch.py", *FLAGS, "--model", "tiny", "--base-url", url, *given, "--run", "run"),
            cwd=tmp_path,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    wanted = {"enable_thinking": False, "effort": "low"} if given else None
    assert [body.get("chat_template_kwargs") for body in _Recorder.asked] == [wanted] * 12
    assert set(samples(tmp_path / "run")["completion"]) == {"<think>hm" if given else "hi"}
    run = open_run(tmp_path / "run")
    found = read_taxonomy(run, judge_of_run(run))
    assert found.cut == ({"no_answer": 12} if given else {})
