"""Many runs as one study: plan, submit, watch, cancel and compare them."""

import _installed  # noqa: F401

from toolkit.cli import run_job
from toolkit.commands.campaign import main

if __name__ == "__main__":
    run_job(main)
