"""The model's copy on a node: whole or not there, made once, of what an engine reads."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from busy import patience
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.models import staging
from toolkit.models.hub_cache import at_snapshot
from toolkit.models.node_disk import node_folder
from toolkit.models.staging import needed_files, stage, stage_model
from toolkit.resolve import resolve


@pytest.fixture
def source(tmp_path):
    """A model directory as the hub has it: more than an engine reads, weights behind links."""
    folder, blobs = tmp_path / "shared" / "model", tmp_path / "blobs"
    (folder / "original").mkdir(parents=True)
    blobs.mkdir()
    for name, size in (
        ("config.json", 20),
        ("tokenizer.json", 50),
        ("chat_template.jinja", 9),
        ("model-1.safetensors", 4000),
        ("model-2.safetensors", 3000),
        ("extra.safetensors", 10),
        ("pytorch_model.bin", 7000),
        ("model.onnx", 7000),
        ("original/consolidated.00.pth", 7000),
        (".cache", 5),
    ):
        blob = blobs / name.replace("/", "-")
        blob.write_bytes(os.urandom(size))
        (folder / name).symlink_to(blob)
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    )
    return folder


WANTED = {
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model-1.safetensors",
    "model-2.safetensors",
}


@pytest.fixture
def models(tmp_path):
    return node_folder("models", str(tmp_path / "node"))


def names(folder):
    return {p.name for p in folder.iterdir()}


def test_only_what_an_engine_reads_is_copied_and_links_are_followed(source, models):
    copy = stage(source, models)
    assert names(copy) == WANTED
    assert not any(p.is_symlink() for p in copy.iterdir())
    for name in WANTED:
        assert (copy / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize(
    ("kept", "weights"),
    [
        ("extra.safetensors", {"extra.safetensors"}),
        ("pytorch_model.bin", {"pytorch_model.bin"}),
        ("consolidated.safetensors", {"consolidated.safetensors"}),
    ],
)
def test_weights_of_one_format_are_taken(source, kept, weights):
    (source / "consolidated.safetensors").write_bytes(b"x")
    if not kept.startswith("consolidated"):
        for path in [*source.glob("*.safetensors*")]:
            if path.name != kept:
                path.unlink()
    found = {p.name for p in needed_files(source) if p.suffix in staging.WEIGHTS}
    assert found == weights


def test_a_model_without_its_weights_is_said(source):
    (source / "model-2.safetensors").unlink()
    with pytest.raises(UsageError, match=r"model-2.safetensors is missing; download"):
        needed_files(source)
    for path in [*source.glob("*.safetensors*"), *source.glob("*.bin")]:
        path.unlink()
    with pytest.raises(UsageError, match="no weights"):
        needed_files(source)


def test_the_second_task_copies_nothing(source, models, monkeypatch):
    copy = stage(source, models)
    monkeypatch.setattr(staging, "_copy", None)
    assert stage(source, models) == copy


def test_a_model_that_was_changed_is_another_copy(source, models):
    copy = stage(source, models)
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.json").write_text("another")
    assert stage(source, models) != copy


def test_a_copy_that_lost_a_file_is_made_anew(source, models):
    copy = stage(source, models)
    (copy / "model-1.safetensors").unlink()
    (copy / "tokenizer.json").write_text("")
    assert stage(source, models) == copy
    assert (copy / "model-1.safetensors").stat().st_size == 4000
    assert (copy / "tokenizer.json").stat().st_size == 50


CHILD = r"""
import os, sys, time
from pathlib import Path
from toolkit.models import staging
from toolkit.models.hub_cache import at_snapshot
plain = staging.shutil.copyfile
def slow(source, target):
    os.write(1, f"{os.getpid()} {target}\n".encode())  # whole, though threads copy side by side
    plain(source, target)
    time.sleep(float(sys.argv[3]))
