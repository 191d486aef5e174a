"""Sample, evaluate and fit: the main job."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.launch import main

if __name__ == "__main__":
    run_job(main)
