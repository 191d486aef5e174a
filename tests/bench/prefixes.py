"""How much of repeated sampling is the same prefix again, and what `--share-prefixes` makes of it.

`prefixes`: of sets of completions, all tokens over the distinct prefixes, by the number m of samples
of a problem. Expected over all subsets of m of the n samples there are, exactly: a prefix that c of
them have is in a subset with probability 1 - C(n - c, m) / C(n, m), as for pass@k. Beside it what
a GPU would gain on Llama 3.1 8B by the roofline, if its batch is always full: a branch computes the
tokens of its last block of the KV cache once more.

`sharing`: samples a second of the embedded model on the CPU, in turns on one engine: sharing, each
sample in a row of its own, and `LLM.generate`; of one problem. All of it is one thread of one
process. So the seconds are those of its CPU time: others on the machine hardly change them. The
last column has the ratio of wall-clock time.

SHARING_SAMPLES, SHARING_PAIRS and, for `prefixes`, SHARING_PROBLEMS change the size. SHARING_ONLY
is a part of the names of the cases to measure, such as "T 0.3" or "gsm8k".
"""

import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sampling import without_statistics

from toolkit.backends.prefix_tree import Row
from toolkit.backends.shared_prefixes import SharingBackend
from toolkit.launch.prepare import plan_launch
from toolkit.models.embedded import embedded_model
from toolkit.models.shape import shape_of
from toolkit.records import Request
from toolkit.resolve import resolve
from toolkit.stats.passk import pass_at_k
from toolkit.stats.roofline import Roof, card_of
from toolkit.verifiers.base import prompts_of

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
sys.path.append(str(Path(__file__).resolve().parents[1]))

from llama_8b import LLAMA_8B

DATA = Path(__file__).resolve().parents[3] / "shared/data"
CODEGEN = DATA / "codegen16b_humaneval_t0.8.jsonl.gz"
GSM8K = DATA / "tasks/gsm8k/test.jsonl.gz"
"""Without this file, the problems come from the Hub."""
SIZES = (16, 50, 64, 128, 1000)
BLOCK = 16
"""Tokens of a block of the KV cache on a GPU."""
SEQUENCES, CONTEXT = 256, 400
MAX_TOKENS = 100
PROBLEMS = {
    "humaneval": ("HumanEval/53", "HumanEval/7", "HumanEval/23", "HumanEval/35"),
    "gsm8k": ("gsm8k/1", "gsm8k/269", "gsm8k/3", "gsm8k/117"),
}
Texts = dict[str, list[tuple[int, ...]]]
"""Problem -> tokens of each of its completions."""


def bench() -> Iterator[dict[str, object]]:
    """The ratios of CodeGen's completions and of the embedded model's."""
    case = "CodeGen-16B, T 0.8, HumanEval"
    if CODEGEN.is_file() and _asked(case):
        yield from ratios(case, _codegen())
    problems = int(os.environ.get("SHARING_PROBLEMS", "4"))
    for task, temperature, top_p in (
        ("humaneval", 0.7, 0.9),
        ("humaneval", 0.8, 1.0),
        ("humaneval", 0.3, 0.9),
        ("gsm8k", 0.7, 0.9),
    ):
        case = f"embedded model, T {temperature:g}, top_p {top_p:g}, {task}"
        if _asked(case):
            side = Side(task, temperature, top_p, problems)
            texts = side.draw(side.requests())
            side.backend.close()
            yield from ratios(case, texts)


def _asked(case: str) -> bool:
    return os.environ.get("SHARING_ONLY", "") in case


def ratios(case: str, texts: Texts) -> Iterator[dict[str, object]]:
    """A row for each number of samples that all problems have."""
    least = min(map(len, texts.values()))
    for m in [size for size in SIZES if size <= least]:
        parts = [_expected(each, m) for each in texts.values()]
        tokens, distinct, branches = np.array(parts).sum(0)
        each = [a / b for a, b, _ in parts]
        row: dict[str, object] = {
            "completions": case,
            "problems": len(texts),
            "n": least,
            "m": m,
            "tokens a sample": round(tokens / m / len(texts), 1),
            "all / distinct": round(tokens / distinct, 3),
            "by problem": f"{min(each):.2f}-{max(each):.2f}",
            "branches a sample": round(branches / m / len(texts), 3),
        }
        for card in ("A100-40GB", "H100"):
            row[f"gain, {card}"] = round(_gain(card, tokens, distinct, branches), 3)
        yield row


def _expected(texts: Sequence[tuple[int, ...]], m: int) -> tuple[float, float, float]:
    """Of m of these completions: tokens, distinct prefixes, and branches from one row to another."""
    n = len(texts)
    prefixes = Counter(text[: i + 1] for text in texts for i in range(len(text)))
    held = np.array(list(prefixes.values()))
    whole = np.array(list(Counter(texts).values()))
    tokens = m * sum(map(len, texts)) / n
    distinct = float(pass_at_k(n, held, m).sum())
    return tokens, distinct, float(pass_at_k(n, whole, m).sum()) - 1


def _gain(name: str, tokens: float, distinct: float, branches: float) -> float:
    shape, card = shape_of(LLAMA_8B, "bfloat16", "", "auto"), card_of(name)
    assert shape is not None
    assert card is not None
    step = Roof(shape, card, SEQUENCES, CONTEXT).step_seconds / SEQUENCES
    again = (BLOCK - 1) / 2 * 2 * shape.multiplied() / card.flops
    return tokens * step / (distinct * step + branches * again)


