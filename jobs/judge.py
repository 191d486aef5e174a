"""Judge programs as they come on stdin: a service for search, best-of-n and rewards."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.judge import main

if __name__ == "__main__":
    run_job(main)
