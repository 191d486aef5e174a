"""Plan from a pilot: what a coverage costs, or what a budget buys, before it is spent."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.plan import main

if __name__ == "__main__":
    run_job(main)