staging.shutil.copyfile = slow
print("done", staging.stage(Path(sys.argv[1]), Path(sys.argv[2])), flush=True)
"""


def child(source, models, pause):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, source, models, str(pause)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_tasks_that_start_at_once_share_one_copy(source, models):
    tasks = [child(source, models, 0.2) for _ in range(4)]
    said = "".join(task.communicate(timeout=60)[0] for task in tasks)
    assert [task.returncode for task in tasks] == [0] * 4
    assert len(set(re.findall("^done (.*)", said, re.MULTILINE))) == 1
    copied = re.findall(r"^(\d+) ", said, re.MULTILINE)
    assert len(copied) == len(WANTED)
    assert len(set(copied)) == 1  # one task copied, the others waited for it


def test_kill_9_in_the_middle_leaves_nothing_that_looks_whole(source, models):
    task = child(source, models, 30)
    task.stdout.readline()
    task.send_signal(signal.SIGKILL)
    task.communicate()
    assert [p.name for p in models.iterdir() if not p.name.startswith(".")] == []
    assert len(list(models.glob(".*.partial"))) == 1
    began = time.monotonic()
    copy = stage(source, models)  # the dead one's lock is gone with it
    assert time.monotonic() - began < patience(20)
    assert names(copy) == WANTED
    assert names(models) == {copy.name, ".lock"}


def test_a_disk_without_room_is_said_before_anything_is_copied(source, models, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: usage(7000))
    with pytest.raises(UsageError, match=r"0.0 GB free, .*; remove older copies there, name"):
        stage(source, models)
    assert names(models) == {".lock"}


def test_a_disk_that_fills_up_meanwhile_is_said_and_cleaned(source, models, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging.shutil, "copyfile", full)
    with pytest.raises(UsageError, match=r"cannot be copied there \(No space left"):
        stage(source, models)
    assert names(models) == {".lock"}


def test_the_copy_takes_the_models_place_in_the_configuration(source, tmp_path, monkeypatch):
    monkeypatch.setenv("NODE", str(tmp_path / "disk"))
    config = resolve({"model": str(source), "revision": "x", "stage_model": "$NODE/own"})
    staged = stage_model(config)
    assert staged.sampling.model.startswith(f"{tmp_path}/disk/own/inference-scaling-{os.getuid()}/")
    assert staged.sampling.revision == ""
    assert staged.engine == config.engine


@pytest.mark.parametrize(
    "flags",
    [
        {"model": "org/model"},
        {"stage_model": "auto"},
        {"stage_model": "auto", "model": "org/model", "backend": "openai"},
    ],
)
def test_nothing_is_staged_unasked(flags):
    config = resolve(flags)
    assert stage_model(config) is config


def test_auto_is_slurms_directory_of_the_job_or_else_tmpdir(tmp_path, monkeypatch):
    monkeypatch.setattr(staging.shutil, "disk_usage", None)
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "gone"))
    own = f"inference-scaling-{os.getuid()}/models"
    assert node_folder("models") == tmp_path / own
    (tmp_path / "job").mkdir()
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "job"))
    assert node_folder("models") == tmp_path / "job" / own


def test_a_directory_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"inference-scaling-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not a directory of yours; name another"):
        node_folder("models", str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be made \(.*with --stage-model"):
        node_folder("models", str(tmp_path / "file"))


def test_a_hub_model_is_staged_from_its_snapshot(source, tmp_path):
    config = resolve({"model": "org/model", "stage_model": str(tmp_path)})
    weights = source / "model.safetensors.index.json"
    for path in [*source.glob("model-*.safetensors"), source / "extra.safetensors"]:
        path.unlink()
    weights.unlink()  # the .bin is whole
    record = {"commit": "a" * 40, "snapshot": str(source)}
    copy = Path(stage_model(at_snapshot(config, record)).sampling.model)
    assert copy.parent == node_folder("models", str(tmp_path))
    assert names(copy) == {
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "pytorch_model.bin",
    }


def test_the_log_says_how_long_it_took(source, models, caplog):
    with caplog.at_level(logging.INFO, "toolkit"):
        stage(source, models)
        stage(source, models)
    assert re.search(r"GB staged as .* in [\d.]+ s", caplog.text)
    assert "staged already" in caplog.text
