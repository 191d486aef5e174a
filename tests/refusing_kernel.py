"""Run a piece of Python while the kernel refuses some system calls, as a disk or a quota would.

    python refusing_kernel.py 'write=EDQUOT,link=EPERM' 'print(1)'

A seccomp filter refuses them, so nothing of the code under test is replaced. Calls on the standard
streams are let through.
"""

import ctypes
import errno
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {"write": (1, 18, 20), "fsync": (74,), "link": (86, 265), "renameat2": (316,)},
    "aarch64": {"write": (64, 68, 66), "fsync": (82,), "link": (37,), "renameat2": (276,)},
}
LOAD, EQUAL, GREATER, RETURN = 0x20, 0x15, 0x25, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2


def refuse(calls):
    """calls: name -> number of the error. Holds until the process ends."""
    allow = struct.pack("HBBI", RETURN, 0, 0, ALLOW)
    code = b""
    for name, error in calls.items():
        for number in NUMBERS[platform.machine()][name]:
            code += struct.pack("HBBI", LOAD, 0, 0, 0)
            code += struct.pack("HBBI", EQUAL, 0, 3, number)
            code += struct.pack("HBBI", LOAD, 0, 0, 16)  # the first argument: often a descriptor
            code += struct.pack("HBBI", GREATER, 0, 1, 2)
            code += struct.pack("HBBI", RETURN, 0, 0, ERRNO | error)
    code += allow
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(SECCOMP, FILTER, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()


if __name__ == "__main__":
    wanted = dict(pair.split("=") for pair in sys.argv[1].split(","))
    code = compile(sys.argv[2], "refused", "exec")
    refuse({name: getattr(errno, error) for name, error in wanted.items()})
    exec(code)
