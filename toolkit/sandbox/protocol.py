"""The messages of supervisor and worker, and the codes in them.

The two talk over one socket. First the supervisor sends a `Setup`, and the worker answers with a
`Confined` or a `Refused`: each is JSON text after its length. From then on every job is one
request, and every request gets one reply. A worker takes requests in their order; replies name
their job, and may come in another order.

Nothing that comes from a worker is unpickled or evaluated: a reply is a fixed head and a text.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, Final, TypedDict

from toolkit.records import FAILURE_KINDS, FailureKind, Outcome

LENGTH: Final = struct.Struct("=I")
"""Bytes of JSON text that follow."""

REQUEST: Final = struct.Struct("=QIfcI")
"""Number of the job, index of its ending, timeout in seconds, mode, bytes of text that follow."""
ALONE, TOGETHER, LAST = b"A", b"T", b"L"
"""Mode: in a child of its own; in a batch; in a batch, which is complete with it."""

REPLY: Final = struct.Struct("=QccBfIH")
"""Number of the job, code, load, kind, seconds, suspicions, bytes of detail that follow.

kind: an index of `toolkit.records.FAILURE_KINDS`. suspicions: a mask of `reasons.REASONS`.
"""
ERRAND: Final = struct.Struct("=Qf??II")
"""Of an errand: its number, timeout in seconds, whether the child that waits may do it, whether
another may follow; bytes of payload and bytes of input that follow.
"""
RESULT: Final = struct.Struct("=Qcc?BfHI")
"""Of an errand: its number, code, load, whether its child waits for another, kind, seconds, bytes
of detail and of output that follow.

The code is PASSED for an errand that is done, FAILED or TIMED_OUT.
"""
WAITS: Final = b"\0waits\0\n"
"""What a child writes that has done an errand and waits for another one."""
FOLLOWING: Final = struct.Struct("=?I")
"""What a child gets then: whether still another may follow, bytes of payload that follow.

Two descriptors come with it: of the input, and of the place for the output.
"""
PASSED, FAILED, TIMED_OUT = b"P", b"F", b"T"
OUTCOMES: Final[dict[bytes, Outcome]] = {
    PASSED: "passed",
    FAILED: "failed",
    TIMED_OUT: "timed_out",
}
"""The codes that are verdicts."""
UNFIT, SLOW = b"U", b"S"
"""Codes of a batch without a verdict: the program must be executed alone. UNFIT: it is not tame,
or did something out of the ordinary. SLOW: it took long, and will probably time out."""
SUSPECT = b"?"
"""What a child writes before the index of a suspicion (`toolkit.sandbox.reasons.REASONS`)."""
QUIET, BUSY = b"Q", b"B"
"""Load. BUSY: the program's time ran out while it often had to wait for a core; the verdict is
doubtful."""


class AnySetup(TypedDict):
    """What every worker is told at its start."""

    limits: dict[str, Any]
    """The fields of `toolkit.sandbox.confine.Limits`."""
    disabled: dict[str, str]
    """Mechanisms of confinement to leave out: name -> why."""
    libraries: list[str]
    """What programs may import beside the standard library; each is imported at the start."""
    scratch_root: str
    """The directory for scratch files where no private /tmp can be mounted."""


class Setup(AnySetup):
    """What a worker is told that judges programs."""

    endings: list[str]
    """The text that follows each program of a problem; requests name it by its index."""
    prompts: list[str]
    """The text that programs of a problem may begin with, by the same index."""


class ErrandSetup(AnySetup):
    """What a worker is told that does errands."""

    function: str
    """`package.module:name` of the function that does an errand."""
    readable: list[str]
    """Files and directories that errands may read, beside the system and Python."""
    output_bytes: int
    """An errand with more output has failed."""


class Confined(TypedDict):
    """The worker's answer when it is ready."""

    report: dict[str, str]
    """The isolation report: mechanism -> "on", or "off" and why."""


class Refused(TypedDict):
    """The worker's answer when the node refuses a mechanism; the worker then ends."""

    failed: str
    """Name of the mechanism."""
    why: str


def frame(message: Mapping[str, object]) -> bytes:
    """A `Setup`, or the answer to it, as it is sent."""
    text = json.dumps(message).encode()
    return LENGTH.pack(len(text)) + text


def request(number: int, ending: int, timeout: float, mode: bytes, program: str) -> bytes:
    """A request, as it is sent; `program` may hold lone surrogates."""
    text = program.encode("utf-8", "surrogatepass")
    return REQUEST.pack(number, ending, timeout, mode, len(text)) + text


def reply(
    number: int,
    code: bytes,
    load: bytes = QUIET,
    seconds: float = 0.0,
    kind: FailureKind = "",
    detail: bytes = b"",
    suspicions: int = 0,
) -> bytes:
    """A reply, as it is sent; `detail` has less than 65,536 bytes."""
    index = FAILURE_KINDS.index(kind)
    return REPLY.pack(number, code, load, index, seconds, suspicions, len(detail)) + detail


def part(data: bytes) -> bytes:
    """One of several outputs of an errand, after its length."""
    return LENGTH.pack(len(data)) + data


def parts(output: bytes) -> list[bytes]:
    """The outputs in an errand's output that are there whole, in their order."""
    found, at = [], 0
    while at + LENGTH.size <= len(output):
        end = at + LENGTH.size + LENGTH.unpack_from(output, at)[0]
        if end > len(output):
            break
        found.append(output[at + LENGTH.size : end])
        at = end
    return found


def errand(
    number: int, timeout: float, payload: bytes, stdin: bytes, *, follows: bool, more: bool
) -> bytes:
    """An errand, as it is sent."""
    head = ERRAND.pack(number, timeout, follows, more, len(payload), len(stdin))
    return head + payload + stdin


def result_head(
    number: int,
    code: bytes,
    load: bytes,
    seconds: float,
    kind: FailureKind,
    detail: bytes,
    output_bytes: int,
    *,
    waits: bool,
) -> bytes:
    """What became of an errand, as it is sent before its output.

    `detail` has less than 65,536 bytes.
    """
    index = FAILURE_KINDS.index(kind)
    head = RESULT.pack(number, code, load, waits, index, seconds, len(detail), output_bytes)
    return head + detail
