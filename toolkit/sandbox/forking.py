"""What every worker does: confine itself once, then fork a child for each thing to execute."""

import contextlib
import json
import os
import resource
import select
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from os import kill  # the guard of the programs takes it out of `os`
from typing import Any

from toolkit.sandbox import confine, linux, protocol
from toolkit.sandbox.child import Child


class ForkingWorker(ABC):
    """A confined process that forks children, and answers over `channel`."""

    def __init__(self, channel: socket.socket, confinement: confine.Confinement) -> None:
        self._channel = channel
        self._confinement = confinement

    @abstractmethod
    def serve(self) -> None:
        """Do what the supervisor sends until it closes the channel."""

    def _fork(self, action: Callable[[int], None], cpu_seconds: int) -> Child:
        """Start a child for `action`, which is given its end of a pipe.

        It is a pair of sockets: what a program has sent, it cannot read again. Of a pipe it could
        open the other end through /proc.
        """
        pipe, child_end = (end.detach() for end in socket.socketpair())
        pid = linux.bare_fork()
        if pid == 0:
            os.close(pipe)
            self._child_main(action, child_end, cpu_seconds)
        os.close(child_end)
        return Child(
            pid,
            pipe,
            self._confinement.proc,
            pid_namespace=self._confinement.pid_namespace,
        )

    def _child_main(self, action: Callable[[int], None], pipe: int, cpu_seconds: int) -> None:
        """In the child: the last steps of confinement, the action, the end."""
        end = os._exit  # bound before the program can replace it
        status = linux.EXIT_STATUS
        try:
            os.setsid()
            os.close(self._channel.fileno())
            os.close(self._confinement.proc)
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
            for step in self._confinement.child_steps:
                step()
            action(pipe)
            status = 0
        finally:
            end(status)

    def _clean_up(self, child: Child) -> None:
        """End and reap a child and all that it started, and take their files away."""
        with contextlib.suppress(ProcessLookupError):
            kill(-1 if self._confinement.pid_namespace else child.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        os.close(child.pipe)
        self._confinement.scratch.renew()

    def _check_supervisor(self) -> None:
        """Raise `EOFError`, which ends the worker and its programs, when the supervisor is gone."""
        poll = select.poll()
        poll.register(self._channel, 0)  # nothing but the hang-up, which is always reported
        if poll.poll(0):
            raise EOFError


def take_channel() -> tuple[socket.socket, Any]:
    """The channel, which is the standard input of a worker at its start, and the setup from it."""
    channel = socket.socket(fileno=os.dup(0))
    channel.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    size = protocol.LENGTH.unpack(channel.recv(protocol.LENGTH.size, socket.MSG_WAITALL))[0]
    return channel, json.loads(channel.recv(size, socket.MSG_WAITALL))


def main(
    channel: socket.socket,
    setup: protocol.AnySetup,
    get_ready: Callable[[confine.Confinement], ForkingWorker],
    readable: Sequence[str] = (),
) -> None:
    """Confine this process, say what was reached, and let the worker serve until the end.

    readable: the paths that stay visible, beside the system and Python.
    """
    confinement = None
    try:
        confinement = confine.confine(
            confine.Limits(**setup["limits"]),
            setup["disabled"],
            setup["scratch_root"],
            readable=readable,
        )
        worker = get_ready(confinement)
        answer(channel, protocol.Confined(report=confinement.report))
        worker.serve()
    except confine.MechanismFailed as failure:
        refuse(channel, failure)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the supervisor is gone
    finally:
        if confinement is not None:
            confinement.scratch.remove()


def refuse(channel: socket.socket, failure: confine.MechanismFailed) -> None:
    """Say that this worker cannot serve, and why."""
    answer(channel, protocol.Refused(failed=failure.name, why=failure.why))


def answer(channel: socket.socket, message: Mapping[str, object]) -> None:
    """Answer to the setup."""
    channel.sendall(protocol.frame(message))
