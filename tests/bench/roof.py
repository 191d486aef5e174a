"""Output tokens per second of vLLM alone, of our sampler, and of the roof, for several batches.

Each case has an engine of its own, in a process of its own. In it two sides take turns, with the
same requests, and a first round that is not measured:

- raw: `LLM.generate` of all requests at once;
- ours: our sampler over a run, until its last shard is on disk.

Both draw with a seed for each sample, and without. BENCH_MODEL names a model directory. Without it
the model is Llama 3.1 8B by its shape, with vLLM's dummy weights: its text is noise, its speed is
not. All samples have the same length, since it has no end token. What depends on the text shows
only at its limits then: speculation where no guess is right (temperature 0.8), and where many are
(temperature 0: a dummy model repeats itself). On a CPU the shape is tiny.

The roof is `toolkit.stats.roofline`'s: from the card's data sheet, and from what the card did here.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

PROMPT, OUTPUT = 272, 256
"""Tokens of each prompt and of each completion: a context of 400 on average."""
PROBLEMS = 8


@dataclass(frozen=True)
class Case:
    """One engine. kinds: what is compared. waves: how often the batch is filled in a round.

    alone: the engine is in a process of its own, as in a task. There is no raw side then.
    """

    name: str
    batch: int
    temperature: float = 0.8
    speculation: str = "off"
    engine_arg: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("seeded", "unseeded")
    prompt: int = PROMPT
    output: int = OUTPUT
    waves: int = 3
    rounds: int = 3
    alone: bool = False


CAPTURED = ('compilation_config={"max_cudagraph_capture_size": 1024}',)
ON_GPU = (
    Case("batch 256", 256),
    Case("batch 512", 512),
    Case("batch 64", 64),
    Case("batch 128", 128),
    Case("batch 1024", 1024, waves=2, rounds=2),
    Case("batch 1024, graphs to 1024", 1024, engine_arg=CAPTURED, waves=2, rounds=2),
    Case("batch 64, n-grams, none right", 64, speculation="ngram", kinds=("unseeded",), rounds=2),
    Case("batch 64, T 0", 64, temperature=0.0, kinds=("seeded",), rounds=2),
    Case(
        "batch 64, T 0, n-grams",
        64,
        speculation="ngram",
        temperature=0.0,
        kinds=("seeded",),
        rounds=2,
    ),
    Case("batch 256, n-grams, none right", 256, speculation="ngram", kinds=("unseeded",), rounds=2),
    Case("batch 256, as a task runs it", 256, kinds=("unseeded",), alone=True),
)
ON_CPU = (
    Case("batch 8", 8, prompt=20, output=24, waves=2, rounds=2),
    Case("batch 8, T 0, n-grams", 8, 0.0, "ngram", (), ("seeded",), 20, 24, 2, 2),
    Case("batch 8, as a task runs it", 8, 0.8, "off", (), ("unseeded",), 20, 24, 2, 2, alone=True),
)


def bench() -> Iterator[dict[str, object]]:
    """The rows of the table, each as soon as it is there."""
    on_gpu = Path("/dev/nvidiactl").exists()
    if on_gpu:  # all cores: the engine's processes have one each
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("BENCH_MODEL")
        model = Path(given) if given else make_dummy(Path(folder) / "model", small=not on_gpu)
        reached = ceilings() if on_gpu else {}
        if reached:
            yield {"card": reached["device"]} | {k: v for k, v in reached.items() if k != "device"}
        chosen = os.environ.get("ROOF_CASES")
        cases = ON_GPU if on_gpu else ON_CPU
        for number, case in enumerate(cases):
            if chosen is None or str(number) in chosen.split(","):
                dummy = () if given else ("load_format=dummy",)
                case = replace(case, engine_arg=(*dummy, *case.engine_arg))
                yield from rows_of(case, model, Path(folder), reached)


def rows_of(
    case: Case, model: Path, folder: Path, reached: dict[str, Any]
) -> Iterator[dict[str, object]]:
    """The rows of one case. One that fails has a row that says so."""
    environment = os.environ | {"VLLM_CACHE_ROOT": str(folder / "cache")}
    asked = json.dumps({"case": asdict(case), "model": str(model)})
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, asked], env=environment, stdout=subprocess.PIPE, text=True
    )
    took = round(time.monotonic() - began)
    found = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("ROW: ")]
    if done.returncode:
        yield row(case, "", {"ours": [], "raw": []}, None, reached, took) | {"roof": "failed"}
    for each in found:
        yield row(case, each["kind"], each["rates"], each, reached, took)


def row(
    case: Case,
    kind: str,
    rates: dict[str, list[float]],
    told: dict[str, Any] | None,
    reached: dict[str, Any],
    took: int,
) -> dict[str, object]:
    """One row of the table."""
    from toolkit.stats.roofline import Card, Roof, Shape, card_of

    if not rates["raw"]:
        rates = rates | {"raw": [0.0] * len(rates["ours"])}
    raw, ours = (statistics.median(rates[k]) if rates[k] else 0.0 for k in ("raw", "ours"))
    ratios = [a / b for a, b in zip(rates["ours"], rates["raw"], strict=True) if b]
    roof = own = 0.0
    if told and told["shape"] and (card := card_of(told["device"])):
        shape, context = Shape(**told["shape"]), case.prompt + case.output / 2
        roof = Roof(shape, card, case.batch, context).tokens_per_second
        if reached:
            here = Card(
                "this one",
                reached["copy, TB/s"] * 1e12,
                reached["bf16, TFLOP/s"] * 1e12,
                card.memory_gib,
                "measured",
            )
            own = Roof(shape, here, case.batch, context).tokens_per_second
    return {
        "case": case.name,
        "seeds": kind,
        "raw, tokens/s": round(raw) or "-",
        "ours, tokens/s": round(ours),
        "ours / raw": f"{statistics.median(ratios):.3f}" if ratios else "-",
        "spread": f"{min(ratios):.3f}-{max(ratios):.3f}" if ratios else "-",
        "roof": round(roof) or "-",
        "ours / roof": f"{ours / roof:.0%}" if roof else "-",
        "ours / roof as measured": f"{ours / own:.0%}" if own else "-",
        "s": took,
    }


def ceilings() -> dict[str, Any]:
    """What this card does: device-to-device copies, and a large product of matrices in bf16."""
    code = """
