"""A hosted model: a real server on loopback that is busy, broken, slow and indiscreet."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from run_jobs import assert_each_sample_once, job, samples

from toolkit.backends import openai, retries
from toolkit.backends.openai import OpenAIBackend
from toolkit.errors import EngineFailure, UsageError
from toolkit.records import Prompt, Request
from toolkit.report.document import read_fit
from toolkit.report.prices import price_of
from toolkit.resolve import resolve
from toolkit.runs.run import Run

KEY = "sk-loopback-5e3f"
READS = "import os\nraise ValueError(repr(dict(os.environ)) + open('/proc/self/environ').read())"
"""A completion that gives away whatever a program can read of its environment."""


class Server(ThreadingHTTPServer):
    """moods: how the next requests are answered, "good" when they are used up."""

    def __init__(self, moods=(), says="hi"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moods, self.says = list(moods), says
        self.lock = threading.Lock()
        self.began, self.busy_at, self.inside, self.most = [], [], 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        with server.lock:
            server.began.append(time.monotonic())
            server.inside += 1
            server.most = max(server.most, server.inside)
            mood = server.moods.pop(0) if server.moods else "good"
        try:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(mood)
        finally:
            with server.lock:
                server.inside -= 1

    def _answer(self, mood):
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self._send(401, {"error": f"wrong key: {self.headers['Authorization']}"})
        match mood:
            case int():
                return self._send(mood, {"error": f"no, not with {KEY}"})
            case ("busy", header):
                self.server.busy_at.append(time.monotonic())
                return self._send(429, {"error": "slow down"}, header)
            case "gone":
                return self.connection.close()
            case "torn":
                return self._send(200, '{"choices": [{"mess')
            case "short":
                return self._send(200, '{"choices"', length=500)
            case "empty":
                return self._send(200, {"choices": [], "usage": None})
            case "slow":
                time.sleep(0.3)
        choice = {"message": {"content": self.server.says}, "finish_reason": "stop"}
        usage = {"completion_tokens": 10, "prompt_tokens": 100}
        return self._send(200, {"choices": [choice], "usage": usage})

    def _send(self, status, said, retry_after=None, length=None):
        body = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def backend(monkeypatch):
    """Opens the backend for a server; its own pauses are short."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    opened = []

    def open_for(server, **flags):
        known = {"backend": "openai", "model": "m", "base_url": server.url}
        opened.append(OpenAIBackend(resolve({**known, **flags})))
        return opened[-1]

    yield open_for
    for each in opened:
        each.close()


def drawn(backend, count, seconds=20):
    """The seeds of the samples that come back."""
    for seed in range(count):
        backend.submit(Request("a", seed, Prompt((("user", "hi"),), "hi")))
    found, deadline = [], time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline
        found += [sample.seed for sample in backend.step()]
    return sorted(found)


def test_a_bad_day_costs_no_sample(backend):
    bad = [500, ("busy", None), "gone", "torn", 503, "short", "slow", "empty", 502, 408]
    moods = [mood for each in bad for mood in ("good", each)]
    # A storm: many more refusals than a fault may have attempts.
    with Server([*moods, *[("busy", "0.02")] * 60]) as server:
        found = backend(server, max_parallel_requests=5)
        assert found.max_in_flight == 5
        assert drawn(found, 30) == list(range(30))
        assert 2 <= server.most <= 5


def test_all_requests_wait_as_long_as_one_was_told(backend):
    with Server(["good", ("busy", "0.6")]) as server:
        assert drawn(backend(server, max_parallel_requests=3), 12) == list(range(12))
        (told,) = server.busy_at
        # Those that were on their way already do not count.
        assert not [t for t in server.began if told + 0.1 < t < told + 0.55]
        assert [t for t in server.began if t >= told + 0.55]


@pytest.mark.parametrize(
    ("mood", "requests", "says"),
    [
        (500, retries.ATTEMPTS, "status 500, 6 times; see the server's log"),
        ("torn", retries.ATTEMPTS, "an answer that is torn, or no JSON, 6 times"),
        ("gone", retries.ATTEMPTS, "no answer ("),
        (("busy", None), None, 'too many requests (429: {"error": "slow down"}), for '),
        (("busy", "100000"), 1, "the next attempt would be in 10000"),
        (400, 1, 'refused the request (400): {"error": "no, not with [key]"}'),
        (404, 1, "refused the request (404)"),
    ],
)
def test_patience_ends_in_one_line(backend, monkeypatch, mood, requests, says):
    monkeypatch.setattr(openai, "PATIENCE_SECONDS", 900.0 if requests else 0.5)
    with Server([mood] * 500) as server:
        with pytest.raises((EngineFailure, UsageError)) as error:
            drawn(backend(server, max_num_seqs=1), 1)
        assert says in str(error.value)
        assert KEY not in str(error.value)
        assert "\n" not in str(error.value)
        assert requests is None or len(server.began) == requests


