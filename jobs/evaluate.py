"""Execute the programs of a run that have no verdict yet."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.evaluate import main

if __name__ == "__main__":
    run_job(main)
