"""A file of a data set of the hub: fetched once, checked, or one line that says why not."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from models.fake_hub import FakeHub, Model, commit_of, environment

NAME, FILE, DATA = "org/sums", "main/test.jsonl", b'{"question": "1+1?"}\n'
FILES = {FILE: DATA}
COMMIT, LATER = commit_of(FILES), commit_of({FILE: DATA * 2})
CHILD = """
import sys
from toolkit.errors import ToolkitError
from toolkit.models.hub_data import fetch_data
try:
    print(fetch_data(*sys.argv[1:]))
except ToolkitError as error:
    print("error:", error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def hub():
    commits = {COMMIT: FILES, LATER: {FILE: DATA * 2}}
    with FakeHub({f"datasets/{NAME}": Model(commits, {"main": COMMIT})}) as found:
        yield found


def fetch(hub, folder, revision=COMMIT, sha256="", file=FILE, **variables):
    """Exit code, and the one line that is said."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, NAME, file, revision, sha256],
        env=environment(hub, folder, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    return done.returncode, lines[0]


def content(path):
    return Path(path).read_bytes()


def test_a_file_of_a_commit_is_fetched_once(hub, tmp_path):
    code, path = fetch(hub, tmp_path, sha256=hashlib.sha256(DATA).hexdigest())
    assert code == 0, path
    assert content(path) == DATA
    assert path.startswith(str(tmp_path / "hf"))
    asked = len(hub.requests)
    hub.stop()
    assert fetch(hub, tmp_path) == (0, path)
    assert len(hub.requests) == asked


@pytest.mark.slow
def test_a_branch_is_asked_for_again_and_the_cache_helps_where_no_hub_answers(hub, tmp_path):
    assert content(fetch(hub, tmp_path, "main")[1]) == DATA
    hub.models[f"datasets/{NAME}"].refs["main"] = LATER
    code, path = fetch(hub, tmp_path, "main")
    assert (code, content(path)) == (0, DATA * 2)
    hub.stop()
    assert fetch(hub, tmp_path, "main") == (0, path)
    assert fetch(hub, tmp_path, "main", HF_HUB_OFFLINE="1") == (0, path)


@pytest.mark.slow
def test_without_a_hub_the_message_names_the_flag_for_a_file(hub, tmp_path):
    hub.stop()
    code, said = fetch(hub, tmp_path)
    assert code == 2
    assert said.startswith(f"error: {NAME}: the data set's file {FILE} cannot be fetched from ")
    assert said.endswith("fetch it elsewhere and name it with --problems FILE")


def test_a_file_that_the_data_set_does_not_have_is_said(hub, tmp_path):
    code, said = fetch(hub, tmp_path, file="none.jsonl")
    assert (code, "none.jsonl cannot be fetched" in said) == (2, True), said


def test_a_file_with_another_digest_is_refused(hub, tmp_path):
    code, said = fetch(hub, tmp_path, sha256="0" * 64)
    assert (code, "is not the published file: its SHA-256 is " in said) == (1, True), said
