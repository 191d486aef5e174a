"""The cache of what status reads: what it saves, and when it is not believed."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest
from many_slices import make_run
from run_jobs import ROOT, job

from toolkit.errors import CorruptShard
from toolkit.launch.status import read_status
from toolkit.records import Verdict
from toolkit.runs import shard_cache
from toolkit.runs.answers import map_path, write_map
from toolkit.runs.feed import read_feed
from toolkit.runs.history import Launch, append_launch
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import open_run
from toolkit.runs.shard_cache import open_cache, read_all_facts
from toolkit.runs.shard_facts import facts_to_metadata, read_facts
from toolkit.runs.shards import read_shard
from toolkit.runs.tables import write_table
from toolkit.runs.usage import read_spent
from toolkit.runs.verdicts import read_verdicts, write_verdicts
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.judges import judge_of_run

SLICES = 8


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Eight slices of four samples, all judged, two of the files of verdicts; nobody changes it."""
    return make_run(tmp_path_factory.mktemp("small"), SLICES, 4, 2)


@pytest.fixture
def run(small, tmp_path):
    """A copy of it, without a cache."""
    shutil.copytree(small.path, tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.fixture
def opened(monkeypatch):
    """The names of the shards whose metadata the cache reads."""
    found = []
    monkeypatch.setattr(
        shard_cache, "read_facts", lambda path: found.append(path.stem) or read_facts(path)
    )
    return found


def status(run):
    return read_status(run, judge_of_run(run))


def cache_file(run):
    return run.results_dir / "shards.parquet"


def test_a_second_status_says_the_same_and_reads_no_shard(run, opened):
    first = status(run)
    assert len(opened) == SLICES
    for folder in (run.samples_dir, run.answers_dir, run.verdicts_dir):
        for path in folder.iterdir():  # unreadable, but of the same size and time
            before = path.stat()
            with path.open("r+b") as file:
                file.write(bytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    written = cache_file(run).stat().st_mtime_ns
    assert status(run) == first
    assert len(opened) == SLICES
    assert cache_file(run).stat().st_mtime_ns == written
    cache_file(run).unlink()
    with pytest.raises(CorruptShard):
        status(run)


def test_a_new_shard_is_the_only_one_that_is_read(run, opened):
    moved = run.path / "moved.parquet"
    run.shard_path("r000-s0003").rename(moved)
    assert status(run).ledger.slices == SLICES - 1
    del opened[:]
    moved.rename(run.shard_path("r000-s0003"))
    assert status(run).ledger.slices == SLICES
    assert opened == ["r000-s0003"]


def test_facts_are_those_of_the_shards_without_the_readings_of_the_feed(run):
    for _ in range(2):
        for facts in read_all_facts(run):
            told = facts_to_metadata(read_facts(run.shard_path(facts.slice)))
            assert told.pop("feed") == "[]"
            assert facts_to_metadata(facts) == told
    assert read_spent(run) == status(run).spent
    assert read_feed(run).is_empty()


def rewrite_shard(run):
    slice_ = run.slices()[2]
    facts = read_facts(run.shard_path(slice_.name))
    samples = read_shard(run, slice_)
    path = run.shard_path(slice_.name)
    write_table(path, samples, facts_to_metadata(facts) | {"tokens": "999400"})


def rewrite_map(run):
    slice_ = run.slices()[2]
    answers = pl.Series("answer", [None] * 4, dtype=pl.UInt64)
    write_map(run, slice_.name, read_shard(run, slice_).with_columns(answers), "2")


def delete_map(run):
    map_path(run, "r000-s0002").unlink()


def replace_verdicts(run):
    judge = judge_of_run(run)
    rows = read_verdicts(run, judge).drop("seconds").rows()
    path = min(run.verdicts_dir.iterdir())
    known = pl.read_parquet(path)["answer"].to_list()
    again = [Verdict(*row[:5], tuple(row[5]), 0.1) for row in rows if row[1] in known]
    flipped = [Verdict(v.task_id, v.answer, "timed_out", "time", "t", (), 3.0) for v in again]
    write_verdicts(run, flipped, judge)
    assert len(list(run.verdicts_dir.iterdir())) == 2


def delete_verdicts(run):
    min(run.verdicts_dir.iterdir()).unlink()


def name_a_rule(run):
    freeze_round(run.path, 1, [], StoppingRule(1, (1, 2)))


@pytest.mark.parametrize(
    "change",
    [rewrite_shard, rewrite_map, delete_map, replace_verdicts, delete_verdicts, name_a_rule],
)
def test_what_has_changed_is_seen(run, change):
    before = status(run)
    change(run)
    after = status(run)
    assert after != before
    cache_file(run).unlink()
    assert status(run) == after


def test_another_judge_is_not_taken_for_this_one(run):
    patient = judge_of_run(run, 9.0)
    assert (status(run).evaluated, read_status(run, patient).evaluated) == (32, 0)
    assert (status(run).evaluated, read_status(run, patient).evaluated) == (32, 0)


def damage(path, how):
    data = path.read_bytes()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "foreign":
            path.write_bytes(b"not parquet")
        case "flipped":
            path.write_bytes(data[:40] + bytes(byte ^ 1 for byte in data[40:80]) + data[80:])
        case "other columns":
            pl.DataFrame({"x": [1]}).write_parquet(path)
        case "a directory":
            path.unlink()
            path.mkdir()
        case "another version":
            facts = pl.read_parquet_metadata(path) | {"version": "0", "outcomes": "x"}
            pl.read_parquet(path).write_parquet(path, metadata=facts)
        case "other numbers":
            facts = pl.read_parquet_metadata(path)
            frame = pl.read_parquet(path)
            told = pl.col("facts").str.replace('"tokens": "400"', '"tokens": "401"', literal=True)
            assert not frame.with_columns(told).equals(frame)
            frame.with_columns(told).write_parquet(path, metadata=facts)


KINDS = (
    *("empty", "truncated", "foreign", "flipped", "other columns", "a directory"),
    *("another version", "other numbers"),
)


@pytest.mark.parametrize("how", KINDS)
def test_a_damaged_cache_is_read_past_and_made_anew(run, opened, how):
    first = status(run)
    damage(cache_file(run), how)
    del opened[:]
    assert status(run) == first
    assert len(opened) == SLICES
    if how != "a directory":
        assert status(run) == first
        assert len(opened) == SLICES


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def test_a_shard_that_is_truncated_later_is_named(run):
    """All files of a run of this size are compared by size and time."""
    status(run)
    truncate(run.shard_path("r000-s0003"))
    for _ in range(2):
        with pytest.raises(CorruptShard, match=r"r000-s0003\.parquet: cannot be read"):
            status(run)


def test_a_map_that_is_truncated_later_counts_as_missing(run):
    assert status(run).evaluated == 32
    truncate(map_path(run, "r000-s0003"))
    for _ in range(2):
        assert status(run).evaluated == 28


def test_damage_that_is_not_looked_for_is_seen_after_a_launch(run, monkeypatch):
    """What a large run risks: of its files only some are compared, until it is launched again."""
    monkeypatch.setattr(shard_cache, "CHECKED", 0)
    first = status(run)
    truncate(run.shard_path("r000-s0003"))
    assert status(run) == first
    append_launch(run, Launch("2026-01-01", "inline"))
    with pytest.raises(CorruptShard, match=r"r000-s0003\.parquet"):
        status(run)


def test_a_copied_run_is_read_anew(run, tmp_path, opened):
    first = status(run)
    shutil.copytree(run.path, tmp_path / "copy")
    del opened[:]
    copy = open_run(tmp_path / "copy")
    assert status(copy).spent == first.spent
    assert len(opened) == SLICES


@contextlib.contextmanager
def as_another_user():
    """This process as a user who owns nothing, if it is root's."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65533)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_run_that_cannot_be_written_is_read(small):
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(shutil.copytree(small.path, Path(folder) / "run"))
        expected = status(small)
        before = sorted(run.path.rglob("*"))
        subprocess.run(["chmod", "-R", "a+rX,a-w", folder], check=True)
        with as_another_user():
            found = [status(run) for _ in range(2)]
        assert sorted(run.path.rglob("*")) == before
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    assert [each.spent for each in found] == [expected.spent] * 2
    assert [each.taxonomy for each in found] == [expected.taxonomy] * 2


def test_a_cache_that_cannot_be_read_is_read_past(run):
    first = status(run)
    with tempfile.TemporaryDirectory() as folder:
        copy = open_run(shutil.copytree(run.path, Path(folder) / "run"))
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        cache_file(copy).chmod(0)
        with as_another_user():
            assert status(copy).spent == first.spent


@pytest.mark.slow
def test_two_at_once_are_harmless(run):
    command = [sys.executable, ROOT / "jobs" / "status.py", run.path, "--json"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    said = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 3
    assert len(said) == 1
    assert [p.name for p in run.results_dir.iterdir()] == ["shards.parquet"]
    assert len(open_cache(run).facts) == SLICES


@pytest.mark.slow
def test_a_second_status_of_8000_slices_takes_under_1000_operations_on_the_run(tmp_path):
    """Every system call that names a file of the run, or uses one that is open, counts."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: tests/install_apt.sh installs it")
    run = make_run(tmp_path, 8000, 2, 400).path
    first = job("status.py", run, "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    trace = tmp_path / "trace"
    calls = ["-f", "-y", "-e", "trace=%file,%desc", "-o", trace]
    command = [strace, *calls, sys.executable, ROOT / "jobs" / "status.py", run, "--json"]
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
    assert json.loads(second.stdout)["ledger"]["slices"] == 8000
    found = [line for line in trace.read_text().splitlines() if str(run) in line]
    assert any(re.search(r"openat\(.*results/shards\.parquet", line) for line in found)
    assert 100 < len(found) < 1000
    assert not [line for line in found if re.search(r"open\w*\(.*/(samples|answers)/r", line)]
