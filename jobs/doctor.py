"""What this place offers, before it costs hours: isolation, verdicts, file system, Slurm, model."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.doctor import main

if __name__ == "__main__":
    run_job(main)