def _codegen() -> Texts:
    """The 50 completions of each problem, in the embedded model's tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(embedded_model() / "tokenizer.json"))
    found: Texts = {}
    with gzip.open(CODEGEN, "rt") as lines:
        for row in map(json.loads, lines):
            tokens = tokenizer.encode(row["completion"], add_special_tokens=False).ids
            found.setdefault(row["task_id"], []).append(tuple(tokens))
    return found


class Keeping(SharingBackend):
    """Keeps the tokens of each sample, beside its text."""

    kept: Texts

    def _end(self, row: Row, tokens: list[int], reason: str, cached: int, made: int) -> None:
        self.kept.setdefault(row.task_id, []).extend([tuple(tokens)] * len(row.seeds))
        super()._end(row, tokens, reason, cached, made)


class Side:
    """One engine with shared prefixes, and the samples of some problems of a task."""

    def __init__(self, task: str, temperature: float, top_p: float, problems: int) -> None:
        self.n = int(os.environ.get("SHARING_SAMPLES", "200"))
        folder = Path(tempfile.mkdtemp())
        self.config = resolve(
            {
                "task": task,
                "problems": str(GSM8K) if task == "gsm8k" and GSM8K.is_file() else "",
                "task_ids": PROBLEMS[task][:problems],
                "max_tokens": MAX_TOKENS,
                "temperature": temperature,
                "top_p": top_p,
                "share_prefixes": True,
                "max_num_seqs": 64,
                "cpu_kv_cache_gib": 3,
            }
        )
        plan = plan_launch(self.config, folder, folder / "run")
        self.prompts = dict(prompts_of(plan.problems))
        self.backend = Keeping(self.config, folder)
        self.computed = 0

    def requests(self) -> list[Request]:
        """Problem by problem."""
        return [Request(t, s, prompt) for t, prompt in self.prompts.items() for s in range(self.n)]

    def draw(self, requests: Sequence[Request]) -> Texts:
        """The tokens of each sample, as the engine takes the requests."""
        self.backend.kept = {}
        waiting, flying, self.computed = iter(requests), 0, 0
        while True:
            while flying < self.backend.max_in_flight and (request := next(waiting, None)):
                self.backend.submit(request)
                flying += 1
            if not flying:
                return self.backend.kept
            finished = self.backend.step()
            flying -= len(finished)
            self.computed += sum(sample.computed_tokens or 0 for sample in finished)

    def alone(self) -> Texts:
        """Each sample in a row of its own."""
        self.backend.largest_group = 1
        try:
            return self.draw(self.requests())
        finally:
            del self.backend.largest_group

    def generate(self) -> Texts:
        """By `LLM.generate`, with vLLM's own sampler and a seed for each sample."""
        sampling, requests = self.config.sampling, self.requests()
        params = [
            self.backend._vllm.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=request.seed,
            )
            for request in requests
        ]
        prompts = [{"prompt_token_ids": self.backend._prompts[r.task_id]} for r in requests]
        with without_statistics(self.backend._llm.llm_engine):
            outputs = self.backend._llm.generate(prompts, params, use_tqdm=False)
        found: Texts = {}
        for request, output in zip(requests, outputs, strict=True):
            found.setdefault(request.task_id, []).append(tuple(output.outputs[0].token_ids))
        return found


def sharing() -> Iterator[dict[str, object]]:
    """Samples a second by sharing, alone in rows, and by `LLM.generate`, forwards and backwards."""
    for task, temperature, top_p in (("humaneval", 0.7, 0.9), ("humaneval", 0.3, 0.9)):
        case = f"T {temperature:g}, top_p {top_p:g}"
        if not _asked(case):
            continue
        side = Side(task, temperature, top_p, 1)
        yield from compared(f"{len(side.prompts)} problem x {side.n}, {case}", side)
        side.backend.close()


def compared(case: str, side: Side) -> Iterator[dict[str, object]]:
    """Sharing against each of the other two, in turns on one engine."""
    sides: dict[str, Callable[[], Texts]] = {
        "sharing": lambda: side.draw(side.requests()),
        "alone": side.alone,
        "LLM.generate": side.generate,
    }
    side.draw(side.requests()[:: side.n // 4])  # not measured: the first prompts and steps
    clocks = time.process_time, time.perf_counter
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    ideal: list[float] = []
    for turn in range(int(os.environ.get("SHARING_PAIRS", "5"))):
        for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            side.backend._llm.reset_prefix_cache()
            began = [clock() for clock in clocks]
            texts = sides[name]()
            cpu, wall = (clock() - then for clock, then in zip(clocks, began, strict=True))
            seconds[name].append((cpu, wall))
            if name == "sharing":
                tokens = sum(len(text) for each in texts.values() for text in each)
                ideal.append(tokens / side.computed)
            print(f"{case}: {name}, {cpu:.0f} s of CPU, {wall:.0f} s", file=sys.stderr, flush=True)
    ours = [cpu for cpu, _ in seconds["sharing"]]
    for name in ("alone", "LLM.generate"):
        pairs = list(zip(seconds[name], seconds["sharing"], strict=True))
        gains = [their[0] / our[0] for their, our in pairs]
        of_ideal = [gain / most for gain, most in zip(gains, ideal, strict=True)]
        yield {
            "case": case,
            "sharing, samples/s": round(len(side.prompts) * side.n / statistics.median(ours), 2),
            "against": name,
            "ratio": round(statistics.median(gains), 3),
            "spread": f"{min(gains):.3f}-{max(gains):.3f}",
            "pairs": len(gains),
            "all / computed tokens": round(statistics.median(ideal), 3),
            "ratio / that": round(statistics.median(of_ideal), 3),
            "ratio, wall clock": round(statistics.median(t[1] / o[1] for t, o in pairs), 3),
        }
