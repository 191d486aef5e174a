"""A study on a real Slurm: within its bound, one array killed, resumed, one comparison."""

import json
import re
import subprocess
import time

import pytest
from run_jobs import assert_each_sample_once, job

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

STUDY = """
[study]
max_parallel = 3

[all]
preset = "smoke"
launcher = "slurm"
limit = 2
samples = 16
slice_samples = 4
array = 2
eval_cpus = 1
synthetic_rate = 3

[[cross.task]]
name = "programs"
task = "humaneval"

[[cross.task]]
name = "sums"
task = "sums.toml"

[[cross.model]]
name = "easy"
synthetic_a = 2.0

[[cross.model]]
name = "hard"
synthetic_b = 2.0
"""
SUMS = """
about = "two sums"
problems = "sums.jsonl"
[prompt]
template = "{question}"
[judge]
kind = "number"
answer = "last_number"
"""
REAL = """
[study]
max_parallel = 1

[all]
launcher = "slurm"
limit = 2
samples = 4
slice_samples = 2
slice_seeds = 1
max_tokens = 12
top_p = 1.0
gres = ""
cpus = 1
mem = "6G"
eval_cpus = 2
eval_mem = "4G"
cpu_kv_cache_gib = 1
replicates = 100

[cross]
task = ["humaneval", "sums.toml"]

[[cross.model]]
name = "embedded"

[[cross.model]]
name = "tiny"
model = "TINY"
"""
PROBLEMS = """
{"task_id": "sums/1", "question": "What is 17 + 25?", "answer": 42, "solution": "It is 42."}
{"task_id": "sums/2", "question": "What is 9 times 12?", "answer": 108, "solution": "It is 108."}
"""


def queue(env, *flags):
    command = ["squeue", "--noheader", "--array", "--format=%T %j", *flags]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def most_sampling(env, seconds=240):
    """Wait until the queue is empty; the most array tasks that were seen sampling at a time."""
    deadline, most = time.monotonic() + seconds, 0
    while lines := queue(env).splitlines():
        assert time.monotonic() < deadline, lines
        most = max(most, sum(line.startswith("RUNNING sample-") for line in lines))
        time.sleep(0.2)
    return most


def test_two_models_on_two_tasks_with_one_array_killed(cluster, tmp_path):
    def campaign(*flags):
        return job("campaign.py", "study.toml", *flags, cwd=tmp_path, env=cluster)

    for name, text in (("study.toml", STUDY), ("sums.toml", SUMS), ("sums.jsonl", PROBLEMS)):
        (tmp_path / name).write_text(text.lstrip())
    done = campaign()
    assert done.returncode == 0, done.stderr
    ids = dict(re.findall(r"submitted  (\S+): sample (\d+)", done.stdout))
    assert list(ids) == ["programs-easy", "programs-hard", "sums-easy", "sums-hard"]
    assert "submitted  comparison" in done.stdout
    while "RUNNING sample-" not in queue(cluster, f"--jobs={ids['programs-hard']}"):
        time.sleep(0.2)
    subprocess.run(["scancel", ids["programs-hard"]], env=cluster, check=True)
    told = json.loads(campaign("--status", "--json").stdout)
    assert {row["state"] for row in told["rows"]} <= {"running", "waiting", "done"}
    # Two runs of two array tasks each would be four.
    assert 2 <= most_sampling(cluster) <= 3
    status = campaign("--status", "--json")
    told = json.loads(status.stdout)
    assert status.returncode == 1, status.stderr
    assert [row["state"] for row in told["rows"]] == ["done", "stopped", "done", "done"]
    assert "cancelled" in told["rows"][1]["why"][0]
    report = tmp_path / "campaigns/study/comparison"
    # It may have been killed before its first sample.
    page = (report / "comparison.md").read_text()
    assert re.search(r"programs-hard \(incomplete\)|Not fitted yet: programs-hard\.", page)
    again = campaign("--wait")
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.findall(r"submitted  (\S+): ", again.stdout) == ["programs-hard"]
    for row in told["rows"]:
        assert_each_sample_once(tmp_path / row["path"], problems=2, n=16)
    found = json.loads((report / "comparison.json").read_text())["tasks"]
    assert {task: list(x["runs"]) for task, x in found.items()} == {
        "humaneval": ["programs-easy", "programs-hard"],
        "sums": ["sums-easy", "sums-hard"],
    }
    assert all(run["complete"] for x in found.values() for run in x["runs"].values())
    for task in found.values():
        (pair,) = task["pairs"]
        assert pair["lo"]["1"] < pair["difference"]["1"] < pair["hi"]["1"]
    assert (report / "curves.png").stat().st_size > 10_000
    assert (report / "frontier.png").stat().st_size > 10_000


@pytest.mark.repeats
@pytest.mark.vllm
def test_the_embedded_and_the_tiny_model_on_two_tasks(cluster, tmp_path, tiny_model):
    def campaign(*flags):
        return job("campaign.py", "study.toml", *flags, cwd=tmp_path, env=cluster, timeout=1500)

    (tmp_path / "study.toml").write_text(REAL.replace("TINY", str(tiny_model)))
    (tmp_path / "sums.toml").write_text(SUMS)
    (tmp_path / "sums.jsonl").write_text(PROBLEMS.lstrip())
    done = campaign()
    assert done.returncode == 0, done.stderr
    ids = dict(re.findall(r"submitted  (\S+): sample (\d+)", done.stdout))
    assert len(ids) == 4
    while "RUNNING sample-" not in queue(cluster, f"--jobs={ids['humaneval-tiny']}"):
        time.sleep(0.5)
    subprocess.run(["scancel", ids["humaneval-tiny"]], env=cluster, check=True)
    assert most_sampling(cluster, 1500) == 1
    again = campaign("--wait")
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.findall(r"submitted  (\S+): ", again.stdout) == ["humaneval-tiny"]
    told = json.loads(campaign("--status", "--json").stdout)
    for row in told["rows"]:
        assert_each_sample_once(tmp_path / row["path"], problems=2, n=4)
    assert told["total"]["tokens"] > 4 * 8
    report = tmp_path / "campaigns/study/comparison/comparison.json"
    found = json.loads(report.read_text())["tasks"]
    assert [list(task["runs"]) for task in found.values()] == [
        ["humaneval-embedded", "humaneval-tiny"],
        ["sums-embedded", "sums-tiny"],
    ]
    assert all(run["complete"] for task in found.values() for run in task["runs"].values())
