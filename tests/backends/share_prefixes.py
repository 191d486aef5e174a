"""Prints, as JSON, samples of a model with shared prefixes, alone, and by vLLM's own sampler.

Arguments: model, temperature, top_p, samples of each problem, stop string ("" for none). In a
process of its own: vLLM warns, and warnings are errors in tests.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from toolkit.backends.shared_prefixes import SharingBackend
from toolkit.records import Prompt, Request
from toolkit.resolve import resolve

PROMPTS = {"a/0": "def add(x, y):\n", "a/1": "def twice(x):\n    return"}
MAX_TOKENS = 12


def draw(backend, requests):
    """The samples of these requests, by (task_id, seed)."""
    for request in requests:
        backend.submit(request)
    found = {}
    while len(found) < len(requests):
        for sample in backend.step():
            assert (sample.task_id, sample.seed) not in found
            found[sample.task_id, sample.seed] = sample
    return found


def plain(backend, settings, n):
    """[tokens, finish reason] of samples by vLLM's own sampler, on the same engine."""
    vllm, drawn = backend._vllm, {}
    params = [
        vllm.SamplingParams(**settings, max_tokens=MAX_TOKENS, seed=9_000_000 + i) for i in range(n)
    ]
    for task_id in PROMPTS:
        prompts = [{"prompt_token_ids": backend._prompts[task_id]}] * n
        outputs = [o.outputs[0] for o in backend._llm.generate(prompts, params, use_tqdm=False)]
        drawn[task_id] = [(o.text, len(o.token_ids), o.finish_reason) for o in outputs]
    return drawn


def takes_second_runner(backend):
    """Whether vLLM would take its second model runner where it has Triton, as it has on a GPU."""
    from vllm.config import vllm as deciding

    deciding.HAS_TRITON = True
    return backend._llm.llm_engine.vllm_config.use_v2_model_runner


def main():
    model, temperature, top_p, n, stop = sys.argv[1:]
    settings = {
        "temperature": float(temperature),
        "top_p": float(top_p),
        "stop": [stop] if stop else None,
    }
    config = resolve(
        {
            "model": model,
            "temperature": settings["temperature"],
            "top_p": settings["top_p"],
            "max_tokens": MAX_TOKENS,
            "prompt_style": "completion",
            "stop": (stop,) if stop else None,
            "share_prefixes": True,
            "max_num_seqs": 8,
            "cpu_kv_cache_gib": 1,
        }
    )
    backend = SharingBackend(config, Path(tempfile.mkdtemp()))
    prompts = {task_id: Prompt((("user", text),), text) for task_id, text in PROMPTS.items()}
    all_of_them = [Request(t, seed, prompts[t]) for t in PROMPTS for seed in range(int(n))]
    together = draw(backend, all_of_them)
    # One after the other: each stands alone in its row, in other company in the batch.
    turns = [Request(t, seed, prompts[t]) for seed in reversed(range(40)) for t in PROMPTS]
    alone = draw(backend, turns)
    key = "{0[0]} {0[1]}".format
    print(
        json.dumps(
            {
                "together": {key(k): asdict(s) for k, s in together.items()},
                "alone": {key(k): asdict(s) for k, s in alone.items()},
                "plain": plain(backend, settings, int(n)),
                "second_runner": takes_second_runner(backend),
            }
        )
    )


if __name__ == "__main__":
    main()
