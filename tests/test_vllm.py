"""The real engine on the CPU with a tiny random model: seeds, resume, mistakes.

In processes of their own: vLLM warns, and warnings are errors here.
"""

import json
import subprocess
import sys

import polars as pl
import pytest
from commands import ROOT, assert_each_sample_once, files, job, samples

pytestmark = [pytest.mark.slow, pytest.mark.vllm]


def flags(model, *more):
    return (
        "--model", model, "--launcher", "inline", "--limit", "2", "--max-tokens", "12",
        "--slice-samples", "8", "--slice-seeds", "4", "--gres", "", "--top-p", "1",
        "--cpu-kv-cache-gib", "1", *more,
    )  # fmt: skip


def test_a_sample_is_a_function_of_problem_and_seed(tiny_model, tmp_path):
    first = job("launch.py", *flags(tiny_model, "--samples", "8", "--run", "a"), cwd=tmp_path)
    assert first.returncode == 0, first.stderr
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


def test_a_prompt_longer_than_the_model_is_said_in_one_line(tiny_model, tmp_path):
    done = job(
        "launch.py",
        *flags(tiny_model, "--samples", "1", "--run", "a", "--max-model-len", "64"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "tokens, --max-model-len is 64: raise it" in done.stderr.splitlines()[-1]


def test_the_batch_is_full_from_slice_to_slice(tiny_model):
    """Sequences that run in each step, in vLLM's own scheduler, until nothing is left to submit."""
    command = [sys.executable, str(ROOT / "tests/bench/feeding.py"), str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["slices"] >= 20
    assert found["steps"] > 100
    assert found["fewest"] >= 0.9
