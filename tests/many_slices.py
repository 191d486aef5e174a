"""A finished run of thousands of slices, made in seconds.

Its files are written by the functions that sampling and evaluation use, in threads, but are not
forced to the disk. Completions and verdicts are made up.

python tests/many_slices.py FOLDER [--slices 8000] [--samples 2] [--verdict-files 400]
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import polars as pl

from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Sample, Slice, Verdict, answer_digest
from toolkit.resolve import resolve
from toolkit.runs.answers import write_map
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import EngineStart, FeedFacts, Origin, ShardFacts, Times, TokenCounts
from toolkit.runs.shards import SAMPLE_SCHEMA, write_shard
from toolkit.runs.verdicts import write_verdicts
from toolkit.verifiers.judges import judge_of_run

PROBLEMS = 16
TASKS = 20
"""Array tasks that the samples are said to come from."""


def make_run(folder: Path, slices: int, samples: int, verdict_files: int) -> Run:
    """A run with so many slices of so many samples each, in `folder`; all is judged.

    `slices * samples` is a multiple of the 16 problems.
    """
    flags = {
        "backend": "synthetic",
        "limit": PROBLEMS,
        "samples": slices * samples // PROBLEMS,
        "slice_samples": samples,
    }
    run = freeze_launch(plan_launch(resolve(flags), folder, folder / "run"))
    planned = run.slices()
    with mock.patch("os.fsync"), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda numbered: write_slice(run, *numbered), enumerate(planned)))
        keys = [key for slice_ in planned for key in slice_.sample_keys()]
        size = -(-len(keys) // verdict_files)
        batches = [keys[i : i + size] for i in range(0, len(keys), size)]
        list(pool.map(lambda batch: write_batch(run, batch), batches))
    return run


def write_slice(run: Run, number: int, slice_: Slice) -> None:
    """The shard and the map of a slice. Each sample is an answer of its own."""
    samples = [
        Sample(
            task_id, seed, completion(task_id, seed), 100, "length" if seed % 50 == 0 else "stop"
        )
        for task_id, seed in slice_.sample_keys()
    ]
    samples.sort(key=lambda s: (s.task_id, s.seed))
    started = 1e9 + 10 * (number // TASKS)
    facts = ShardFacts(
        origin=Origin("0.2.0", f"node{number % TASKS}", 4000, "17", str(number % TASKS), 0),
        engine=EngineFacts("vllm 0.10", "NVIDIA A100-SXM4-40GB", "bfloat16", 8192, 1),
        start=EngineStart(0, 30.0, 60.0, 256),
        times=Times(started, started + 10),
        tokens=TokenCounts(100 * len(samples), 120 * len(samples), 100 * len(samples)),
        feed=FeedFacts.of([], 0.87, 3),
    )
    write_shard(run, slice_, samples, facts)
    answers = [answer_digest(s.completion) for s in samples]
    frame = pl.DataFrame(
        [(s.task_id, s.seed, s.completion, s.n_tokens, s.finish_reason) for s in samples],
        schema=SAMPLE_SCHEMA,
        orient="row",
    )
    write_map(run, slice_.name, frame.with_columns(pl.Series("answer", answers, pl.UInt64)), "2")


def write_batch(run: Run, keys: list[tuple[str, int]]) -> None:
    """Verdicts of these samples: by their seeds, half pass."""
    verdicts = [
        Verdict(task_id, answer_digest(completion(task_id, seed)), *OUTCOMES[seed % 4], (), 0.1)
        for task_id, seed in keys
    ]
    write_verdicts(run, verdicts, judge_of_run(run))


OUTCOMES = (
    ("passed", "", ""),
    ("failed", "wrong_answer", "test line 2"),
    ("passed", "", ""),
    ("failed", "exception", "ValueError: no"),
)


def completion(task_id: str, seed: int) -> str:
    """The text of a sample."""
    return f"    return {seed} # {task_id}\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slices", type=int, default=8000)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--verdict-files", type=int, default=400)
    found = parser.parse_args()
    make_run(found.folder, found.slices, found.samples, found.verdict_files)
