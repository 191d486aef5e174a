"""What other tools read of our exports: inspect_ai, datasets and evalplus themselves.

They stand in environments of their own, which `make interop` makes.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from run_jobs import ROOT

from toolkit.sharing import huggingface, shared_run
from toolkit.sharing.huggingface import write_dataset
from toolkit.sharing.inspect_log import write_inspect_log
from toolkit.sharing.program_files import write_programs
from toolkit.sharing.shared_run import read_shared
from toolkit.verifiers.judges import judge_of_run

pytestmark = pytest.mark.interop

SHARING = os.environ.get("SHARING_PYTHON", str(ROOT / ".venv-sharing/bin/python"))
EVALPLUS = os.environ.get("EVALPLUS_PYTHON", str(ROOT / ".venv-evalplus/bin/python"))
READ_LOG = """
import json, sys
from inspect_ai.log import read_eval_log
log = read_eval_log(sys.argv[1])
found = [[s.id, s.epoch, s.scores["passed"].value, s.output.completion] for s in log.samples]
accuracy = log.results.scores[0].metrics["accuracy"].value
print(json.dumps({"status": log.status, "samples": found, "accuracy": accuracy}))
"""
READ_SET = """
import json, os, sys
os.environ["HF_DATASETS_OFFLINE"] = "1"
from datasets import load_dataset
found = {}
for part in (None, "samples", "problems", "counts"):
    data = load_dataset(sys.argv[1], part, split="train", cache_dir=sys.argv[2])
    found[str(part)] = data.to_list()
print(json.dumps(found))
"""
READ_SOLUTIONS = """
import json, sys
from evalplus.data import load_solutions
print(json.dumps([[row["task_id"], row["solution"]] for row in load_solutions(sys.argv[1])]))
"""


def read_by(python, code, *paths):
    """What this Python prints as JSON."""
    if not Path(python).exists():
        pytest.skip(f"there is no {python}: make interop")
    known = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, *map(str, paths)],
        env=known | {"HOME": str(paths[-1].parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def shared(programs):
    return read_shared(programs, judge_of_run(programs))


def test_inspect_reads_the_log(tmp_path, shared):
    write_inspect_log(shared, tmp_path / "log.json")
    log = read_by(SHARING, READ_LOG, tmp_path / "log.json")
    wanted = [
        [t, seed + 1, "C" if outcome == "passed" else "I", completion]
        for part in shared.parts(shared.samples)
        for t, seed, outcome, completion in part.select(
            "task_id", "seed", "outcome", "completion"
        ).iter_rows()
    ]
    assert (log["status"], log["samples"]) == ("success", wanted)
    assert log["accuracy"] == pytest.approx(3 / 6)


def test_datasets_loads_each_part_of_the_directory(tmp_path, shared, monkeypatch):
    for module in (shared_run, huggingface):
        monkeypatch.setattr(module, "AT_ONCE", 4)
    write_dataset(shared, tmp_path / "set")
    assert len(list((tmp_path / "set" / "samples").iterdir())) == 2
    found = read_by(SHARING, READ_SET, tmp_path / "set", tmp_path / "cache")
    assert found["None"] == found["samples"]
    passed = {(row["task_id"], row["seed"]): row["passed"] for row in found["samples"]}
    outcomes = shared.samples.select("task_id", "seed", "outcome").iter_rows()
    assert passed == {(t, seed): outcome == "passed" for t, seed, outcome in outcomes}
    counts = {row["task_id"]: (row["n"], row["c"]) for row in found["counts"]}
    assert counts == {"HumanEval/53": (4, 2), "HumanEval/23": (2, 1)}
    assert {row["task_id"] for row in found["problems"]} == counts.keys()


def test_evalplus_loads_the_solutions(tmp_path, shared):
    write_programs(shared, "evalplus", tmp_path / "s.jsonl")
    found = read_by(EVALPLUS, READ_SOLUTIONS, tmp_path / "s.jsonl")
    assert [name for name, _ in found] == shared.samples["task_id"].to_list()
    assert any("return x + y" in solution for _, solution in found)
