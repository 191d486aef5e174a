"""The real engine on the CPU with a tiny random model: seeds, resume, telemetry, mistakes.

In processes of their own: vLLM warns, and warnings are errors here.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from run_jobs import ROOT, assert_each_sample_once, files, job, samples

from toolkit.backends.vllm import _share_model_infos
from toolkit.runs.outcomes import sample_outcomes
from toolkit.runs.run import open_run
from toolkit.runs.scores import read_scores
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.taxonomy import read_taxonomy
from toolkit.verifiers.judges import judge_of_run

pytestmark = [pytest.mark.slow, pytest.mark.vllm]


@pytest.fixture(autouse=True)
def node(tmp_path, monkeypatch):
    """A disk of the node for each test: what another compiled is not there."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "disk"))


def flags(model, *more):
    return (
        *("--model", model, "--gres", ""),
        *"--launcher inline --limit 2 --max-tokens 12 --slice-samples 8 --slice-seeds 4".split(),
        *"--top-p 1 --cpu-kv-cache-gib 1 --replicates 100".split(),
        *more,
    )


@pytest.fixture(scope="module")
def plain(tiny_model, tmp_path_factory):
    """A run of 8 samples of each problem, with the flags alone; to be copied."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "disk").mkdir()
    done = job(
        "launch.py",
        *flags(tiny_model, "--samples", "8", "--run", "a"),
        cwd=folder,
        env=os.environ | {"SLURM_TMPDIR": str(folder / "disk")},
    )
    assert done.returncode == 0, done.stderr
    return folder / "a"


def test_a_sample_is_a_function_of_problem_and_seed(plain, tiny_model, tmp_path):
    shutil.copytree(plain, tmp_path / "a", symlinks=True)
    assert_each_sample_once(tmp_path / "a", problems=2, n=8)
    drawn = samples(tmp_path / "a")
    streams = drawn.group_by("task_id").agg(pl.col("completion").n_unique())
    assert streams["completion"].to_list() == [8, 8]  # no two samples of a problem share one
    before = files(tmp_path / "a" / "samples")
    more = job("launch.py", *flags(tiny_model, "--samples", "12", "--run", "a"), cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "8 to sample" in more.stdout
    assert files(tmp_path / "a" / "samples").items() >= before.items()
    at_once = job(
        "launch.py",
        *flags(tiny_model, "--samples", "12", "--run", "b", "--max-num-seqs", "3"),
        cwd=tmp_path,
    )
    assert at_once.returncode == 0, at_once.stderr
    assert samples(tmp_path / "a").equals(samples(tmp_path / "b"))


@pytest.mark.repeats
def test_a_prompt_longer_than_the_model_ends_a_launch_in_one_line(tiny_model, tmp_path):
    done = job(
        "launch.py",
        *flags(tiny_model, "--samples", "1", "--run", "a", "--max-model-len", "64"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "tokens, but --max-model-len is 64; launch again" in done.stderr.splitlines()[-1]


LOADED = """
import json, sys, tempfile
from dataclasses import asdict
from pathlib import Path
from toolkit.backends.vllm import VllmBackend
from toolkit.errors import UsageError
from toolkit.resolve import resolve
from toolkit.records import Prompt, Request

drawn = {}
told = VllmBackend._sample
plain = VllmBackend._engine_arguments
VllmBackend._engine_arguments = lambda *a: plain(*a) | {"num_gpu_blocks_override": 24}

def sample(self, output):
    found = told(self, output)
    drawn[found.seed] = list(output.outputs[0].token_ids)
    return found

VllmBackend._sample = sample

# The mean log-probability of each seed's tokens after 70 x, as transformers has it.
def logprobs(seeds):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = AutoTokenizer.from_pretrained(sys.argv[1]).encode("x" * 70)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    for seed in seeds:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + drawn[seed]])).logits[0, len(prompt) - 1 : -1]
        tokens = torch.tensor(drawn[seed])[:, None]
        yield logits.log_softmax(-1).gather(1, tokens).mean().item()