def test_a_wrong_key_names_its_variable_and_an_impossible_one_is_refused(backend, monkeypatch):
    with Server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        with pytest.raises(UsageError, match="read from the variable OPENAI_API_KEY") as error:
            drawn(backend(server), 1)
        assert "sk-other" not in str(error.value)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-\nother")
        with pytest.raises(UsageError, match="what no header may hold") as error:
            backend(server)
        assert "other" not in str(error.value)


def test_what_is_finished_is_kept_before_a_failure_is_told(backend):
    with Server(["good", "good", 400]) as server:
        found = backend(server, max_parallel_requests=1)
        for seed in range(3):
            found.submit(Request("a", seed, Prompt((("user", "hi"),), "hi")))
        time.sleep(0.5)
        assert sorted(sample.seed for sample in found.step()) == [0, 1]
        with pytest.raises(UsageError, match="400"):
            found.step()


def test_closing_wakes_those_that_wait(backend):
    with Server([("busy", "500")]) as server:
        found = backend(server)
        found.submit(Request("a", 0, Prompt((("user", "hi"),), "hi")))
        while not server.busy_at:
            time.sleep(0.01)
        time.sleep(0.1)
        found.close()
        found._threads.shutdown(wait=True)  # returns at once


def test_a_url_with_a_key_is_refused_and_not_shown():
    for url in ("http://me:sk-x@host/v1", "http://host/v1?key=sk-x"):
        with pytest.raises(UsageError, match="would be recorded") as error:
            resolve({"backend": "openai", "base_url": url})
        assert "sk-x" not in str(error.value)
    with pytest.raises(UsageError, match="--usd-per-million-output-tokens -1"):
        resolve({"usd_per_million_output_tokens": -1.0})


def test_retry_after_is_seconds_or_a_date():
    assert retries.retry_after("1.5") == 1.5
    assert retries.retry_after("-3") == 0
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < retries.retry_after(in_a_minute) <= 60
    assert retries.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retries.retry_after("soon") is retries.retry_after("") is retries.retry_after(None)


def test_pauses_double_up_to_a_minute():
    for attempt, most in ((1, 1.0), (3, 4.0), (7, 60.0), (40, 60.0)):
        assert most / 2 <= retries.pause(attempt) <= most
        assert 5.0 <= retries.pause(attempt, 5.0) <= 6.0


@pytest.mark.slow
def test_a_run_by_a_hosted_model_is_priced_and_its_key_is_nowhere(tmp_path):
    flags = "--backend openai --model m --launcher inline --limit 2 --samples 4".split()
    prices = ("--usd-per-million-input-tokens", "2", "--usd-per-million-output-tokens", "30")
    with Server([500, ("busy", "0.1"), "gone", "torn"], says=READS) as server:
        done = job(
            *("launch.py", *flags, *prices, "--base-url", server.url, "--replicates", "100"),
            *("--max-parallel-requests", "2", "--run", "run"),
            cwd=tmp_path,
            env=os.environ | {"OPENAI_API_KEY": KEY},
        )
        assert server.most <= 2
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "run", problems=2, n=4)
    assert "/proc/self/environ" in samples(tmp_path / "run")["completion"][0]
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in (path.read_bytes() if path.is_file() else b""), path
    assert KEY not in done.stdout + done.stderr
    # 8 samples of 100 tokens in and 10 out.
    status = job("status.py", "run", "--json", cwd=tmp_path)
    usd = 8 * (100 * 2 + 10 * 30) / 1e6
    assert json.loads(status.stdout)["cost"]["usd"] == pytest.approx(usd)
    fit = read_fit(tmp_path / "run/results")
    assert fit.cost.usd == pytest.approx(usd)
    price = price_of(Run(tmp_path / "run"), fit, 2.0)
    assert price.usd_per_token == pytest.approx(30 / 1e6)
    assert price.usd_per_sample == pytest.approx(100 * 2 / 1e6)
    assert "2 $ in, 30 $ out" in price.source
