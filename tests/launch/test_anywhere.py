"""Resume from anywhere, where it was launched before, and never on a login node by mistake."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from run_jobs import ROOT, SMOKE, assert_each_sample_once, files, job, samples

from toolkit.config import Engine, Sampling
from toolkit.errors import UsageError
from toolkit.launch.identity import run_identity
from toolkit.launch.prepare import absolute_paths
from toolkit.problems.load import load_problems
from toolkit.resolve import resolve
from toolkit.runs.history import launches
from toolkit.runs.run import Run

pytestmark = pytest.mark.slow

OWN = {
    "task_id": "own/0",
    "prompt": "def f():\n",
    "test": "def check(f):\n    assert f() == 1\n",
    "entry_point": "f",
    "canonical_solution": "    return 1\n",
}


@pytest.fixture
def replayed(tmp_path):
    """A run of a problems file and a file of completions, both named by relative paths."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "own.jsonl").write_text(json.dumps(OWN) + "\n")
    told = [{"task_id": "own/0", "completion": f"    return {i % 2}\n"} for i in range(6)]
    (folder / "told.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    flags = ("--backend", "replay", "--replay-file", "told.jsonl", "--problems", "own.jsonl")
    pace = ("--samples", 6, "--slice-samples", 2, "--launcher", "local", "--run", "run")
    done = job("launch.py", *flags, *pace, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "own.jsonl").unlink()
    return folder


def lose_a_shard(run):
    next((run / "samples").glob("*.parquet")).unlink()


def test_a_moved_run_is_resumed_by_another_checkout_in_another_directory(replayed, tmp_path):
    whole = samples(replayed / "run")
    lose_a_shard(replayed / "run")
    away = (replayed / "run").rename(tmp_path / "moved, ü")
    checkout = tmp_path / "checkout"
    for name in ("toolkit", "jobs"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.pyc"))
    env = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, str(checkout / "jobs/launch.py"), "--resume", "--run", str(away)]
    # In a directory that is there no more.
    gone = 'mkdir gone && cd gone && rmdir "$PWD" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", gone, "sh", *command], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert samples(away).equals(whole)
    assert [line.path for line in launches(Run(away))] == [str(replayed / "run"), str(away)]


def test_a_run_needs_its_completions_only_for_what_is_missing(replayed, tmp_path):
    whole, run = samples(replayed / "run"), replayed / "run"
    held = (replayed / "told.jsonl").rename(tmp_path / "elsewhere.jsonl")
    resume = ("launch.py", "--resume", "--run", run)
    done = job(*resume, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lose_a_shard(run)
    before = files(run)
    done = job(*resume, cwd=tmp_path)
    assert done.returncode == 2
    assert f"--replay-file {replayed}/told.jsonl: no such file; give a JSONL" in done.stderr
    assert files(run) == before
    done = job(*resume, "--replay-file", held.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert samples(run).equals(whole)


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "one").mkdir(parents=True)
    flags = {"model": "models/one", "stage_model": "disk", "replay_file": "none.jsonl"}
    found = absolute_paths(resolve(flags))
    assert found.sampling.model == str(tmp_path / "models/one")
    assert found.engine.stage_model == str(tmp_path / "disk")
    assert found.engine.replay_file == "none.jsonl"
    served = absolute_paths(resolve({"backend": "openai", "model": "models/one"}))
    assert served.sampling == Sampling(backend="openai", model="models/one")
    hub = absolute_paths(resolve({"model": "org/name", "stage_model": "auto"}))
    assert (hub.sampling.model, hub.engine) == ("org/name", Engine(stage_model="auto"))


def test_what_a_run_holds_tells_of_a_model_that_is_gone_but_of_nothing_else(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    problems = load_problems(limit=1)
    config = resolve({"model": str(folder), "temperature": 0.5})
    held = run_identity(config, problems)
    shutil.rmtree(folder)
    assert run_identity(config, problems, held) == held
    other = run_identity(resolve({"model": str(folder)}), problems, held)
    assert {key for key in held if held[key] != other[key]} == {"temperature"}
    with pytest.raises(UsageError, match="no such directory"):
        run_identity(config, problems)
    with pytest.raises(UsageError, match="no such directory"):
        run_identity(config, problems, {"model": "synthetic"})


@pytest.fixture
def silent(tmp_path):
    """The environment of a login node whose controller does not answer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sinfo", "sbatch", "squeue"):
        said = f"{name}: error: Unable to contact slurm controller (connect failure)"
        (folder / name).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
    return os.environ | {"PATH": path, "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_a_login_node_whose_controller_is_silent_samples_only_by_name(silent, tmp_path):
    flags = tuple(flag for flag in SMOKE if flag not in ("--launcher", "inline"))
    done = job("launch.py", *flags, "--run", "run", cwd=tmp_path, env=silent)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "--launcher auto: `sinfo` failed: sinfo: error: Unable to contact slurm" in said
    assert said.endswith("or use --launcher local to work on this machine")
    assert not (tmp_path / "run").exists()
    # The site says where.
    site = tmp_path / "config/inference-scaling/site.toml"
    site.parent.mkdir(parents=True)
    site.write_text('[resources]\nlauncher = "slurm"\n')
    done = job("launch.py", *flags, "--run", "run", cwd=tmp_path, env=silent)
    assert "--launcher slurm: `sinfo` failed" in done.stderr
    site.write_text('[resources]\nlauncher = "inline"\n')
    done = job("launch.py", *flags, "--run", "run", cwd=tmp_path, env=silent)
    assert done.returncode == 0, done.stderr
    assert "launcher   inline" in done.stdout
    site.unlink()
    # From then on the run says where: nobody is asked.
    for again in (("--resume",), flags):
        done = job("launch.py", *again, "--run", "run", cwd=tmp_path, env=silent)
        assert done.returncode == 0, done.stderr
        assert "launcher   inline" in done.stdout
    assert_each_sample_once(tmp_path / "run", problems=2, n=4)


def test_a_run_of_slurm_goes_on_elsewhere_only_by_name(silent, tmp_path):
    assert job("launch.py", *SMOKE, "--run", "run", cwd=tmp_path).returncode == 0
    history = tmp_path / "run/launches.jsonl"
    history.write_text(
        history.read_text().replace('"launcher": "inline"', '"launcher": "slurm"', 1)
    )
    none = silent | {"PATH": str(tmp_path)}
    for env, says in ((silent, "`sinfo` failed"), (none, "Slurm is not set up on this machine")):
        done = job("launch.py", "--resume", "--run", "run", cwd=tmp_path, env=env)
        assert done.returncode == 2
        assert f"{tmp_path}/run: was launched on Slurm: {says}" in done.stderr
        assert "use --launcher local" in done.stderr
    done = job(
        "launch.py", "--resume", "--run", "run", "--launcher", "local", cwd=tmp_path, env=silent
    )
    assert done.returncode == 0, done.stderr
    assert "in queue   not known: `squeue` failed" in done.stdout
    assert launches(Run(tmp_path / "run"))[-1].launcher == "local"
