"""The launcher on a real Slurm of ten virtual nodes: chained, killed, requeued, resumed."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from run_jobs import ROOT, assert_each_sample_once, files, job, samples

from toolkit.models.embedded import EMBEDDED_MODEL_NAME
from toolkit.report.document import read_fit
from toolkit.runs.history import launches
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import read_facts

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SMOKE = ("--preset", "smoke", "--launcher", "slurm", "--run", "run")
VLLM = (
    *("--launcher", "slurm", "--run", "run", "--array", "2", "--gres", "", "--cpus", "1"),
    *("--mem-gib", "6", "--eval-cpus", "2", "--eval-mem-gib", "4"),
    *("--cpu-kv-cache-gib", "1", "--top-p", "1", "--replicates", "100"),
)
SLOW = (*SMOKE, "--synthetic-rate", "6", "--slice-samples", "8", "--samples", "20")


def slurm(env, *command):
    done = subprocess.run(
        [str(c) for c in command], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.3)


def shards(folder):
    return sorted((folder / "run" / "samples").glob("*.parquet"))


def job_ids(done):
    found = re.search(r"submitted +sample (\d+), evaluate (\d+), fit (\d+)", done.stdout)
    assert found, done.stdout + done.stderr
    return found.groups()


def queue_is_empty(env):
    return not slurm(env, "squeue", "--noheader").strip()


def wait_for_accounts(env, jobs, condition):
    """Accounting hears of a job's end some time after the queue does."""
    states = []

    def agrees():
        told = slurm(env, "sacct", "-XDPn", "--format=State", f"--jobs={','.join(jobs)}")
        states[:] = told.splitlines()
        return condition(states)

    # A list: its states are shown as they are when the time is up.
    wait_for(agrees, ["accounting, which says", states], 60)