import json, torch
from triton.testing import do_bench
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
b = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
x = torch.randn(1 << 30, device="cuda"); y = torch.empty_like(x)
ms = do_bench(lambda: a @ b, return_mode="median")
copy = do_bench(lambda: y.copy_(x), return_mode="median")
print("ROW: " + json.dumps({"device": torch.cuda.get_device_name(),
    "copy, TB/s": round(2 * x.numel() * 4 / copy / 1e9, 3),
    "bf16, TFLOP/s": round(2 * 8192**3 / ms / 1e9, 1)}))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    lines = [line[5:] for line in done.stdout.splitlines() if line.startswith("ROW: ")]
    found: dict[str, Any] = json.loads(lines[0]) if lines else {}
    return found


def make_dummy(folder: Path, *, small: bool) -> Path:
    """A model without weights: Llama 3.1 8B's configuration, and a tokenizer of as many tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = 512 if small else 128_256
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"Ġw{i}" for i in range(tokens - len(alphabet)))]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokens,
        "hidden_size": 64 if small else 4096,
        "intermediate_size": 128 if small else 14336,
        "num_hidden_layers": 2 if small else 32,
        "num_attention_heads": 2 if small else 32,
        "num_key_value_heads": 1 if small else 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": None,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class Engine:
    """The engine of a case, and the two sides."""

    def __init__(self, case: Case, model: str, folder: Path) -> None:
        from toolkit.backends.engine_process import EngineProcess
        from toolkit.backends.vllm import VllmBackend
        from toolkit.launch.prepare import freeze_launch, plan_launch
        from toolkit.records import Prompt
        from toolkit.resolve import resolve

        self.case, self.folder, self.made = case, folder, 0
        samples = case.batch * case.waves // PROBLEMS
        self.config = resolve(
            {
                "model": model,
                "prompt_style": "completion",
                "temperature": case.temperature,
                "top_p": 0.95,
                "max_tokens": case.output,
                "stop": (),
                "limit": PROBLEMS,
                "samples": samples,
                "slice_samples": 128,
                "slice_seeds": 128,
                "max_num_seqs": case.batch,
                "max_model_len": 1024,
                "speculation": case.speculation,
                "engine_arg": case.engine_arg,
                "seeded": case.kinds != ("unseeded",),
            }
        )
        self.freeze, self.plan = freeze_launch, plan_launch
        self.run = self.new_run()
        # The dummy tokenizer has a token for each letter, and so all prompts the same length.
        ids = enumerate(p.task_id for p in self.run.problems())
        self.prompts = {task_id: Prompt((), f"{n} {'a' * (case.prompt - 2)}") for n, task_id in ids}
        self.backend: Any
        if case.alone:
            name = "toolkit.backends.vllm:VllmBackend"
            self.backend = EngineProcess(self.config, name, lambda: False)
        else:
            self.backend = VllmBackend(self.config, folder)

    def new_run(self) -> Any:
        self.made += 1
        return self.freeze(self.plan(self.config, self.folder, self.folder / f"run{self.made}"))

    def ours(self) -> float:
        """Output tokens a second of our sampler, until its last shard is on disk."""
        from toolkit.stages.sampler import Sampler

        run = self.new_run()
        began = time.perf_counter()
        sampler = Sampler(run, run.slices(), self.prompts, self.backend)
        assert sampler.sample()
        return sampler.progress.tokens / (time.perf_counter() - began)

    def raw(self) -> float:
        """Output tokens a second of one call of `LLM.generate`."""
        keys = [key for slice_ in self.run.slices() for key in slice_.sample_keys()]
        prompts = [{"prompt_token_ids": self.backend._prompts[task_id]} for task_id, _ in keys]
        sampling = self.config.sampling
        params = [
            self.backend._vllm.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=seed if self.backend._seed is None else None,
            )
            for _, seed in keys
        ]
        began = time.perf_counter()
        answers = self.backend._llm.generate(prompts, params, use_tqdm=False)
        tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
        return tokens / (time.perf_counter() - began)

    def rates(self, kind: str) -> dict[str, list[float]]:
        """Both sides in turns, forwards and backwards, after a round that is not measured."""
        if not self.case.alone:
            self.backend._seed = None if kind == "seeded" else 1
        self.ours()
        found: dict[str, list[float]] = {"raw": [], "ours": []}
        for turn in range(self.case.rounds):
            sides = ("ours",) if self.case.alone else ("raw", "ours")
            for side in sides if turn % 2 == 0 else reversed(sides):
                found[side].append(self.raw() if side == "raw" else self.ours())
        return found


def main(asked: str) -> None:
    """One case, as JSON; prints a line for each of its rows."""
    told = json.loads(asked)
    case = Case(**told["case"] | {k: tuple(told["case"][k]) for k in ("engine_arg", "kinds")})
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        engine = Engine(case, told["model"], Path(folder))
        facts = engine.backend.describe()
        print(f"engine up after {time.monotonic() - began:.0f} s: {facts}", file=sys.stderr)
        for kind in case.kinds:
            rates = engine.rates(kind)
            said = {"kind": kind, "rates": rates, "device": facts.device, "engine": facts.engine}
            said["shape"] = json.loads(facts.shape) if facts.shape else None
            print("ROW: " + json.dumps(said), flush=True)
            print(said, file=sys.stderr, flush=True)
        engine.backend.close()


if __name__ == "__main__":
    main(sys.argv[1])
