"""A model of the hub in the cache: whole, pinned, or one line that says why not. From a fake hub."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from busy import patience
from models.fake_hub import (
    NAME,
    NEW,
    OLD,
    SECRET,
    contents,
    environment,
    safetensors,
    tiny_hub,
)
from run_jobs import files

from toolkit.errors import ToolkitError
from toolkit.models.hub_cache import (
    at_snapshot,
    cache_folder,
    find_model,
    safetensors_size,
    what_is_missing,
)
from toolkit.resolve import resolve

WANTED = {
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model-1.safetensors",
    "model-2.safetensors",
}


@pytest.fixture
def hub():
    with tiny_hub() as found:
        yield found


CHILD = """
import logging, os, sys
logging.basicConfig(level=logging.INFO, format="log: %(message)s")
from toolkit.errors import ToolkitError
from huggingface_hub import constants
from toolkit.models import downloads, hub
if "BAR" in os.environ:
    downloads.BAR_BYTES, downloads.LOG_SECONDS = 0, 0.1
constants.DOWNLOAD_CHUNK_SIZE = 1 << 16  # it writes, and resumes from, whole chunks
downloads.STALL_SECONDS = float(os.environ.get("STALL", "60"))
hub.ANSWER_SECONDS = float(os.environ.get("ANSWER", "60"))
try:
    print("found:", hub.fetch_model(*sys.argv[1:]).line())
except ToolkitError as error:
    print("error:", error)
    sys.exit(error.exit_code)
