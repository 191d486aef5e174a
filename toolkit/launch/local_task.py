"""What an array task on this machine is: submitit's process, which ends when its launch is gone.

    python -m toolkit.launch.local_task FOLDER SIGNAL LAUNCH

FOLDER is the run's slurm/. The task gets the signal of that number when the process LAUNCH, which
started it, has died in whatever way.
"""

import os
import signal
import sys

from submitit.core.submission import process_job

from toolkit.sandbox.linux import PR_SET_PDEATHSIG, prctl


def main() -> None:
    """Ask the kernel for the signal, then do what submitit's own process does."""
    folder, number, launch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != launch:  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
    process_job(folder)


if __name__ == "__main__":
    main()
