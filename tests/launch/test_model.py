"""The model of a launch: fetched before anything is submitted, pinned, and offline from then on."""

import json
import os
import re
import subprocess
import sys

import polars as pl
import pytest
from models.fake_hub import (
    NAME,
    NEW,
    OLD,
    SECRET,
    FakeHub,
    Model,
    commit_of,
    contents,
    environment,
    tiny_hub,
)
from run_jobs import ROOT, assert_each_sample_once, files, job

from toolkit.config import Engine, Sampling
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch.model import describe_model, examine_model, with_model
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.models.footprint import read_footprint
from toolkit.resolve import resolve

LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
WHERE = ("--launcher", "inline", "--limit", "1", "--samples", "2", "--gres", "")


@pytest.fixture
def hub():
    with tiny_hub() as found:
        yield found


@pytest.fixture
def user(hub, tmp_path):
    """The environment of a user of this hub, whose vLLM cannot be imported."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "vllm.py").write_text("raise ImportError('none here')")
    (tmp_path / "work").mkdir()
    return environment(hub, tmp_path, PYTHONPATH=f"{tmp_path / 'stub'}:{ROOT}")


def launch(user, folder, *flags):
    return job("launch.py", "--model", NAME, *WHERE, *flags, cwd=folder / "work", env=user)


def recorded(folder, run="run"):
    return json.loads((folder / "work" / run / "manifest.json").read_text())["hub_model"]["commit"]


@pytest.mark.slow
def test_a_run_keeps_the_commit_of_its_first_launch(hub, user, tmp_path):
    first = launch(user, tmp_path, "--run", "run")
    assert "vllm cannot be imported (none here)" in first.stderr
    assert f"hub        {NAME}, commit {OLD[:12]} (main), 0.0 GB\n" in first.stdout
    assert recorded(tmp_path) == OLD
    hub.models[NAME].refs["main"] = NEW
    asked = len(hub.requests)
    again = launch(user, tmp_path, "--run", "run")
    resumed = job("launch.py", "--resume", "--run", "run", cwd=tmp_path / "work", env=user)
    for done in (again, resumed):
        assert "(exists)" in done.stdout, done.stderr
        assert f"hub        {NAME}, commit {OLD[:12]} (main), 0.0 GB; in the cache" in done.stdout
    assert len(hub.requests) == asked
    other = launch(user, tmp_path, "--run", "other", "--temperature", "0.1")
    assert f"commit {NEW[:12]} (main), 0.0 GB; main has moved on from {OLD[:12]}" in other.stdout
    assert (recorded(tmp_path), recorded(tmp_path, "other")) == (OLD, NEW)
    hub.stop()
    assert f"main is now {NEW[:12]}" in launch(user, tmp_path, "--run", "run").stdout


@pytest.mark.slow
def test_a_launch_without_its_model_leaves_nothing(hub, user, tmp_path):
    hub.models[NAME].gated = True
    done = launch(user, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"launch.py: {NAME}: is gated, and there is no token; accept")
    assert len(done.stderr.splitlines()) == 1
    hub.stop()
    done = launch(user, tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "cannot be reached" in done.stderr
    assert not files(tmp_path / "work")
    assert not (tmp_path / "hf").exists()


@pytest.mark.slow
def test_a_dry_run_and_other_backends_do_not_ask_the_hub(hub, user, tmp_path):
    dry = launch(user, tmp_path, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"hub        {NAME} is not whole in the cache: the launch will fetch it" in dry.stdout
    flags = ("--preset", "smoke", *WHERE, "--model", NAME)
    assert job("launch.py", *flags, cwd=tmp_path / "work", env=user).returncode == 0
    assert not hub.requests
    launch(user, tmp_path)
    hub.requests.clear()
    dry = launch(user, tmp_path, "--dry-run")
    assert f"hub        {NAME}, commit {OLD[:12]} (main), 0.0 GB" in dry.stdout
    assert not hub.requests


def cached(tmp_path, monkeypatch, commit=OLD):
    """The model in a cache, as the hub's library lays it out."""
    folder = tmp_path / "hf" / "hub" / "models--org--tiny" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name, content in contents().items():
        if "/" not in name:
            (folder / name).write_bytes(content)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return folder


