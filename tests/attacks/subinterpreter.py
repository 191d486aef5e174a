# Native code in an interpreter without audit hooks.
import _xxsubinterpreters as interpreters

interpreters.run_string(
    interpreters.create(), f"import ctypes\nctypes.memmove({handler()}, {RETURN!r}, 2)"
)
