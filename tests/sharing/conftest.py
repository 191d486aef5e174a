"""Judged runs to share: programs of HumanEval, and numbers under a stopping rule."""

import json

import pytest

from toolkit.config import Evaluation
from toolkit.records import EngineFacts, Problem, Sample
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import create_or_open
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import plan_round
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.ingest import ingest
from toolkit.stats.stopping import StoppingRule

FENCED = "Here:\n```python\n{}\n```\n"
WHOLE = "import math\n\ndef add(x: int, y: int):\n    return {}\n"
COMPLETIONS = {
    "HumanEval/53": [
        FENCED.format(WHOLE.format("x + y")),
        "Sure.\n" + FENCED.format(WHOLE.format("x + y")),
        FENCED.format(WHOLE.format("x - y")),
        "<think>I do not know",
    ],
    "HumanEval/23": ["    return len(string)\n", "    return 0\n"],
}


def evaluated(run):
    evaluate_run(run, Evaluation(), workers=1)
    return run


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Two problems of HumanEval, with 4 and 2 samples."""
    folder = tmp_path_factory.mktemp("programs")
    rows = [{"task_id": t, "completion": c} for t, texts in COMPLETIONS.items() for c in texts]
    (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return evaluated(ingest(folder / "s.jsonl", folder / "run", style="chat", model="m/one"))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """An adaptive run: two passes end a problem, after 2 or 4 samples."""
    said = {
        "g/0": ["It is 7.", "7", "8", "no"],
        "g/1": ["7", "also 7."],
        "g/2": ["1", "2", "-", "3"],
    }
    problems = [Problem(name, "3 + 4?", "number", '{"answer": "7"}') for name in said]
    identity = {"backend": "synthetic", "model": "m", "prompt_style": "chat", "problems": "x"}
    run = create_or_open(
        tmp_path_factory.mktemp("numbers") / "run",
        identity,
        problems=problems,
        problems_source="own",
        judge={"verifier": "number", "settings": {}},
        config={},
    )
    wanted = {name: len(texts) for name, texts in said.items()}
    plan = plan_round(0, wanted, {}, slice_samples=4, slice_seeds=2)
    freeze_round(run.path, 0, plan, StoppingRule(2, (2, 4)))
    for each in plan:
        drawn = [Sample(t, s, said[t][s], 5, "length") for t, s in each.sample_keys()]
        write_shard(run, each, drawn, ShardFacts(engine=EngineFacts("e", opens_thought=None)))
    return evaluated(run)
