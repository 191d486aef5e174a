"""Cancel a run's jobs on Slurm: its own only, as recorded at their submission, and record it."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.cancel import main

if __name__ == "__main__":
    run_job(main)
