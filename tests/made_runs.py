"""Runs whose samples and verdicts are made here, without a model and without a judge's work."""

import gzip
import json
import re
from collections import Counter

import polars as pl
from shared_data import SHARED

from toolkit.problems.load import load_problems
from toolkit.records import EngineFacts, Sample, SeedRange, Slice, Verdict, answer_digest
from toolkit.runs.answers import write_map
from toolkit.runs.judge import judge_document
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import create_or_open
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import read_samples, write_shard
from toolkit.runs.verdicts import write_verdicts
from toolkit.verifiers.judges import choice_of, judge_of

CODEGEN = SHARED.parent / "codegen16b_humaneval_t0.8.jsonl.gz"
PASSED = ("passed", "", "", ())


def made_run(path, problems, samples, verdict_of=None, *, style="verbatim", answer_of=None):
    """The run at `path` with these samples, one slice for each problem.

    verdict_of: completion -> (outcome, kind, detail, suspect), None for no verdict. Without it,
    nothing is evaluated. answer_of: completion -> its answer, None for none; the completion itself.
    """
    choice = choice_of(problems[0].kind)
    identity = {"backend": "ingest", "model": "made", "prompt_style": style, "made": path.name}
    facts = {"judge": judge_document(choice), "config": {}, "problems_source": "humaneval"}
    run = create_or_open(path, identity, problems=problems, **facts)
    asked = Counter(s.task_id for s in samples)
    slices = [
        Slice(f"r000-s{i:04d}", (SeedRange(name, 0, asked[name]),)) for i, name in enumerate(asked)
    ]
    freeze_round(run.path, 0, slices)
    by_problem = {name: [] for name in asked}
    for sample in samples:
        by_problem[sample.task_id].append(sample)
    for slice_ in slices:
        own = by_problem[slice_.ranges[0].task_id]
        write_shard(run, slice_, own, ShardFacts(engine=EngineFacts("made")))
    if verdict_of:
        judge_samples(run, slices, judge_of(choice), verdict_of, answer_of or (lambda text: text))
    return run


def judge_samples(run, slices, judge, verdict_of, answer_of):
    """Write the maps of the slices, and a verdict for each answer that is to have one."""
    verdicts = {}
    for slice_ in slices:
        frame = read_samples(run.shard_path(slice_.name))
        texts = [answer_of(text) for text in frame["completion"]]
        digests = [None if text is None else answer_digest(text) for text in texts]
        write_map(
            run, slice_.name, frame.with_columns(answer=pl.Series(digests, dtype=pl.UInt64)), "made"
        )
        for task_id, text, digest in zip(frame["task_id"], texts, digests, strict=True):
            if digest is not None and (said := verdict_of(text)):
                outcome, kind, detail, suspect = said
                verdicts[task_id, digest] = Verdict(
                    task_id, digest, outcome, kind, detail, suspect, 0.1
                )
    write_verdicts(run, verdicts.values(), judge)


def codegen_rows():
    """(task_id, completion) of the 8,200 published completions of CodeGen 16B."""
    with gzip.open(CODEGEN, "rt") as lines:
        return [(row["task_id"], row["completion"]) for row in map(json.loads, lines)]


SHORT_NAMES = re.compile(
    r"\b(?!(?:in|is|if|or|and|not|for|def|len|int|str|sum|max|min|try|abs)\b)[a-z]{1,4}\b"
)


def varied(text, number):
    """The program with other names for its short variables, and with other constants."""
    if not number:
        return text
    renamed = SHORT_NAMES.sub(lambda match: match[0] + chr(96 + number), text)
    return re.sub(r"\b\d{1,4}\b", lambda match: str(int(match[0]) + 7 * number), renamed)


def large_run(path, variants=20):
    """HumanEval with `variants` of each of CodeGen's completions: with 20, 164,000 samples."""
    seeds = Counter()
    samples = []
    for task_id, text in codegen_rows():
        for number in range(variants):
            seed, tokens = seeds[task_id], 40 + len(text) // 4
            seeds[task_id] += 1
            samples.append(Sample(task_id, seed, varied(text, number), tokens, "stop"))
    return made_run(path, load_problems(), samples, by_length)


def by_length(text):
    """A verdict that depends on the text alone."""
    failures = (
        ("failed", "wrong_answer", "test line 3: assert candidate(2) == 4", ()),
        ("failed", "exception", "NameError: name 'x' is not defined", ()),
        ("failed", "syntax", "SyntaxError: invalid syntax (<string>, line 9)", ()),
    )
    which = len(text) % 8
    return PASSED if which < 3 else failures[which % 3]
