"""What the doctor says of clusters and models, and its trial of what is configured."""

import json

import pytest
from run_jobs import ROOT, files, job, samples

from toolkit.config import Config, describe_config
from toolkit.errors import UsageError
from toolkit.launch.preflight import (
    _offers,
    _time_limit,
    examine_sampling,
    examine_slurm,
    run_trial,
)
from toolkit.models.footprint import Footprint, held_tokens, kv_bytes_per_token
from toolkit.models.shape import shape_of
from toolkit.resolve import resolve
from toolkit.runs.history import launches, recorded_config
from toolkit.stats.roofline import Roof, card_of

LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}


def test_the_kv_cache_of_llama_8b_on_an_a100():
    """16.06 GB of weights; 2 x 32 x 8 x 128 x 2 bytes a token."""
    per_token = kv_bytes_per_token(LLAMA_8B, "bfloat16")
    assert per_token == 131_072
    need = Footprint(16_060_522_496, per_token)
    tokens = need.kv_tokens(40 * 2**30, 0.9)
    assert tokens == ((36 * 2**30) - 16_060_522_496 - 2 * 2**30) // 131_072
    assert 256 * 400 < tokens < 256 * 2048
    assert need.kv_tokens(16 * 2**30, 0.9) < 0
    assert kv_bytes_per_token(LLAMA_8B | {"head_dim": 64}, "float32") == 131_072
    with pytest.raises(UsageError, match="no num_hidden_layers"):
        kv_bytes_per_token({"num_attention_heads": 1, "hidden_size": 8}, "auto")
    with pytest.raises(UsageError, match="--dtype half: its size is not known; valid: float32"):
        kv_bytes_per_token(LLAMA_8B, "half")


REST = {"intermediate_size": 14336, "vocab_size": 128256}


@pytest.mark.parametrize(
    ("preset", "gib", "card"),
    [
        ("llama-8b-24gb", 22.5, "A10"),
        ("llama-8b-24gb", 22.5, "L4"),
        ("llama-8b-a100", 40, "A100-40GB"),
        ("llama-8b-4xa100", 40, "A100-40GB"),
        ("llama-8b-a100-80gb", 80, "A100-80GB"),
        ("llama-8b-h100", 80, "H100"),
    ],
)
def test_a_preset_fits_its_gpu(preset, gib, card):
    """All sequences at some 400 tokens at once, of shared prompts, and one at its longest.

    A batch of twice the size has no room, or no CUDA graph (beyond 512), or is hardly faster.
    """
    config = resolve({}, ROOT / "jobs" / "presets" / f"{preset}.toml")
    engine, seeds = config.engine, config.quantity.slice_seeds
    need = Footprint(16_060_522_496, kv_bytes_per_token(LLAMA_8B, engine.dtype))
    tokens = need.kv_tokens(gib * 2**30, engine.gpu_memory_utilization)
    assert engine.max_model_len < tokens
    once, twice = engine.max_num_seqs, 2 * engine.max_num_seqs
    assert held_tokens(once, 200, 200, seeds) <= tokens
    shape = shape_of(LLAMA_8B | {"model_type": "llama"} | REST, engine.dtype)
    speeds = [Roof(shape, card_of(card), n, 400).tokens_per_second for n in (once, twice)]
    no_room = held_tokens(twice, 200, 200, seeds) > tokens
    assert no_room or twice > 512 or speeds[1] < 1.05 * speeds[0]


def test_the_blocks_of_a_prompt_count_once_for_a_problem():
    # Two whole blocks of 33 tokens are shared, the third block is each sequence's own. Three
    # sequences may be of two problems.
    assert held_tokens(3, 33, 10, seeds=3) == 16 * (2 * 2 + 3 * 1)
    assert held_tokens(3, 33, 10) == 16 * 3 * 3
    # The last token of a prompt is computed again, and so is its block.
    assert held_tokens(3, 32, 10, seeds=3) == 16 * (2 * 1 + 3 * 2)
    assert held_tokens(4, 5, 5, seeds=4) == 16 * 4
    assert held_tokens(1, 200, 200, seeds=125) == held_tokens(1, 200, 200)
    for sequences in range(1, 40):
        shared, alone = held_tokens(sequences, 100, 50, 8), held_tokens(sequences, 100, 50)
        assert held_tokens(sequences - 1, 100, 50, 8) < shared <= alone


QWEN_7B = {
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
}


@pytest.mark.parametrize(
    ("preset", "length"), [("math500-r1-7b-a100", 3800), ("livecodebench-r1-7b-a100", 7600)]
)
def test_a_preset_of_a_reasoning_model_fits_an_a100(preset, length):
    """All sequences at this length, and some at their longest; prompts have room beside thoughts."""
    config = resolve({}, ROOT / "jobs" / "presets" / f"{preset}.toml")
    engine, sampling = config.engine, config.sampling
    need = Footprint(15_231_233_024, kv_bytes_per_token(QWEN_7B, engine.dtype))
    assert need.kv_per_token == 56 * 1024
    tokens = need.kv_tokens(40 * 2**30, engine.gpu_memory_utilization)
    assert 1.0 <= tokens / (length * engine.max_num_seqs) < 1.1
    assert tokens > 10 * engine.max_model_len
    assert sampling.max_tokens == 32_768 <= engine.max_model_len - 2048
    assert (sampling.temperature, sampling.top_p, sampling.prompt_style) == (0.6, 0.95, "chat")


