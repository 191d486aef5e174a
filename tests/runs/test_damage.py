"""Every file of a run, damaged in every way: what each command does, and that its remedy works."""

import os
import shutil

import polars as pl
import pytest
from run_here import follow, found, here, verdicts
from run_jobs import files, samples

from toolkit.runs import history

WORK = ("--preset", "smoke", "--limit", "3", "--samples", "8", "--slice-samples", "12")
INLINE = ("--launcher", "inline")
COMMANDS = {
    "status": ("status", "RUN"),
    "verify": ("status", "RUN", "--verify"),
    "evaluate": ("evaluate", "RUN"),
    "fit": ("fit", "RUN"),
    "cancel": ("cancel", "RUN"),
    "resume": ("launch", "--resume", *INLINE, "--run", "RUN"),
}
CACHE = "results/shards.parquet"
"""Status may write it: what it has read of the shards."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete run that nothing has disturbed. Its path has a blank, as paths may."""
    run = tmp_path_factory.mktemp("whole") / "a run"
    done = here("launch", *WORK, *INLINE, "--run", run)
    assert done.code == 0, done.all()
    return run


@pytest.fixture
def run(whole, tmp_path):
    history._warn_once.cache_clear()
    shutil.copytree(whole, tmp_path / "a run", symlinks=True)
    return tmp_path / "a run"


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def deleted(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def foreign(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n" + bytes(range(256)) * 9)


def other_content(path):
    """A sound file of its kind, but with other content than a run's."""
    if path.suffix == ".parquet":
        pl.DataFrame({"task_id": ["HumanEval/0"], "x": [1]}).write_parquet(path)
    else:
        path.write_text("[1, 2]\n")


def torn_pages(path):
    """The end is whole, which tells where the columns are; the columns are not."""
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * (len(data) // 3) + data[4 + len(data) // 3 :])


ALL = (truncated, empty, deleted, foreign, other_content)
SAYS, WORKS, LESS = "says which file", "works", "works on the rest"
RESTORE = dict.fromkeys(COMMANDS, SAYS)
ALL_WORK = dict.fromkeys(COMMANDS, WORKS)
OF_SHARDS = ALL_WORK | {"status": SAYS, "verify": SAYS, "evaluate": LESS, "fit": LESS}
OF_VERDICTS = ALL_WORK | {"status": SAYS, "verify": SAYS, "fit": SAYS}
OF_MAPS = ALL_WORK | {"status": SAYS, "verify": SAYS, "fit": SAYS}
GONE = ALL_WORK | {"status": LESS, "fit": LESS}
CASES = [
    ("manifest.json", ALL, RESTORE),
    ("problems.parquet", ALL, RESTORE | {"cancel": WORKS}),
    ("problems.parquet", (torn_pages,), RESTORE | {"cancel": WORKS}),
    ("rounds/r000.json", ALL, RESTORE | {"cancel": WORKS}),
    ("rounds", (deleted,), RESTORE | {"cancel": WORKS}),
    ("samples/r000-s0001.parquet", (truncated,), OF_SHARDS),
    ("samples/r000-s0001.parquet", (empty, foreign, other_content), OF_SHARDS | {"fit": None}),
    ("samples/r000-s0001.parquet", (torn_pages,), OF_SHARDS | {"evaluate": WORKS, "fit": None}),
    (
        "samples/r000-s0001.parquet",
        (deleted,),
        OF_SHARDS | {"status": LESS, "verify": LESS, "fit": None},
    ),
    ("answers/r000-s0001.parquet", (truncated,), OF_MAPS | {"status": LESS, "fit": LESS}),
    ("answers/r000-s0001.parquet", (empty, foreign), OF_MAPS | {"status": LESS, "fit": None}),
    ("answers/r000-s0001.parquet", (other_content, torn_pages), OF_MAPS),
    ("answers/r000-s0001.parquet", (deleted,), GONE | {"fit": None}),
    ("answers", (deleted,), GONE | {"fit": None}),
    ("verdicts/*.parquet", (truncated, other_content, torn_pages), OF_VERDICTS),
    ("verdicts/*.parquet", (deleted,), GONE | {"fit": SAYS}),
    ("verdicts", (deleted,), GONE | {"fit": SAYS}),
    ("isolation/*.json", (truncated, empty, foreign, other_content), ALL_WORK | {"verify": SAYS}),
    ("isolation/*.json", (deleted,), ALL_WORK),
    ("isolation", (deleted,), ALL_WORK),
    ("launches.jsonl", ALL, ALL_WORK),
    ("slurm", (deleted,), ALL_WORK),
]
TABLE = [
    pytest.param(file, damage, then, id=f"{file}-{damage.__name__}")
    for file, damages, then in CASES
    for damage in damages
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "damage", "then"), TABLE)
def test_each_command_on_a_damaged_run(whole, run, file, damage, then):
    (path,) = run.glob(file)
    damage(path)
    damaged, followed = files(run), set()
    for name, want in then.items():
        if want is None:
            continue
        put_back(run, damaged)
        done = here(COMMANDS[name][0], *(run if f == "RUN" else f for f in COMMANDS[name][1:]))
        context = f"{name}: {done}"
        assert done.code == (0 if want == WORKS else 1), context
        if want == SAYS:
            (line,) = said(done, name)
            assert str(path) in line or "no sample has a verdict" in line, context
        else:
            assert not done.errors, context
        if name in ("status", "verify", "cancel") or (want == SAYS and name == "resume"):
            assert changed(run, damaged) <= {CACHE}, context
        if want == SAYS and line not in followed:
            followed.add(line)
            mend(run, whole, path, line)
            assert_as_if_nothing_had_happened(run, whole)


def said(done, name):
    """The one line that tells of the damage."""
    if name != "verify":
        return done.errors
    lines = done.out.splitlines() if done.out else done.errors
    return [line for line in lines if not line.startswith("verified ")]


def put_back(run, content):
    shutil.rmtree(run)
    for path, data in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def changed(run, before):
    now = files(run)
    return {
        p.relative_to(run).as_posix()
        for p in now.keys() | before.keys()
        if now.get(p) != before.get(p)
    }


def mend(run, whole, path, line):
    """Do what the line says."""
    if (done := follow(line)) is not None:
        assert done.code == 0, done.all()
    elif "restore it from a copy" in line:
        copy = whole / path.relative_to(run)
        if copy.is_dir():
            shutil.copytree(copy, path, dirs_exist_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(copy, path)
    else:
        assert "delete it: " in line or "evaluate" in line, line
        path.unlink(missing_ok=True)


def assert_as_if_nothing_had_happened(run, whole):
    """After one resume for what is left to do."""
    done = here("launch", "--resume", *INLINE, "--run", run)
    assert done.code == 0, done.all()
    assert here("status", run).code == 0
    done = here("status", run, "--verify")
    assert done.code == 0, done.all()
    assert samples(run).equals(samples(whole))
    assert verdicts(run).equals(verdicts(whole))
    assert found(run) == found(whole)