def test_an_array_of_ten_runs_to_the_report(cluster, tmp_path):
    done = job("launch.py", *SMOKE, "--samples", "40", "--array", "10", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    sample, evaluate, fit = job_ids(done)
    wait_for(lambda: queue_is_empty(cluster), "the three jobs")
    assert_each_sample_once(tmp_path / "run", problems=8, n=40)
    wait_for_accounts(cluster, (sample, evaluate, fit), lambda x: x == ["COMPLETED"] * 12)
    report = json.loads((tmp_path / "run/results/fit.json").read_text())
    assert report["complete"]
    assert report["problems"] == 8
    assert (tmp_path / "run/results/report.html").stat().st_size > 50_000
    status = job("status.py", "run", "--json", cwd=tmp_path, env=cluster)
    assert status.returncode == 0
    assert json.loads(status.stdout)["complete"]
    # The same seeds without Slurm give the same samples.
    inline = (*SMOKE[:3], "inline", "--run", "other", "--samples", "40")
    assert job("launch.py", *inline, cwd=tmp_path).returncode == 0
    assert samples(tmp_path / "run").equals(samples(tmp_path / "other"))
    # More samples, another array: only new seeds, and no shard is touched.
    before = files(tmp_path / "run" / "samples")
    more = (*SMOKE, "--samples", "60", "--array", "3", "--wait")
    done = job("launch.py", *more, cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    assert "160 to sample" in done.stdout
    assert files(tmp_path / "run" / "samples").items() >= before.items()
    assert_each_sample_once(tmp_path / "run", problems=8, n=60)
    # By hand, later.
    for script in ("evaluate.sh", "fit.sh"):
        environment = cluster | {"PYTHON": os.sys.executable}
        flags = ("--wait", "--parsable", "--mem=2G", "--cpus-per-task=2", f"--chdir={ROOT}")
        log, path = f"--output={tmp_path}/{script}.log", ROOT / "sbatch" / script
        said = slurm(environment, "sbatch", *flags, log, path, tmp_path / "run")
        assert said.strip().isdigit()
    assert "; 0 judged in" in (tmp_path / "evaluate.sh.log").read_text()
    assert "report: " in (tmp_path / "fit.sh.log").read_text()


def test_verdicts_come_while_it_samples_and_end_with_the_array(cluster, tmp_path):
    flags = (*SLOW, "--samples", "40", "--array", "3", "--evaluate-alongside")
    done = job("launch.py", *flags, cwd=tmp_path, env=cluster)
    found = re.search(r"sample (\d+), alongside (\d+), evaluate (\d+), fit \d+", done.stdout)
    assert found, done.stdout + done.stderr
    array, alongside, evaluation = found.groups()
    run = Run(tmp_path / "run")
    wait_for(lambda: [*run.verdicts_dir.glob("*.parquet")], "the first verdicts")
    status = json.loads(job("status.py", "run", "--json", cwd=tmp_path, env=cluster).stdout)
    assert status["evaluated"] > 0
    assert status["pass_at_k"]
    assert status["ledger"]["samples"] < status["ledger"]["samples_planned"]
    # The array ends before its time: so does what is beside it, when it has judged what is there.
    slurm(cluster, "scancel", f"{array}_1")
    wait_for(lambda: queue_is_empty(cluster), "all jobs")
    log = (run.slurm_dir / f"{alongside}_0_log.out").read_text()
    assert "Exiting after successful completion" in log
    assert "; 0 judged in" in (run.slurm_dir / f"{evaluation}_0_log.out").read_text()
    assert not read_fit(run.results_dir).complete


def test_a_killed_task_loses_only_unfinished_slices(cluster, tmp_path):
    done = job("launch.py", *SLOW, "--array", "4", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: shards(tmp_path), "the first shard")
    victims = slurm(cluster, "pgrep", "-f", f"submitit.core._submit {tmp_path}/run/slurm").split()
    tasks = [p for p in victims if b"python" in Path(f"/proc/{p}/comm").read_bytes()]
    os.kill(int(tasks[0]), signal.SIGKILL)
    early = files(tmp_path / "run" / "samples")
    wait_for(lambda: queue_is_empty(cluster), "evaluation and fit of what is there")
    assert 0 < len(shards(tmp_path)) < 20
    assert not json.loads((tmp_path / "run/results/fit.json").read_text())["complete"]
    assert "INCOMPLETE" in (tmp_path / "run/results/report.md").read_text()
    assert job("status.py", "run", cwd=tmp_path, env=cluster).returncode == 1
    done = job("launch.py", *SLOW, "--array", "3", "--wait", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    kept = files(tmp_path / "run" / "samples")
    assert {p: d for p, d in early.items() if p.suffix == ".parquet"}.items() <= kept.items()
    assert_each_sample_once(tmp_path / "run", problems=8, n=20)


def test_a_requeued_task_goes_on_with_what_is_missing(cluster, tmp_path):
    done = job("launch.py", *SLOW, "--array", "2", cwd=tmp_path, env=cluster)
    sample, _, fit = job_ids(done)
    wait_for(lambda: shards(tmp_path), "the first shard")
    early = files(tmp_path / "run" / "samples")
    slurm(cluster, "scontrol", "requeue", f"{sample}_0")
    wait_for(lambda: queue_is_empty(cluster), "the end")
    kept = files(tmp_path / "run" / "samples")
    assert {p: d for p, d in early.items() if p.suffix == ".parquet"}.items() <= kept.items()
    assert_each_sample_once(tmp_path / "run", problems=8, n=20)
    assert json.loads((tmp_path / "run/results/fit.json").read_text())["complete"]
    wait_for_accounts(cluster, [fit], lambda x: x == ["COMPLETED"])


@pytest.mark.vllm
def test_gsm8k_by_the_embedded_model_runs_to_the_report(cluster, tmp_path):
    """Two array tasks, each with the real engine; sums that a small model can do, in GSM8K's form."""
    sums = [{"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"} for n in (1, 2)]
    (tmp_path / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    few = ("--problems", "gsm8k.jsonl", "--task-ids", "gsm8k/0", "gsm8k/1", "--samples", "6")
    work = ("--preset", "gsm8k-quickstart", *few, "--max-tokens", "40", "--slice-samples", "6")
    done = job("launch.py", *VLLM, *work, "--wait", cwd=tmp_path, env=cluster, timeout=500)
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "run", problems=2, n=6)
    assert samples(tmp_path / "run")["n_tokens"].max() <= 40
    found = read_fit(tmp_path / "run/results")
    assert (found.complete, found.judge.verifier, found.sampling.model) == (
        *(True, "number"),
        EMBEDDED_MODEL_NAME,
    )
    assert found.pass_at_k[6] > 0
    drawn = samples(tmp_path / "run")["n_tokens"]
    assert found.output_tokens.a_sample == pytest.approx(drawn.mean())
    assert "SmolLM2" in (tmp_path / "run/results/report.md").read_text()


def test_adaptive_rounds_submit_one_another(cluster, tmp_path):
    rule = ("--adaptive", "--stop-r", "3", "--stop-min", "10", "--stop-cap", "60")
    flags = ("--preset", "smoke", "--limit", "24", *rule)
    where = ("--launcher", "slurm", "--run", "run", "--array", "2", "--wait")
    done = job("launch.py", *flags, *where, cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    entries = launches(Run(tmp_path / "run"))
    assert len(entries) > 2
    assert [entry.round for entry in entries] == list(range(len(entries)))
    assert all(set(entry.jobs) == {"sample", "evaluate", "next"} for entry in entries)
    assert len({entry.launch for entry in entries}) == len(entries)
    assert not (tmp_path / "run/launching").exists()
    inline = (*flags, "--launcher", "inline", "--run", "other")
    assert job("launch.py", *inline, cwd=tmp_path).returncode == 0
    assert samples(tmp_path / "run").equals(samples(tmp_path / "other"))
    found, other = (
        json.loads((tmp_path / run / "results/fit.json").read_text()) for run in ("run", "other")
    )
    assert found["complete"]
    assert found["k_max"] == 60
    assert found["fail_at_k"] == other["fail_at_k"]


@pytest.mark.repeats
def test_adaptive_rounds_follow_while_the_array_samples(cluster, tmp_path):
    rule = ("--adaptive", "--stop-r", "3", "--stop-min", "10", "--stop-cap", "120")
    small = ("--limit", "16", "--slice-samples", "20", "--slice-seeds", "10", "--max-num-seqs", "4")
    flags = ("--preset", "smoke", *rule, "--stop-batch", "20", *small)
    where = ("--launcher", "slurm", "--run", "run", "--array", "3", "--synthetic-rate", "6")
    done = job("launch.py", *flags, *where, "--evaluate-alongside", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "run")
    wait_for(lambda: run.round_count() > 1, "a round that follows")
    array = launches(run)[0].jobs["sample"]
    slurm(cluster, "scontrol", "requeue", f"{array}_0")
    wait_for(lambda: queue_is_empty(cluster), "all jobs")
    assert read_fit(run.results_dir).complete
    inline = (*flags, "--launcher", "inline", "--run", "other")
    assert job("launch.py", *inline, cwd=tmp_path).returncode == 0
    assert samples(run.path).equals(samples(tmp_path / "other"))
    other = read_fit(tmp_path / "other/results")
    assert read_fit(run.results_dir).fail_at_k == other.fail_at_k


def test_more_tasks_than_an_array_may_have_become_several_arrays(cluster, tmp_path):
    flags = (*SMOKE, "--samples", "20", "--slice-samples", "8", "--array", "20")
    done = job("launch.py", *flags, "--max-parallel", "6", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    (entry,) = launches(Run(tmp_path / "run"))
    assert list(entry.jobs) == ["sample", "sample-2", "evaluate", "fit"]
    for stage in ("sample", "sample-2"):
        shown = slurm(cluster, "squeue", "-h", f"--jobs={entry.jobs[stage]}", "--format=%K")
        assert "%3" in shown or not re.search(r"[,-]", shown), shown
    again = job("launch.py", *flags, cwd=tmp_path, env=cluster)
    assert again.returncode == 2
    assert "in the queue already: " in again.stderr
    wait_for(lambda: queue_is_empty(cluster), "the end")
    assert_each_sample_once(tmp_path / "run", problems=8, n=20)
    assert json.loads((tmp_path / "run/results/fit.json").read_text())["complete"]


def test_cancel_ends_the_jobs_of_this_run_only_and_resume_goes_on(cluster, tmp_path):
    mine = slurm(cluster, "sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 300").strip()
    slower = (*SLOW, "--array", "2", "--synthetic-rate", "1")
    assert job("launch.py", *slower, cwd=tmp_path, env=cluster).returncode == 0
    wait_for(lambda: shards(tmp_path), "the first shard")
    shown = job("cancel.py", "run", "--dry-run", cwd=tmp_path, env=cluster)
    assert shown.stdout.count("would cancel") == 3
    status = job("status.py", "run", cwd=tmp_path, env=cluster).stdout
    assert re.search(r"^in queue   \d+_1 sample RUNNING node\d+$", status, re.MULTILINE)
    assert re.search(r"^in queue   \d+ fit PENDING Dependency$", status, re.MULTILINE)
    done = job("cancel.py", "run", cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"sample", "evaluate", "fit"}
    wait_for(lambda: slurm(cluster, "squeue", "-h", "--format=%A").split() == [mine], "their end")
    slurm(cluster, "scancel", mine)
    assert "no job of this run" in job("cancel.py", "run", cwd=tmp_path, env=cluster).stdout
    assert len(launches(Run(tmp_path / "run"))[-1].cancelled) == 3
    assert 0 < len(shards(tmp_path)) < 20
    resume = ("--resume", "--run", "run", "--synthetic-rate", "0", "--wait")
    done = job("launch.py", *resume, cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "run", problems=8, n=20)


def test_a_short_time_limit_becomes_a_chain_of_requeues(cluster, tmp_path):
    """One slice of 128 s in a limit of two minutes, of which Slurm leaves as little as thirty s.

    Each restart begins with the samples of those before, and its shard tells of all.
    """
    work = ("--synthetic-rate", "1.5", "--slice-samples", "192", "--samples", "24", "--time", "2")
    done = job("launch.py", *SMOKE, *work, "--wait", cwd=tmp_path, env=cluster, timeout=600)
    assert done.returncode == 0, done.stderr
    assert_each_sample_once(tmp_path / "run", problems=8, n=24)
    logs = "".join(p.read_text() for p in (tmp_path / "run/slurm").glob("*_0_log.out"))
    assert "requeued, for the 1. time" in logs
    assert "SIGUSR2: stopping" in logs
    (shard,) = shards(tmp_path)
    attempts = read_facts(shard).attempts()
    assert [a.origin.slurm_restarts for a in attempts] == list(range(len(attempts)))
    assert len(attempts) > 1
    assert all(a.tokens.output > 0 for a in attempts)
    assert not list((tmp_path / "run/partial").iterdir())
    inline = (*SMOKE[:3], "inline", "--run", "other", "--samples", "24")
    assert job("launch.py", *inline, cwd=tmp_path).returncode == 0
    assert samples(tmp_path / "run").equals(samples(tmp_path / "other"))


@pytest.mark.repeats
def test_ten_faults_lose_nothing(cluster, tmp_path):
    from slurm.chaos import small_disk, survive

    with small_disk(tmp_path):
        print(survive(cluster, tmp_path, faults=10, seed=7, n=45))


@pytest.mark.repeats
@pytest.mark.vllm
def test_two_tasks_of_real_vllm_survive_a_preemption(cluster, tmp_path, tiny_model):
    work = ("--limit", "4", "--samples", "60", "--max-tokens", "100", "--slice-samples", "6")
    pace = ("--slice-seeds", "6", "--max-num-seqs", "2")
    where = ("--partition", "scavenge", "--cpu-partition", "cpu")
    flags = (*VLLM, "--model", tiny_model, *work, *pace, *where)
    done = job("launch.py", *flags, cwd=tmp_path, env=cluster)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: shards(tmp_path), "the first shard")
    urgent = ("--partition=gpu", "--exclusive", "--nodes=10", "--output=/dev/null")
    slurm(cluster, "sbatch", *urgent, "--job-name=urgent", "--wrap=sleep 2")
    early = files(tmp_path / "run" / "samples")
    assert len(early) < 40
    wait_for(lambda: queue_is_empty(cluster), "the requeued tasks, evaluation and fit", 500)
    kept = files(tmp_path / "run" / "samples")
    assert {p: d for p, d in early.items() if p.suffix == ".parquet"}.items() <= kept.items()
    assert_each_sample_once(tmp_path / "run", problems=4, n=60)
    assert json.loads((tmp_path / "run/results/fit.json").read_text())["complete"]
    sample = launches(Run(tmp_path / "run"))[0].jobs["sample"]
    wait_for_accounts(cluster, [sample], lambda x: {"PREEMPTED", "REQUEUED"} & set(x))