def test_a_node_offers_a_generic_resource_or_not():
    assert _offers("gpu:a100:4(S:0-1)", "gpu:2")
    assert _offers("gpu:a100:4(S:0-1),fpga:1", "gpu:a100:4,fpga")
    assert not _offers("gpu:a100:4(S:0-1),fpga:1", "gpu:a100:4,fpga:2")
    assert not _offers("gpu:a100:4", "gpu:h100:1")
    assert not _offers("(null)", "gpu")
    assert _offers("(null)", "")


def test_a_cluster_that_falls_silent_is_a_finding(tmp_path, monkeypatch):
    for name, lines in (("sinfo", ""), ("sbatch", ""), ("scontrol", "echo lost >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (finding,) = examine_slurm(Config())
    assert finding.line().startswith("fail  slurm         `scontrol` failed: lost; ")


FULL = {
    "backend": "synthetic",
    "prompt_style": "completion",
    "temperature": 0.3,
    "base_seed": 5,
    "stop": ("x",),
    "task_ids": tuple(f"HumanEval/{i}" for i in range(7, 20)),
    "samples": 1000,
    "adaptive": True,
    "dtype": "float16",
    "tensor_parallel_size": 2,
    "max_num_seqs": 7,
    "timeout": 2.5,
    "libraries": "none",
    "workers": 2,
    "launcher": "slurm",
    "array": 9,
    "eval_array": 3,
    "partition": "gpu",
}


@pytest.mark.slow
def test_the_trial_launches_what_is_configured(tmp_path):
    config = resolve(FULL)
    run = run_trial(config, tmp_path)
    want = json.loads(json.dumps(describe_config(config)))
    want["problem_set"]["limit"] = 4
    want["quantity"]["samples"] = 3
    want["stopping"] = describe_config(resolve({}))["stopping"]
    want["resources"] |= {"launcher": "inline", "array": 1, "eval_array": 1}
    assert recorded_config(run) == want
    assert [launch.launcher for launch in launches(run)] == ["inline"]
    assert samples(run.path).height == 12
    identity = run.manifest()["identity"]
    assert (identity["prompt_style"], identity["base_seed"]) == ("completion", 5)


@pytest.mark.slow
def test_a_trial_leaves_nothing_and_takes_no_more_problems_than_configured(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    finding = examine_sampling(resolve(FULL | {"task_ids": None, "limit": 2}))
    assert finding.line().startswith("ok    sampling      6 samples drawn and evaluated, ")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_trial_fails_as_the_launch_would():
    server = {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    finding = examine_sampling(resolve(server))
    assert finding.grade == "fail"
    assert "a trial launch failed: http://127.0.0.1:9/v1: no answer (" in finding.found
    finding = examine_sampling(resolve({"backend": "replay", "replay_file": "none.jsonl"}))
    assert "a trial launch failed: --replay-file none.jsonl: no such file" in finding.found


@pytest.mark.slow
def test_the_doctor_tries_the_preset_and_flags_of_a_launch(tmp_path):
    before = files(tmp_path)
    flags = ("--preset", "smoke", "--limit", 1, "--try-model", "--runs", tmp_path)
    done = job("doctor.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    sampling      3 samples drawn and evaluated, " in done.stdout
    done = job(
        "doctor.py",
        *flags,
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--backend",
        "openai",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert (
        "fail  sampling      a trial launch failed: http://127.0.0.1:9/v1: no answer" in done.stdout
    )
    assert files(tmp_path) == before


@pytest.mark.slow
@pytest.mark.slurm
def test_what_a_real_cluster_lacks_is_said(cluster, monkeypatch):
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])

    def grades(**flags):
        base = {"mem": "4G", "eval_mem": "4000", "cpus": 2, "eval_cpus": 2}
        found = examine_slurm(resolve(base | flags))
        return [(f.grade, f.subject) for f in found]

    fine = [("ok", "partition"), ("ok", "nodes")] * 2
    assert grades(partition="gpu", gres="gpu:a100:1") == fine
    assert grades(partition="gpu", time="2-12", mem="0", eval_time="UNLIMITED") == fine
    assert grades(partition="gpu,scavenge") == [*fine[:2], *fine]
    assert grades(partition="nope", gres="") == [("fail", "partition"), *fine[2:]]
    assert grades(gres="gpu:h100:1")[1] == ("fail", "nodes")
    assert grades(slurm=("sample.gpus=5",))[1] == ("fail", "nodes")
    assert grades(mem="1T")[1] == ("fail", "nodes")
    assert grades(cpus=9)[1] == ("fail", "nodes")
    assert grades(account="nobody")[-1][0] in ("warn", "fail")
    facts = {"MaxTime": "1-00:30:00"}
    for time, grade in (("1-0:30", "ok"), ("1471", "fail"), ("UNLIMITED", "fail")):
        assert _time_limit("gpu", facts, time).grade == grade


@pytest.mark.slow
@pytest.mark.vllm
def test_a_dozen_samples_of_a_real_model(tmp_path, tiny_model):
    flags = ("--model", tiny_model, "--max-tokens", 8, "--max-model-len", 1024, "--limit", 2)
    flags += ("--dtype", "float32", "--try-model", "--runs", tmp_path)
    done = job("doctor.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    sampling" in done.stdout
    assert "ok    model" in done.stdout
