"""Run a command on a terminal of its own, as a user does, and type into it."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

from run_jobs import ROOT

INTERRUPT = b"\x03"
"""What Ctrl-C sends."""


def job_on_terminal(name, *flags, cwd, columns=80, keys=b"", after=None, seconds=120):
    """Run a job on a terminal; (exit code, what the terminal was sent).

    keys: typed once the output matches the pattern `after`.
    """
    command = [sys.executable, str(ROOT / "jobs" / name), *map(str, flags)]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    sent, deadline = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"no end after {seconds} s: {sent.decode(errors='replace')}"
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is closed
            break
        sent += part
        if keys and re.search(after, sent.decode(errors="replace")):
            os.write(terminal, keys)
            keys = b""
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), sent.decode(errors="replace")
