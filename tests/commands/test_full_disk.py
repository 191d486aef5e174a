"""A full disk at every write of a run: one line each time, and the same command goes on."""

import resource
import shutil
import subprocess

import polars as pl
import pytest
from run_here import found, here, verdicts
from run_jobs import files, samples

from toolkit.errors import WriteFailure
from toolkit.report.document import read_fit, write_fit
from toolkit.report.figures import draw_figures
from toolkit.report.report import write_report
from toolkit.runs.history import point_latest
from toolkit.runs.run import open_run
from toolkit.runs.tables import write_table

WORK = ("--preset", "smoke", "--limit", "3", "--samples", "4", "--slice-samples", "6")
INLINE = ("--launcher", "inline")
ROOM = "nr_blocks=16384,nr_inodes=9999"


def launch(folder):
    return here("launch", *WORK, *INLINE, "--run", folder / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run on a disk with room."""
    folder = tmp_path_factory.mktemp("whole")
    done = launch(folder)
    assert done.code == 0, done
    return folder / "run"


@pytest.fixture
def disk(tmp_path):
    """A small file system, and what sets the number of its files or of its pages."""
    mount = ("mount", "-t", "tmpfs", "-o", ROOM, "full", tmp_path)
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")

    def limit(option):
        subprocess.run(("mount", "-o", f"remount,{option}", tmp_path), check=True)

    yield tmp_path, limit
    subprocess.run(("umount", "--lazy", tmp_path), check=True)


def assert_said_in_one_line(done, reason):
    assert done.code == 1, done
    (line,) = done.errors
    assert f": cannot be written: {reason}; make room or have the limit raised, then run " in line


def assert_nothing_half_written(folder):
    assert not list(folder.rglob(".*"))


def assert_complete(folder, whole):
    done = here("status", folder / "run", "--verify")
    assert done.code == 0, done
    assert here("status", folder / "run").code == 0
    assert samples(folder / "run").equals(samples(whole))
    assert verdicts(folder / "run").equals(verdicts(whole))
    assert found(folder / "run") == found(whole)


def files_in_use(folder):
    return 1 + len(list(folder.rglob("*")))


def pages_in_use(folder):
    found = subprocess.run(("df", "--output=used", folder), capture_output=True, text=True)
    return int(found.stdout.split()[1]) // 4


def until_the_results(disk, whole, stop):
    """Launch with ever more room until the results do not fit. Gives the files that did not."""
    folder, limit = disk
    stopped = []
    while len(stopped) < 60 and not (stopped and stopped[-1].startswith("run/results/")):
        stop(stopped)
        done = launch(folder)
        assert_said_in_one_line(done, "No space left on device")
        assert_nothing_half_written(folder)
        stopped.append(done.errors[0].split(": ")[1].removeprefix(f"{folder}/"))
    limit(ROOM)
    done = launch(folder)
    assert done.code == 0, done
    assert_complete(folder, whole)
    # A host's name and a digest are names of files too.
    return {*stopped, *(place.rpartition("/")[0] for place in stopped)}


@pytest.mark.slow
def test_a_new_run_on_a_disk_with_room_for_some_files_stops_at_the_next(disk, whole):
    folder, limit = disk

    def stop(stopped):
        limit(ROOM)
        shutil.rmtree(folder / "run", ignore_errors=True)
        limit(f"nr_inodes={files_in_use(folder) + 1 + len(stopped)}")

    names = ("problems.parquet", "manifest.json", "rounds/r000.json", "launches.jsonl")
    shards = ("samples/r000-s0001.parquet", "answers/r000-s0001.parquet")
    wanted = {f"run/{name}" for name in (*names, *shards, "isolation", "verdicts", "results")}
    assert wanted <= until_the_results(disk, whole, stop)


@pytest.mark.slow
def test_a_run_on_a_disk_with_a_few_free_pages_gets_further_each_time(disk, whole):
    folder, limit = disk

    def stop(stopped):
        stuck = len(stopped) - next((i for i, x in enumerate(stopped) if x == stopped[-1]), 0)
        limit(f"nr_blocks={pages_in_use(folder) + 1 + stuck}")

    wanted = {"run/problems.parquet", "run/samples"}
    assert wanted <= until_the_results(disk, whole, stop)


@pytest.mark.slow
def test_a_full_disk_at_the_link_and_at_each_file_of_the_results(disk, whole):
    folder, limit = disk
    shutil.copytree(whole, folder / "run")
    run = open_run(folder / "run")
    out, document = run.results_dir, read_fit(run.results_dir)
    counts = pl.read_parquet(out / "counts.parquet")
    before = files(folder)
    limit(f"nr_inodes={files_in_use(folder)}")
    for name, write in {
        "latest": lambda: point_latest(run),
        "counts.parquet": lambda: write_table(out / "counts.parquet", counts, {}),
        "pass_at_k.svg": lambda: draw_figures(document, counts, out / "figures"),
        "report.md": lambda: write_report(document, counts, out),
        "fit.json": lambda: write_fit(document, out),
    }.items():
        with pytest.raises(WriteFailure, match=rf"/{name}: cannot be written: No space left"):
            write()
    assert files(folder) == before


@pytest.fixture
def file_size():
    """Sets how large a file of this process may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_said_like_a_full_disk(tmp_path, whole, file_size):
    for size in (100, 900, 3000):
        file_size(size)
        done = launch(tmp_path)
        file_size(resource.RLIM_INFINITY)
        assert_said_in_one_line(done, "File too large")
        assert_nothing_half_written(tmp_path)
    done = launch(tmp_path)
    assert done.code == 0, done
    assert_complete(tmp_path, whole)