"""


def start(hub, folder, name=NAME, revision="", commit="", **variables):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, name, revision, commit],
        env=environment(hub, folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fetch(hub, folder, *arguments, **variables):
    """Exit code, and the one line that is said; the log is looked at but not returned."""
    child = start(hub, folder, *arguments, **variables)
    said = child.communicate(timeout=120)[0]
    assert SECRET not in said
    lines = [line for line in said.splitlines() if not line.startswith("log: ")]
    assert len(lines) == 1, said
    return child.returncode, lines[0]


def snapshot(folder, commit=OLD):
    return folder / "hf" / "hub" / "models--org--tiny" / "snapshots" / commit


def blobs(folder):
    return [p.name for p in (folder / "hf" / "hub" / "models--org--tiny" / "blobs").iterdir()]


@pytest.mark.slow
def test_what_an_engine_reads_is_fetched_and_the_second_time_no_hub_is_needed(hub, tmp_path):
    code, said = fetch(hub, tmp_path)
    assert (code, said) == (0, f"found: {NAME}, commit {OLD[:12]} (main), 0.0 GB")
    assert {p.name for p in snapshot(tmp_path).iterdir()} == WANTED
    for name in WANTED:
        assert (snapshot(tmp_path) / name).read_bytes() == contents()[name]
    asked = len(hub.requests)
    for revision, commit in ((OLD, ""), ("main", OLD)):  # by hash, or as the run has recorded
        code, said = fetch(hub, tmp_path, NAME, revision, commit)
        assert (code, "in the cache already" in said) == (0, True), said
    assert len(hub.requests) == asked
    hub.stop()
    code, said = fetch(hub, tmp_path)
    assert code == 0
    assert "; as the cache knows it: the hub http://127.0.0.1:" in said
    assert "cannot be reached (" in said
    code, said = fetch(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert (code, "as the cache knows it: HF_HUB_OFFLINE is set" in said) == (0, True)


@pytest.mark.slow
def test_a_moved_branch_moves_no_run_that_has_recorded_its_commit(hub, tmp_path):
    fetch(hub, tmp_path)
    hub.models[NAME].refs["main"] = NEW
    code, said = fetch(hub, tmp_path, NAME, "main", OLD)
    assert (code, f"commit {OLD[:12]} (main)" in said) == (0, True)
    code, said = fetch(hub, tmp_path)  # another run
    assert code == 0
    assert f"commit {NEW[:12]} (main), 0.0 GB; main has moved on from {OLD[:12]}" in said
    code, said = fetch(hub, tmp_path, NAME, "main", OLD)
    assert f"commit {OLD[:12]} (main), 0.0 GB; main is now {NEW[:12]}, which this run" in said
    # a cache that was lost is filled with the recorded commit, not with the branch
    shutil.rmtree(tmp_path / "hf")
    code, said = fetch(hub, tmp_path, NAME, "main", OLD)
    assert code == 0
    assert (snapshot(tmp_path) / "model-1.safetensors").read_bytes().endswith(b"w")


REFUSED = {
    "nobody": (
        f"{NAME}: is gated, and there is no token; accept its licence on {{hub}}/{NAME}, then log "
        "in with `hf auth login`, or set HF_TOKEN (see docs/hub-models.md)"
    ),
    "hf_stranger": (
        f"{NAME}: is gated, and the account of your token has no access; accept the licence on "
        f"{{hub}}/{NAME}, wait until it is granted, then launch again"
    ),
    "hf_limited": (
        f"{NAME}: your token (from HF_TOKEN) may not read it; allow it to read gated models on "
        "{hub}/settings/tokens, then launch again"
    ),
    SECRET + "wrong": (
        f"{NAME}: the hub refuses your token (from HF_TOKEN); make a new one on "
        "{hub}/settings/tokens, then log in with `hf auth login`, or set HF_TOKEN"
    ),
}


@pytest.mark.parametrize("token", REFUSED)
def test_a_gated_model_is_refused_in_one_line(hub, tmp_path, token):
    hub.models[NAME].gated = True
    hub.tokens = {SECRET: {NAME}, "hf_stranger": set(), "hf_limited": set()}
    variables = {} if token == "nobody" else {"HF_TOKEN": token}
    code, said = fetch(hub, tmp_path, **variables)
    assert (code, said) == (2, "error: " + REFUSED[token].format(hub=hub.url))
    assert not (tmp_path / "hf").exists()


def test_a_stored_token_that_is_wrong_is_named_as_such(hub, tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(SECRET)
    code, said = fetch(hub, tmp_path)
    assert (code, "refuses your token (from the stored login)" in said) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["HF_TOKEN", "HF_TOKEN_PATH", "stored"])
def test_a_token_opens_a_gated_model_and_the_storage_never_sees_it(hub, tmp_path, how):
    hub.models[NAME].gated = True
    hub.tokens = {SECRET: {NAME}}
    variables = {"HF_TOKEN": SECRET} if how == "HF_TOKEN" else {}
    path = tmp_path / ("secret" if how == "HF_TOKEN_PATH" else "hf/token")
    if how != "HF_TOKEN":
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
        variables = {"HF_TOKEN_PATH": str(path)} if how == "HF_TOKEN_PATH" else {}
    code, said = fetch(hub, tmp_path, **variables)
    assert code == 0, said
    seen = {r[3] for r in hub.requests if r[1].startswith("/storage/")}
    assert seen == {""}
    assert f"Bearer {SECRET}" in {r[3] for r in hub.requests}
    left = [p for p, data in files(tmp_path).items() if SECRET.encode() in data and p != path]
    assert not left
    # once there, it needs no token
    assert fetch(hub, tmp_path)[0] == 0


@pytest.mark.slow
def test_a_wrong_name_and_a_wrong_revision(hub, tmp_path):
    hub.tokens = {SECRET: set()}
    for variables in ({}, {"HF_TOKEN": SECRET}):  # the hub answers 401, and 404 with a token
        code, said = fetch(hub, tmp_path, "org/other", **variables)
        assert code == 2
        assert re.match(
            "error: --model org/other: the hub http.* has no such model for you; check", said
        )
    code, said = fetch(hub, tmp_path, NAME, "v9")
    assert code == 2
    assert re.match(rf"error: --revision v9: {NAME} has no such branch, tag or commit; ", said)
    code, said = fetch(hub, tmp_path, NAME, "f" * 40)
    assert (code, f"--revision {'f' * 40}: {NAME} has no such" in said) == (2, True)
    code, said = fetch(hub, tmp_path, "org/na--me")
    assert (code, "--model org/na--me: not a name that the hub can have" in said) == (2, True)


@pytest.mark.slow
def test_no_network_is_said_in_one_line(hub, tmp_path):
    reached = rf"error: {NAME}: the hub {{}} cannot be reached \(.+\); launch again, or where"
    hub.down = True
    code, said = fetch(hub, tmp_path)
    assert (code, f"error: {NAME}: the hub {hub.url} answers 503; launch again" in said) == (
        1,
        True,
    )
    hub.stop()
    code, said = fetch(hub, tmp_path)
    assert (code, bool(re.match(reached.format(hub.url), said))) == (1, True), said
    url = "http://nowhere.invalid"
    code, said = fetch(hub, tmp_path, HF_ENDPOINT=url)
    assert (code, bool(re.match(reached.format(url), said))) == (1, True), said
    code, said = fetch(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert code == 2
    assert re.match(rf"error: {NAME}: HF_HUB_OFFLINE is set; unset it and launch where", said)
    assert not (tmp_path / "hf" / "hub").exists()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["api", "config.json", "model-1.safetensors"])
def test_a_hub_that_hangs_is_given_up(hub, tmp_path, where):
    hub.models[NAME].commits[OLD]["config.json"] += b" " * 70_000
    hub.hang = {where}
    code, said = fetch(hub, tmp_path, **{"ANSWER" if where == "api" else "STALL": "2"})
    assert (code, f"error: {NAME}: the hub {hub.url} cannot be reached (no" in said) == (1, True)
    if where != "api":
        assert not [name for name in blobs(tmp_path) if name.endswith(".incomplete")]
    hub.hang = set()
    assert fetch(hub, tmp_path)[0] == 0


@pytest.mark.slow
def test_a_cut_download_goes_on_where_it_was_cut(hub, tmp_path):
    hub.cut = {"model-1.safetensors": 2}
    assert fetch(hub, tmp_path)[0] == 0
    starts = [
        int(r.removeprefix("bytes=").removesuffix("-")) for r in hub.ranges("model-1.safetensors")
    ]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] < 300_000


@pytest.mark.slow
def test_a_torn_download_keeps_what_is_whole_and_the_next_one_fetches_the_rest(hub, tmp_path):
    hub.hang = {"model-1.safetensors"}
    child = start(hub, tmp_path)
    while not (snapshot(tmp_path) / "model-2.safetensors").exists():
        time.sleep(0.05)
        assert child.poll() is None
    child.kill()
    child.communicate()
    assert find_model_in(tmp_path) is None
    hub.hang, hub.requests = set(), []
    assert fetch(hub, tmp_path)[0] == 0
    assert (hub.sent("model-1.safetensors"), hub.sent("model-2.safetensors")) == (1, 0)
    assert hub.sent("tokenizer.json") == 0


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_a_log_gets_lines(hub, tmp_path):
    hub.pause = 0.1
    for name in ("model-1.safetensors", "model-2.safetensors"):
        hub.models[NAME].commits[OLD][name] = safetensors(2_000_000)
    terminal, ours = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))
    known = environment(hub, tmp_path / "a", BAR="")
    command = [sys.executable, "-c", CHILD, NAME, "", ""]
    shown = b""
    with subprocess.Popen(command, env=known, stdout=subprocess.DEVNULL, stderr=ours) as child:
        while child.poll() is None or select.select([terminal], [], [], 0)[0]:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    os.close(ours)
    assert re.search(rb"fetched +\d+%\|.*\| [0-4]/4 MB, \d+ MB/s", shown), shown
    child = start(hub, tmp_path / "b", BAR="")
    said = child.communicate(timeout=120)[0]
    assert re.search(r"log: fetching org/tiny \(0.0 GB\) into .*/b/hf/hub\n", said)
    assert re.search(r"log: fetched [0-4] of 4 MB, \d+ MB/s", said)
    assert "|" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_download_at_once(hub, tmp_path, number):
    hub.pause = 0.5
    child = start(hub, tmp_path)
    while not all(map(hub.sent, ("model-1.safetensors", "model-2.safetensors"))):
        time.sleep(0.05)
        assert child.poll() is None
    began = time.monotonic()
    child.send_signal(number)
    said = child.communicate(timeout=60)[0]
    assert time.monotonic() - began < patience(20)
    if number == signal.SIGINT:
        assert not [name for name in blobs(tmp_path) if name.endswith(".incomplete")], said
        assert "KeyboardInterrupt" in said  # as the job's main function sees it


def find_model_in(folder):
    os.environ["HF_HOME"] = str(folder / "hf")
    try:
        return find_model(NAME, OLD)
    finally:
        del os.environ["HF_HOME"]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tokenizer.json", "model-1.safetensors"])
def test_wrong_content_is_removed_and_fetched_anew(hub, tmp_path, file):
    hub.wrong = {file}
    code, said = fetch(hub, tmp_path)
    assert (code, f"error: {NAME}: {file} came with other content than the hub names" in said) == (
        1,
        True,
    )
    assert not (snapshot(tmp_path) / file).exists()
    hub.wrong = set()
    assert fetch(hub, tmp_path)[0] == 0
    assert (snapshot(tmp_path) / file).read_bytes() == contents()[file]


@pytest.mark.slow
def test_a_damaged_cache_is_mended(hub, tmp_path):
    fetch(hub, tmp_path)
    weights, tokenizer = (snapshot(tmp_path) / n for n in ("model-1.safetensors", "tokenizer.json"))
    os.truncate(weights.resolve(), 1000)
    tokenizer.resolve().unlink()  # a link to nothing
    stale = weights.resolve().parent / "abc.incomplete"
    stale.write_bytes(b"left by a killed process")
    os.utime(stale, (0, 0))
    hub.requests = []
    code, said = fetch(hub, tmp_path, NAME, OLD)
    assert code == 0, said
    assert weights.read_bytes() == contents()["model-1.safetensors"]
    assert tokenizer.read_bytes() == contents()["tokenizer.json"]
    assert hub.sent("model-2.safetensors") == 0
    assert not stale.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, mounted at `hf`."""
    where = tmp_path / "hf"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.slow
