"""The child of an errand: it calls the function, writes its output, and tells of a failure.

A child that has done its errand may wait for another one that follows upon it. Then it tells so,
and gets the next payload over the same socket, with new descriptors for input and output.
"""

import struct
from collections.abc import Callable
from os import _exit, close, dup2, getpid, write  # a program may replace them in `os`
from socket import (
    AF_UNIX,
    CMSG_LEN,
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from typing import Final, NamedTuple

from toolkit.records import FAILURE_KINDS, FailureKind
from toolkit.sandbox import failures, linux
from toolkit.sandbox.protocol import FAILED, FOLLOWING, WAITS

REPORT_BYTES: Final = 1024
"""Length of what a child tells of a failure: FAILED, the index of the kind, the detail."""
_DESCRIPTORS: Final = struct.Struct("=2i")
_LONGEST_PART: Final = 1 << 16

Function = Callable[[bytes], bytes]


class ErrandFailed(Exception):
    """Raised by a function that knows the kind of failure itself."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Following(NamedTuple):
    """What a child is told of an errand that follows. more: whether still another may follow."""

    payload: bytes | bytearray
    more: bool


def call(function: Function, payload: bytes, pipe: int, *, more: bool) -> None:
    """Write what the function returns, or tell over `pipe` why it failed; go on while there is
    `more`.
    """
    itself = getpid()
    try:
        while True:
            left = memoryview(function(payload))
            while left:
                left = left[write(1, left) :]
            # A process that the program has started may come here too.
            if not more or getpid() != itself or (following := _wait(pipe)) is None:
                return
            payload, more = bytes(following.payload), following.more
    except BaseException as error:
        if getpid() == itself:  # what a process says that it has started counts for nothing
            _tell(error, pipe)
        _exit(linux.EXIT_STATUS)


def send_following(pipe: int, following: Following, source: int, output: int) -> bool:
    """In the worker: hand the next errand to a child that waits; whether it could be sent at once.

    source, output: what it gets as its descriptors 0 and 1.
    """
    head = FOLLOWING.pack(following.more, len(following.payload))
    channel = socket(AF_UNIX, SOCK_STREAM, 0, pipe)
    try:
        passed = [(SOL_SOCKET, SCM_RIGHTS, _DESCRIPTORS.pack(source, output))]
        sent = channel.sendmsg([head, following.payload], passed, MSG_DONTWAIT)
        return sent == len(head) + len(following.payload)
    except OSError:
        return False
    finally:
        channel.detach()


def _wait(pipe: int) -> Following | None:
    """Wait for the errand that follows; None if the program has closed the socket."""
    try:
        write(pipe, WAITS)
        channel = socket(AF_UNIX, SOCK_STREAM, 0, pipe)
    except OSError:
        return None
    try:
        text, passed, _, _ = channel.recvmsg(
            _LONGEST_PART, CMSG_LEN(_DESCRIPTORS.size), MSG_CMSG_CLOEXEC
        )
        ((_, _, data),) = passed
        for number, descriptor in enumerate(_DESCRIPTORS.unpack(data)):
            dup2(descriptor, number)
            close(descriptor)
        more, size = FOLLOWING.unpack_from(text)
        while len(text) < FOLLOWING.size + size:
            part = channel.recv(_LONGEST_PART)
            if not part:
                raise EOFError
            text += part
        return Following(text[FOLLOWING.size :], more)
    finally:
        channel.detach()


def _tell(error: BaseException, pipe: int) -> None:
    if isinstance(error, ErrandFailed):
        kind, detail = error.kind, str(error)
    else:
        kind = failures.kind_of(error)
        detail = f"{type(error).__name__}: {error}".removesuffix(": ")
    report = FAILED + bytes([FAILURE_KINDS.index(kind)])
    write(pipe, report + detail.encode("utf-8", "backslashreplace")[: REPORT_BYTES - len(report)])
