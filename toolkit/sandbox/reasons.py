"""Why a pass may be in doubt: the reasons, and which of them a name gives."""

from collections.abc import Iterable, Mapping
from typing import Final

REASONS: Final[tuple[str, ...]] = (
    "frames",
    "gc",
    "trace",
    "native",
    "processes",
    "code",
    "reports",
    "modules",
    "builtins",
    "test_names",
    "equality",
    "exit",
    "attributes",
    "imports",
    "patching",
    "threads",
    "signals",
    "files",
    "network",
    "text",
    "syntax",
    "random",
)
"""Why a pass is in doubt. A mask has bit i for REASONS[i].

frames, gc, trace: it reaches frames, objects or events of the interpreter. native: code that is not
Python's. processes, threads, signals, files, network, exit: it reaches the system. code: it makes,
changes or evaluates code. reports: it wrote a report of its own. modules, builtins, patching: it
reaches or changes what it shares with the tests. test_names: it binds or reads names of the tests.
equality: it makes values that may compare as they like. attributes, imports, syntax: it uses what
is on no list. text: it does not end where it seems to, or is too large to be read. random: it uses
the random numbers of tests that draw some.
"""

_MODULE_REASONS: Final[Mapping[str, str]] = {
    name: reason
    for reason, names in {
        "native": "ctypes _ctypes mmap cffi",
        "gc": "gc weakref _weakref",
        "frames": "inspect traceback pdb bdb code codeop",
        "trace": "trace profile cProfile tracemalloc faulthandler",
        "builtins": "builtins __main__ __builtin__",
        "modules": "importlib imp pkgutil zipimport runpy toolkit site",
        "code": "types marshal pickle copyreg dis ast symtable _pickle shelve opcode timeit",
        "processes": "os posix subprocess multiprocessing pty concurrent _posixsubprocess",
        "threads": "threading _thread asyncio sched contextvars",
        "signals": "signal _signal",
        "exit": "atexit",
        "files": "pathlib tempfile shutil fileinput glob sqlite3 io _io linecache tokenize",
        "network": "socket _socket ssl urllib http ftplib smtplib socketserver select selectors",
        "equality": "unittest doctest enum",
    }.items()
    for name in names.split()
}
_PATH_REASONS: Final[Mapping[str, str]] = {
    "sys.exit": "exit",
    "os._exit": "exit",
    "os.abort": "exit",
    "sys.modules": "modules",
    "sys._getframe": "frames",
    "sys._current_frames": "frames",
    "sys.exc_info": "frames",
    "sys.settrace": "trace",
    "sys.setprofile": "trace",
    "threading.settrace": "trace",
    "threading.setprofile": "trace",
    "numpy.ctypeslib": "native",
    "numpy.lib": "native",
    "numpy.ndarray": "native",
}
_BUILTIN_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("exit", "quit", "SystemExit"), "exit"),
    **dict.fromkeys(("eval", "exec", "compile", "type", "breakpoint"), "code"),
    **dict.fromkeys(("getattr", "setattr", "delattr", "super"), "attributes"),
    "__import__": "modules",
    "open": "files",
    "memoryview": "native",
}
"""For all other built-ins the reason is "builtins"."""
_FRAME_PREFIXES: Final = ("f_", "tb_", "gi_", "cr_", "ag_")
_FRAME_ATTRIBUTES: Final = {"__traceback__", "__globals__", "__context__", "__cause__"}
_CODE_ATTRIBUTES: Final = {"__code__", "__closure__", "__defaults__", "__kwdefaults__"}


def mask_of(reasons: Iterable[str]) -> int:
    """The reasons as a mask: bit i is REASONS[i]."""
    return sum(1 << REASONS.index(reason) for reason in set(reasons))


def reasons_of(mask: int) -> tuple[str, ...]:
    """The reasons in a mask, in the order of REASONS."""
    return tuple(reason for i, reason in enumerate(REASONS) if mask >> i & 1)


def module_reason(module: str) -> str:
    """Why the import of this module is in doubt."""
    return _MODULE_REASONS.get(module.partition(".")[0], "imports")


def path_reason(path: str) -> str:
    """Why this dotted name of a module is in doubt."""
    known = [r for name, r in _PATH_REASONS.items() if f"{path}.".startswith(f"{name}.")]
    return known[0] if known else module_reason(path)


def attribute_reason(attribute: str) -> str:
    """Why this attribute is in doubt."""
    if attribute.startswith(_FRAME_PREFIXES) or attribute in _FRAME_ATTRIBUTES:
        return "frames"
    if attribute.startswith("co_") or attribute in _CODE_ATTRIBUTES:
        return "code"
    if attribute == "ctypes":
        return "native"
    return "builtins" if attribute == "__builtins__" else "attributes"


def builtin_reason(name: str) -> str:
    """Why a built-in is in doubt that is on no list of plain ones."""
    return _BUILTIN_REASONS.get(name, "builtins")