def test_a_disk_without_room_is_said_before_the_weights_come(hub, small_disk, tmp_path):
    (small_disk / "other").write_bytes(bytes(700_000))
    code, said = fetch(hub, tmp_path)
    assert code == 2
    assert re.match(r"error: .*/hf/hub: 0.3 GB free, but".replace("0.3", "0.0"), said), said
    assert "set HF_HOME to a directory with more" in said
    assert hub.sent("model-1.safetensors") == 0
    (small_disk / "other").unlink()
    assert fetch(hub, tmp_path)[0] == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_meanwhile_is_said(hub, small_disk, tmp_path):
    def fill(file):
        if file == "model-1.safetensors":
            with (small_disk / "other").open("wb", buffering=0) as other:
                while True:
                    try:
                        other.write(bytes(4096))
                    except OSError:
                        break

    hub.before_sending = fill
    code, said = fetch(hub, tmp_path)
    assert (code, "/hf/hub: No space left on device while org/tiny was fetched; make" in said) == (
        1,
        True,
    ), said
    hub.before_sending = None
    (small_disk / "other").unlink()
    assert fetch(hub, tmp_path)[0] == 0


def test_a_cache_that_may_not_be_written(hub, tmp_path):
    (tmp_path / "hf").write_text("a file")
    code, said = fetch(hub, tmp_path)
    assert (code, "/hf/hub: cannot be written (Not a directory); set HF_HOME" in said) == (
        2,
        True,
    ), said