def test_what_a_run_records_of_its_model(tmp_path, monkeypatch):
    folder = cached(tmp_path, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    config = resolve({"model": NAME, "revision": OLD, "limit": 1, "samples": 1})
    plan = with_model(plan_launch(config, tmp_path))
    assert "HF_TOKEN" not in os.environ  # so that no job inherits it
    run = freeze_launch(plan)
    assert run.manifest()["hub_model"] == {"commit": OLD, "snapshot": str(folder)}
    assert run.manifest()["identity"]["revision"] == OLD
    # The cache is elsewhere now.
    moved = tmp_path / "moved"
    (tmp_path / "hf").rename(moved)
    monkeypatch.setenv("HF_HOME", str(moved))
    again = plan_launch(config, tmp_path)
    assert again.hub_model == {"commit": OLD, "snapshot": str(folder)}
    freeze_launch(with_model(again))
    assert run.manifest()["hub_model"]["snapshot"].startswith(str(moved))
    assert describe_model(again).startswith(f"hub        {NAME}, commit {OLD[:12]}, 0.0 GB")
    # Two launches at once, between which the branch has moved.
    late = with_model(again)
    run.update_manifest({"hub_model": {"commit": NEW, "snapshot": str(folder)}})
    with pytest.raises(ToolkitError, match=f"with the commit {NEW} of the model; launch again"):
        freeze_launch(late)


def test_a_run_without_missing_samples_needs_no_model(tmp_path, monkeypatch):
    cached(tmp_path, monkeypatch)
    config = resolve({"model": NAME, "revision": OLD, "limit": 1, "samples": 1})
    plan = with_model(plan_launch(config, tmp_path))
    run = freeze_launch(plan)
    (run.samples_dir / f"{plan.missing[0].name}.parquet").touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    done = plan_launch(config, tmp_path)
    assert with_model(done) is done


DOCTOR = """
import sys
from toolkit.config import Engine, Sampling
from toolkit.launch.model import examine_model
for finding in examine_model(Sampling(model=sys.argv[1]), Engine(), 40):
    print(finding.line())
"""


def examine(user, name=NAME, **variables):
    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, name],
        env=user | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_doctor_asks_for_all_that_a_launch_needs_and_fetches_no_weights(hub, user, tmp_path):
    config = json.dumps(LLAMA_8B).encode()
    hub.models[NAME].commits[OLD]["config.json"] = config
    hub.models[NAME].gated = True
    hub.tokens = {SECRET: {NAME}}
    first, second = examine(user, HF_TOKEN=SECRET)
    wanted = rf"ok    hub           {NAME}, commit {OLD[:12]}: 0.0 GB to fetch, "
    assert first.startswith(wanted)
    assert first.endswith(f" GB free in {tmp_path}/hf/hub")
    assert second.startswith("ok    model         0.0 GiB of weights, 128 KiB of KV cache a token")
    paths = {path for method, path, *_ in hub.requests if method == "GET" and "resolve" in path}
    assert {path.rsplit("/", 1)[-1] for path in paths} == {
        "config.json",
        "model.safetensors.index.json",
    }
    assert not (tmp_path / "hf").exists()
    (refused,) = examine(user)
    assert refused.startswith(f"fail  hub           {NAME}: is gated, and there is no token; acc")
    (wrong,) = examine(user, "org/other")
    assert wrong.startswith("fail  hub           --model org/other: the hub ")


