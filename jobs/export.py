"""Export a judged run: a bundle, a data set, a log of inspect_ai, or JSONL of programs."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.export import main

if __name__ == "__main__":
    run_job(main)