def test_a_model_that_vllm_cannot_read_is_refused(hub, tmp_path):
    kept = {
        k: v for k, v in contents().items() if "safetensors" not in k and not k.endswith(".bin")
    }
    hub.models[NAME].commits[OLD] = kept
    code, said = fetch(hub, tmp_path)
    assert (code, "has no weights that vLLM reads (*.safetensors" in said) == (2, True)


@pytest.mark.parametrize(
    ("without", "weights"),
    [
        ((), {"model-1.safetensors", "model-2.safetensors"}),
        (("model-1", "model-2", "model.safetensors"), {"consolidated.safetensors"}),
        (("model", "consolidated"), {"pytorch_model.bin"}),
    ],
)
def test_weights_of_one_format_are_fetched(hub, tmp_path, without, weights):
    files_ = {k: v for k, v in contents().items() if not k.startswith(without or ("-",))}
    hub.models[NAME].commits[OLD] = files_
    code, said = fetch(hub, tmp_path)
    assert code == 0, said
    got = {p.name for p in snapshot(tmp_path).iterdir() if p.suffix in (".safetensors", ".bin")}
    assert got == weights


@pytest.mark.slow
def test_two_launches_at_once_fetch_it_once(hub, tmp_path):
    hub.pause = 0.1
    children = [start(hub, tmp_path) for _ in range(2)]
    said = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert hub.sent("model-1.safetensors") == 1
    assert not [name for name in blobs(tmp_path) if name.endswith(".incomplete")]


def test_where_the_cache_is(monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for variable, value, where in (
        ("HOME", "/h", "/h/.cache/huggingface/hub"),
        ("XDG_CACHE_HOME", "/x", "/x/huggingface/hub"),
        ("HF_HOME", "$HOME/f", "/h/f/hub"),
        ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
        ("HF_HUB_CACHE", "~/c", "/h/c"),
    ):
        monkeypatch.setenv(variable, value)
        assert cache_folder() == Path(where)
        script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        theirs = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert Path(theirs.stdout.strip()).expanduser() == Path(where)


def test_the_size_of_weights_is_known_from_their_header(tmp_path):
    path = tmp_path / "x.safetensors"
    whole = safetensors(1000)
    path.write_bytes(whole)
    assert safetensors_size(path) == len(whole)
    for broken in (whole[:-1], whole[:20], whole[:4], b"", b"\xff" * 50):
        path.write_bytes(broken)
        assert safetensors_size(path) != len(broken)


def test_a_task_takes_the_directory_and_says_where_it_is_missing(tmp_path):
    config = resolve({"model": NAME, "revision": "main"})
    folder = tmp_path / "snapshot"
    folder.mkdir()
    document = {"commit": OLD, "snapshot": str(folder)}
    with pytest.raises(
        ToolkitError, match=r"is not there on this node \(no config.json\); set HF_HOME"
    ):
        at_snapshot(config, document)
    with pytest.raises(ToolkitError, match="no commit of it on record; launch again"):
        at_snapshot(config, None)
    for name, content in contents().items():
        if "/" not in name:
            (folder / name).write_bytes(content)
    assert what_is_missing(folder) == ""
    sampling = at_snapshot(config, document).sampling
    assert (sampling.model, sampling.revision) == (str(folder), "")
    for flags in ({"model": NAME, "backend": "openai"}, {"model": str(folder)}, {}):
        other = resolve(flags)
        assert at_snapshot(other, None) is other
