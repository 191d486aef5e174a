"""The floor of execution: a bare loop of `exec`, in one process, without any isolation.

Reads JSON from standard input: a list of texts that may be trusted. Prints how many passed.
"""

import contextlib
import io
import json
import sys


def main() -> None:
    """Execute all texts, one after the other."""
    passed = 0
    for text in json.load(sys.stdin):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            exec(text, {})
            passed += 1
    print(passed)


if __name__ == "__main__":
    main()
