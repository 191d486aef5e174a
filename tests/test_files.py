"""Files that appear whole or not at all, also where the kernel says no."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_jobs import ROOT

from toolkit.errors import WriteFailure
from toolkit.files import publish_once, replace_file, replacing

REPLACE = (
    "from toolkit.files import *; from pathlib import Path; replace_file(Path('file'), b'new')"
)
PUBLISH = "from toolkit.files import *; from pathlib import Path; print(publish_once(Path('once'), b'new'))"


def refused(calls, code, cwd):
    """The last line that the code leaves while the kernel refuses these calls."""
    command = [sys.executable, ROOT / "tests" / "refusing_kernel.py", calls, code]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.parametrize("code", [REPLACE, PUBLISH])
@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ("write=ENOSPC", "No space left on device; make room or have the limit raised, then run"),
        ("write=EDQUOT", "Disk quota exceeded; make room or have the limit raised, then run"),
        ("write=EFBIG", "File too large; make room or have the limit raised, then run"),
        ("write=EIO", "Input/output error; mend that, then run the same command again"),
        ("fsync=EIO", "Input/output error; mend that, then run the same command again"),
        ("fsync=EDQUOT", "Disk quota exceeded; make room or have the limit raised, then run"),
    ],
)
def test_what_the_disk_refuses_is_one_line_and_leaves_nothing(tmp_path, calls, says, code):
    (tmp_path / "file").write_text("old")
    line = refused(calls, code, tmp_path)
    assert line.startswith("toolkit.errors.WriteFailure: ")
    assert f": cannot be written: {says}" in line
    assert (tmp_path / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_only_what_is_to_last_is_forced_to_the_disk(tmp_path, monkeypatch):
    forced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: forced.append(number) or fsync(number))
    replace_file(tmp_path / "cache", b"new", durable=False)
    assert not forced
    replace_file(tmp_path / "file", b"new")
    assert len(forced) == 2  # the file, and the name
    assert (tmp_path / "cache").read_bytes() == (tmp_path / "file").read_bytes() == b"new"


def test_without_hard_links_a_file_is_still_published_once(tmp_path):
    assert refused("link=EPERM", PUBLISH, tmp_path) == "True"
    assert (tmp_path / "once").read_bytes() == b"new"
    (tmp_path / "once").write_bytes(b"first")
    assert refused("link=EPERM", PUBLISH, tmp_path) == "False"
    assert (tmp_path / "once").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["once"]


def test_with_no_way_to_publish_once_the_file_system_is_named_as_the_reason(tmp_path):
    line = refused("link=EPERM,renameat2=EINVAL", PUBLISH, tmp_path)
    assert "once: cannot be written: this file system has no hard links, so put runs on" in line
    assert not list(tmp_path.iterdir())


def test_directories_that_cannot_be_synced_are_no_error(tmp_path, monkeypatch):
    """The files are synced first: only the last call, on the directory, is refused."""
    fsync, refused_ones = os.fsync, []

    def strict(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            refused_ones.append(descriptor)
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", strict)
    replace_file(tmp_path / "file", b"new")
    assert publish_once(tmp_path / "once", b"new")
    assert len(refused_ones) == 2


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_in_the_middle():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail_in_the_middle()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_published_once_means_the_first_stays(tmp_path):
    path = tmp_path / "plan.json"
    assert publish_once(path, b"first")
    assert not publish_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_gone_is_made_again_but_not_those_above_it(tmp_path):
    replace_file(tmp_path / "samples" / "file", b"new")
    assert (tmp_path / "samples" / "file").read_bytes() == b"new"
    with pytest.raises(WriteFailure, match="No such file or directory; mend that"):
        replace_file(tmp_path / "run" / "samples" / "file", b"new")
