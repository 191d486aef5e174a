"""Fit fail@k and write the report of a run, or of a file of counts."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.fit import main

if __name__ == "__main__":
    run_job(main)