def test_a_model_directory_is_complete_or_says_what_it_lacks(tmp_path):
    for name, says in (
        (None, "config.json: cannot be read"),
        ("config.json", "no tokenizer"),
        ("tokenizer.json", "no weights"),
        ("model.safetensors.index.json", "1 of 2 weight files are missing, such as b.safetensors"),
    ):
        if name:
            (tmp_path / name).write_text(json.dumps(LLAMA_8B))
        if name == "model.safetensors.index.json":
            index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
            (tmp_path / name).write_text(json.dumps(index))
            (tmp_path / "a.safetensors").write_bytes(b"x" * 1000)
        with pytest.raises(UsageError, match=says):
            read_footprint(tmp_path, "auto")
        (finding,) = examine_model(Sampling(model=str(tmp_path)), Engine(), 40)
        assert finding.grade == "fail"
        assert finding.remedy == "download it again"
    (tmp_path / "b.safetensors").write_bytes(b"x" * 1000)
    assert read_footprint(tmp_path, "auto").weights == 2000
    grades = [
        next(examine_model(Sampling(model=str(tmp_path)), Engine(), g)).grade for g in (40, 5, 2)
    ]
    assert grades == ["ok", "warn", "fail"]
    # Some 57,343 tokens: enough for 256 sequences of 400 tokens, if they share their prompts.
    sampling, plain = Sampling(model=str(tmp_path)), Engine()
    (apart,) = examine_model(sampling, plain, 10)
    assert (apart.grade, apart.remedy) == ("warn", "enough for --max-num-seqs 143")
    assert next(examine_model(sampling, plain, 10, seeds=125)).grade == "ok"
    uncached = Engine(engine_arg=("enable_prefix_caching=false",))
    assert next(examine_model(sampling, uncached, 10, seeds=125)).grade == "warn"


def test_the_doctor_looks_at_what_a_launch_would_load(tmp_path, monkeypatch):
    folder = cached(tmp_path, monkeypatch)
    sampling = Sampling(model=NAME, revision=OLD)
    hub, fits = examine_model(sampling, Engine(), 40)
    assert hub.line() == (
        f"ok    hub           {NAME}, commit {OLD[:12]}, 0.0 GB, in the cache: no network needed"
    )
    assert fits.grade == "ok"
    (folder / "config.json").write_text("{}")
    (broken,) = examine_model(sampling, Engine(), 40)
    assert (broken.grade, "not a decoder" in broken.found) == ("fail", True)
    (other,) = examine_model(Sampling(model=NAME, backend="openai"), Engine(), 40)
    assert other.line() == "ok    model         none is loaded: --backend openai"


@pytest.mark.slow
@pytest.mark.vllm
def test_real_vllm_samples_offline_from_a_gated_model_and_the_token_is_nowhere(
    tiny_model, tmp_path
):
    served = {p.name: p.read_bytes() for p in tiny_model.iterdir()}
    commit = commit_of(served)
    with FakeHub() as hub:
        hub.models[NAME] = Model({commit: served}, {"main": commit}, gated=True)
        hub.tokens = {SECRET: {NAME}}
        (tmp_path / "work").mkdir()
        user = environment(hub, tmp_path, HF_TOKEN=SECRET, PYTHONUNBUFFERED="1")
        flags = (
            "--limit 1 --samples 4 --max-tokens 8 --launcher local --cpu-kv-cache-gib 1 --top-p 1"
        )
        command = [sys.executable, ROOT / "jobs/launch.py", "--model", NAME, *flags.split()]
        with (
            (tmp_path / "stderr").open("w") as stderr,
            subprocess.Popen(
                [*command, "--run", "run", "--gres", ""],
                cwd=tmp_path / "work",
                env=user,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as child,
        ):
            said = ""
            while not re.search("^hub  ", said, re.MULTILINE):
                line = child.stdout.readline()
                assert line, (tmp_path / "stderr").read_text()
                said += line
            hub.stop()  # before any task has started
            said += child.communicate(timeout=500)[0]
    assert child.returncode == 0, said + (tmp_path / "stderr").read_text()
    assert_each_sample_once(tmp_path / "work/run", problems=1, n=4)
    (shard,) = (tmp_path / "work/run/samples").glob("*.parquet")
    assert pl.read_parquet_metadata(shard)["model_commit"] == commit
    assert any("Bearer " + SECRET in request for request in hub.requests)
    assert SECRET not in said + (tmp_path / "stderr").read_text()
    assert not [p for p, data in files(tmp_path).items() if SECRET.encode() in data]
