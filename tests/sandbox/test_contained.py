"""Hostile programs are contained: by namespaces, without them, and started by an ordinary user."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from busy import patience
from hostile_programs import Observation, complaints, descendants, expectations, run_folder
from ordinary_user import OrdinaryUser, ordinary_user
from run_jobs import ROOT
from without_namespaces import AS_ROOT, AS_USER, needs_no_namespaces

TESTS = ROOT / "tests"
SHARED = ROOT.parent / "shared"
HOSTILE = [
    TESTS / "hostile",
    pytest.param(
        SHARED / "execution/hostile",
        marks=pytest.mark.skipif(
            not SHARED.is_dir(), reason=f"the second set of hostile programs is not at {SHARED}"
        ),
    ),
]
SECOND_TO_REPEAT = [
    HOSTILE[0],
    pytest.param(SHARED / "execution/hostile", marks=[*HOSTILE[1].marks, pytest.mark.repeats]),
]
"""In `make test`, root runs both sets, by namespaces; the other ways are shown by the first one."""
NAMESPACES, NO_NAMESPACES = True, False


def check_folder(folder: Path, outcomes: dict[str, Observation], *, namespaces: bool) -> None:
    wrong = []
    for name, expected in expectations(folder).items():
        wrong += complaints(name, expected, outcomes[name], namespaces=namespaces)
    assert not wrong


def observations(output: bytes) -> dict[str, Observation]:
    return {name: Observation(**row) for name, row in json.loads(output).items()}


@pytest.mark.slow
@pytest.mark.parametrize("folder", HOSTILE, ids=["own", "shared"])
def test_hostile_programs_are_contained(folder: Path) -> None:
    check_folder(folder, run_folder(folder), namespaces=NAMESPACES)


@pytest.mark.slow
@pytest.mark.parametrize("folder", SECOND_TO_REPEAT, ids=["own", "shared"])
def test_hostile_programs_are_contained_without_namespaces(folder: Path) -> None:
    needs_no_namespaces()
    command = [*AS_USER, sys.executable, "-B", TESTS / "hostile_programs.py", folder, "weak"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    check_folder(folder, observations(done.stdout), namespaces=NO_NAMESPACES)


@pytest.fixture(scope="module")
def user() -> Iterator[OrdinaryUser]:
    yield from ordinary_user()


@pytest.mark.slow
@pytest.mark.parametrize("folder", SECOND_TO_REPEAT, ids=["own", "shared"])
def test_hostile_programs_are_contained_for_an_ordinary_user(
    folder: Path, user: OrdinaryUser
) -> None:
    readable = user.place / "hostile" / folder.parent.name
    shutil.copytree(folder, readable)
    got = user.run("hostile_programs.py", str(readable), "strongest")
    check_folder(folder, observations(got), namespaces=NAMESPACES)


SUPERVISOR = """
import sys
sys.path.insert(0, {root!r})
from toolkit.sandbox.executor import Executor
from toolkit.records import Answer, answer_digest
text = "import posix, time, os\\nopen('left_here', 'w')\\n" + {fork!r} + "time.sleep(50)"
with Executor({{"x": ""}}, workers=2, isolation={level!r}) as executor:
    print("ready", flush=True)
    list(executor.run([Answer("x", answer_digest(text), text)] * 4))
"""


@contextlib.contextmanager
def family_of_a_supervisor(level: str, scratch: Path) -> Iterator[tuple[Any, set[int]]]:
    """A supervisor with two busy workers, and all processes below it."""
    fork = "posix.fork() or posix.setsid(); posix.fork()\n" if level == "strongest" else ""
    script = SUPERVISOR.format(root=str(ROOT), fork=fork, level=level)
    environment = {**os.environ, "TMPDIR": str(scratch)}
    scratch.chmod(0o777)
    command = [*(AS_ROOT if level == "weak" else []), sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"ready\n"
        family: set[int] = set()
        deadline = time.monotonic() + patience(10)
        while len(family) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
            family = descendants(supervisor.pid)
        assert len(family) >= 6  # two workers, what stands beside each, and their programs
        yield supervisor, family
        supervisor.kill()


def assert_all_gone(family: set[int], scratch: Path) -> None:
    deadline = time.monotonic() + patience(10)
    while time.monotonic() < deadline and (_alive(family) or any(scratch.iterdir())):
        time.sleep(0.05)
    assert not _alive(family)
    assert list(scratch.iterdir()) == []


def _alive(pids: set[int]) -> list[int]:
    """Those that are neither gone nor waiting for whoever is now their parent to collect them."""
    alive = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if " Z " not in Path(f"/proc/{pid}/stat").read_text():
                alive.append(pid)
    return alive


@pytest.mark.parametrize("level", ["strongest", "weak"])
def test_kill_9_of_the_supervisor_leaves_nothing(level: str, tmp_path: Path) -> None:
    if level == "weak":
        needs_no_namespaces()
    with family_of_a_supervisor(level, tmp_path) as (supervisor, family):
        supervisor.kill()
        assert_all_gone(family, tmp_path)


def test_kill_9_of_a_worker_without_namespaces_ends_its_program(tmp_path: Path) -> None:
    needs_no_namespaces()
    with family_of_a_supervisor("weak", tmp_path) as (supervisor, family):
        programs = {pid for pid in family if not descendants(pid)}
        supervisor.send_signal(signal.SIGSTOP)  # it must not start others in their place
        workers = {_parent(pid) for pid in programs}
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert_all_gone(workers | programs, tmp_path)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