def main():
    thrown = []
    from vllm.v1.core.sched.scheduler import Scheduler
    preempt = Scheduler._preempt_request
    Scheduler._preempt_request = lambda *a, **k: thrown.append(1) or preempt(*a, **k)
    backend = VllmBackend(resolve({
        "model": sys.argv[1], "prompt_style": "completion", "max_tokens": 150, "max_num_seqs": 6,
        "max_model_len": 512, "cpu_kv_cache_gib": 1, "top_p": 1.0, "store_logprob": True,
    }), Path(tempfile.mkdtemp()))
    try:
        backend.submit(Request("long", 0, Prompt((), "x" * 600)))
    except UsageError as error:
        refused = str(error)
    for seed in range(8):
        backend.submit(Request("a", seed, Prompt((), "x" * 70)))
    samples, loads = [], []
    while len(samples) < 8:
        samples += backend.step()
        loads.append(backend.load())
    facts = asdict(backend.describe())
    backend.close()
    print(json.dumps({
        "shares": [load.kv_cache for load in loads], "preemptions": loads[-1].preemptions,
        "thrown": len(thrown), "prompt": [s.prompt_tokens for s in samples],
        "cached": [s.cached_tokens for s in samples], "facts": facts,
        "refused": refused,
        "logprobs": [s.logprob for s in samples], "own": list(logprobs(s.seed for s in samples)),
    }))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param("0", id="in-process", marks=pytest.mark.repeats),
        pytest.param("1", id="own process"),
    ],
)
def test_the_engine_says_how_full_it_is(tiny_model, tmp_path, processes):
    """24 blocks of 32 tokens for six sequences of up to 220: some are begun again.

    Whatever was begun again, the log-probabilities are the model's own, before the temperature. A
    prompt that is longer than the model is refused, and the engine goes on.
    """
    script = tmp_path / "loaded.py"
    script.write_text(LOADED)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "VLLM_ENABLE_V1_MULTIPROCESSING": processes,
    }
    done = subprocess.run(
        [sys.executable, script, tiny_model], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    shares = [share for share in told["shares"] if share is not None]
    assert 0.9 < max(shares) <= 1
    assert shares[0] < max(shares)
    assert told["preemptions"] > 0
    if processes == "0":  # the scheduler runs here: its own count
        assert told["preemptions"] == told["thrown"]
    assert told["prompt"] == [70] * 8
    assert sorted(told["cached"])[0] == 0
    assert set(told["cached"]) <= {0, 32, 64}
    assert sum(told["cached"]) > 0  # the prompt's prefill is shared
    assert told["facts"]["device"] == "cpu"
    assert "long: its prompt has 600 tokens, but --max-model-len is 512;" in told["refused"]
    assert told["logprobs"] == pytest.approx(told["own"], abs=1e-4)


def test_a_staged_model_samples_the_same_and_the_second_task_finds_it(plain, tiny_model, tmp_path):
    node = tmp_path / "node"
    staged = ("--stage-model", str(node), "--store-logprob")
    thinking = (*staged, "--chat-arg", "think=true")
    for name, more in (("a", staged), ("b", thinking)):
        done = job(
            "launch.py", *flags(tiny_model, "--samples", "8", "--run", name), *more, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        said = done.stderr
        assert ("staged as" in said) == (name == "a")
        assert ("staged already" in said) == (name == "b")
        assert ("compiled code of an earlier engine" in said) == (name == "b")
    # Asking for log-probabilities changes no sample.
    assert samples(tmp_path / "a").drop("logprob").equals(samples(plain))
    # The template of b opens a thought, and twelve tokens do not end it.
    run = open_run(tmp_path / "b")
    assert set(sample_outcomes(run, judge_of_run(run))["kind"]) == {"no_answer"}
    assert read_taxonomy(run, judge_of_run(run)).cut["no_answer"] > 0
    run = open_run(tmp_path / "a")
    assert read_scores(run, "logprob")["score"].is_between(-7, -4).sum() == 16  # of 258 tokens
    assert set(sample_outcomes(run, judge_of_run(run))["kind"]).isdisjoint({"no_answer"})
    (model,) = (node / f"inference-scaling-{os.getuid()}" / "models").glob("[!.]*")
    assert (model / "model.safetensors").is_file()
    said = job("status.py", "a", cwd=tmp_path).stdout
    assert "engines    1 array task: 1 on a CPU" in said
    assert "kv cache   at most " in said
    assert ", 0 preemptions" in said
    spent = json.loads(job("status.py", "a", "--json", cwd=tmp_path).stdout)["spent"]
    assert spent["startup_seconds"] > spent["staging_seconds"] >= 0
    assert spent["prompt_tokens"] > spent["cached_tokens"] > 0


STARTS = """
import json, sys, tempfile
from pathlib import Path
from toolkit.backends import vllm as module
from toolkit.resolve import resolve
from toolkit.records import Prompt, Request

def start(seed=None):
    if seed is not None:
        module.secrets.randbelow = lambda most: seed
    config = resolve({"model": sys.argv[1], "prompt_style": "completion", "max_tokens": 16,
        "max_model_len": 64, "cpu_kv_cache_gib": 1, "top_p": 1.0, "temperature": 1.0,
        "seeded": False})
    backend = module.VllmBackend(config, Path(tempfile.mkdtemp()))
    for each in range(4):
        backend.submit(Request("a", each, Prompt((), "x")))
    return backend

def draw(backend, stop=99):
    samples = []
    for _ in range(stop):
        samples += backend.step()
        if len(samples) == 4:
            break
    found = backend.describe().engine_seed, [s.completion for s in samples]
    backend.close()
    return found

if __name__ == "__main__":
    own = module.secrets.randbelow
    found = [draw(start(), stop=5 if n % 4 == 3 else 99) for n in range(int(sys.argv[2]))]
    twice = [draw(start(7)) for _ in range(2)]
    print(json.dumps({"found": found, "twice": twice}))
"""


@pytest.mark.parametrize("starts", [2, pytest.param(20, marks=pytest.mark.repeats)])
def test_engines_without_seeds_of_samples_share_no_stream(tiny_model, tmp_path, starts):
    """Each fourth engine ends in the middle. Two streams agree in a letter one time in four."""
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, tiny_model, str(starts)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    seeds = [seed for seed, _ in told["found"]]
    assert len(set(seeds)) == starts
    texts = [text for _, drawn in told["found"] for text in drawn]
    assert len(texts) >= 4 * (starts - starts // 4)  # a sample may end early, in any engine
    long = [text[:12] for text in texts if len(text) >= 12]
    assert len(long) > len(texts) // 2
    assert len(set(long)) == len(long)
    # What it would look like: the same seed of the engine repeats every stream.
    (one, first), (other, second) = told["twice"]
    assert one == other == 8
    assert sorted(first) == sorted(second)


@pytest.mark.repeats
def test_kills_and_resumes_of_a_run_without_seeds_repeat_no_stream(tiny_model, tmp_path):
    """Killed with all its processes as soon as two more slices are there, four times."""
    command = [
        *(sys.executable, ROOT / "jobs/launch.py", "--no-seeded", "--run", "a"),
        *flags(tiny_model, "--samples", "80", "--max-tokens", "24", "--max-num-seqs", "8"),
        *("--prompt-style", "completion", "--temperature", "1"),
    ]
    shards = tmp_path / "a/samples"
    for kill in range(1, 5):
        process = subprocess.Popen(
            command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len([*shards.glob("*.parquet")]) < 2 * kill:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
    drawn = samples(tmp_path / "a")
    assert drawn.height == 160
    assert drawn.select("task_id", "seed").is_unique().all()
    seeds = {read_facts(path).engine.engine_seed for path in shards.glob("*.parquet")}
    assert len(seeds) == 5
    long = drawn.filter(pl.col("completion").str.len_chars() >= 12)
    assert long.height > drawn.height // 2
    assert long["completion"].str.slice(0, 12).is_unique().all()


def test_the_batch_is_full_from_slice_to_slice(tiny_model):
    """Sequences that run in each step, in vLLM's own scheduler, until nothing is left to submit."""
    command = [sys.executable, str(ROOT / "tests/bench/feeding.py"), str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["slices"] >= 20
    assert found["steps"] > 100
    assert found["fewest"] >= 0.9


def test_engines_of_all_nodes_share_what_vllm_knows_of_a_class(tmp_path, monkeypatch):
    user = tmp_path / "home/vllm/modelinfos"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for own in (tmp_path / "first", tmp_path / "second"):
        monkeypatch.setenv("VLLM_CACHE_ROOT", str(own))
        _share_model_infos(own)
        assert (own / "modelinfos").resolve() == user
    (tmp_path / "copied/modelinfos").mkdir(parents=True)  # with the compiled code of another engine
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "copied"))
    _share_model_infos(tmp_path / "copied")
    assert not (tmp_path / "copied/modelinfos").is_symlink()
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "of the user"))
    _share_model_infos(tmp_path / "own")
    assert not (tmp_path / "own").exists()
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "third"))
    _share_model_infos(tmp_path / "third")
    assert not (tmp_path / "third").exists()
