"""vLLM on the CPU with `--share-prefixes`: the same samples in any company, and vLLM's own law."""

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from run_jobs import ROOT, assert_each_sample_once, job
from scipy import stats

from toolkit.errors import UsageError
from toolkit.resolve import resolve

N = 400


@pytest.fixture(scope="module")
def drawn(tiny_model):
    """What `share_prefixes.py` prints: cold, so that there is something in common."""
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/backends/share_prefixes.py",
            tiny_model,
            "0.1",
            "0.9",
            str(N),
            "j",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def told(sample):
    """All of a sample but what it cost."""
    return {k: v for k, v in sample.items() if k not in ("cached_tokens", "computed_tokens")}


@pytest.mark.slow
@pytest.mark.vllm
def test_a_sample_is_the_same_in_any_company(drawn):
    together, alone = drawn["together"], drawn["alone"]
    assert len(together) == 2 * N
    assert {key: told(together[key]) for key in alone} == {k: told(s) for k, s in alone.items()}
    assert all(s["computed_tokens"] <= s["n_tokens"] for s in together.values())
    tokens = sum(s["n_tokens"] for s in together.values())
    computed = sum(s["computed_tokens"] for s in together.values())
    assert computed < 0.9 * tokens


@pytest.mark.slow
@pytest.mark.vllm
def test_lengths_ends_and_texts_have_the_law_of_vllm_s_own_sampler(drawn):
    ends = Counter()
    for task_id, plain in drawn["plain"].items():
        ours = [s for s in drawn["together"].values() if s["task_id"] == task_id]
        ends.update(s["finish_reason"] for s in ours)
        assert not any("j" in s["completion"] for s in ours)
        pairs = (
            ([min(s["n_tokens"], 6) for s in ours], [min(n, 6) for _, n, _ in plain]),
            ([s["finish_reason"] for s in ours], [reason for _, _, reason in plain]),
            ([s["completion"][:1] for s in ours], [text[:1] for text, _, _ in plain]),
        )
        for one, other in pairs:
            assert alike(one, other) > 0.001, (task_id, Counter(one), Counter(other))
    assert min(ends["stop"], ends["length"]) > 20


@pytest.mark.slow
@pytest.mark.vllm
def test_a_gpu_takes_the_model_runner_that_the_processor_is_written_for(drawn):
    assert drawn["second_runner"] is False


def alike(one, other):
    """The p-value of two sets of samples from one law; what is rare counts together."""
    often = {value for value, n in Counter(one + other).items() if n >= 20}
    table = np.zeros((2, len(often) + 1))
    names = {value: i for i, value in enumerate(sorted(often))}
    for row, values in enumerate((one, other)):
        for value in values:
            table[row, names.get(value, len(often))] += 1
    table = table[:, table.sum(0) > 0]
    return 1.0 if table.shape[1] == 1 else stats.chi2_contingency(table).pvalue


@pytest.mark.slow
@pytest.mark.vllm
def test_a_run_says_what_it_shares(tiny_model, tmp_path):
    flags = (
        *("--model", tiny_model, "--gres", "", "--launcher", "inline", "--share-prefixes"),
        *"--limit 2 --max-tokens 12 --samples 40 --slice-samples 40 --slice-seeds 20".split(),
        *"--temperature 0.05 --cpu-kv-cache-gib 1 --replicates 100 --run a".split(),
    )
    done = job("launch.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "a", problems=2, n=40)
    status = json.loads(job("status.py", "a", "--json", cwd=tmp_path).stdout)
    assert 0 < status["spent"]["shared_tokens"] < status["spent"]["tokens"]
    assert "% shared), " in job("status.py", "a", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backend": "synthetic"}, "--backend synthetic has no engine"),
        ({"temperature": 0.0}, "with --temperature 0 all samples are one"),
        ({"tensor_parallel_size": 2, "gres": "gpu:2"}, "works with one GPU an engine"),
        ({"speculation": "ngram"}, "launch with --speculation off"),
        ({"store_logprob": True}, "launch with --no-store-logprob"),
        (
            {"engine_arg": ("logits_processors=[]",)},
            "leave out --engine-arg logits_processors",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, says):
    with pytest.raises(UsageError, match=f"--share-prefixes: .*{says}|--share-prefixes: {says}"):
        resolve({"share_prefixes": True} | settings)
