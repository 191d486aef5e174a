"""Write a run's samples as one HTML page: what was asked, what came, and why it failed."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.browse import main

if __name__ == "__main__":
    run_job(main)
