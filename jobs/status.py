"""How far a run is, in samples, and what Slurm says of its jobs."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.status import main

if __name__ == "__main__":
    run_job(main)
