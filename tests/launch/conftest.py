"""Programs that answer as Slurm's do, for the tests that need no cluster."""

import pytest


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Writes a program of Slurm's as lines of shell; the only ones on PATH beside the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def program(name, lines):
        path = folder / name
        path.write_text(f"#!/bin/sh\ncd {folder}\n{lines}\n")
        path.chmod(0o755)

    for name in ("sinfo", "sbatch", "squeue", "scancel", "scontrol", "srun"):
        program(name, f"echo '{name}: error: nobody asked for this' >&2; exit 9")
    return program
