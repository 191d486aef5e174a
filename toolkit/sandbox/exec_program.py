"""Executes a program of the node, such as a prover, with files of its own in the scratch directory.

It runs in the child of an errand (`toolkit.sandbox.errand_worker`), which becomes the program. The
payload is a JSON object {argv, files, environment}. argv: the program's absolute path and its
arguments. files: name -> text, written into the working directory. environment: variables beside
the sandbox's own. The output is what the program writes to descriptor 1.
"""

import json
import os
from pathlib import Path
from typing import Final

from toolkit.sandbox.errand_child import ErrandFailed

NOT_STARTED: Final = "cannot be started"
"""In the detail of a failure that is not the program's: there was none."""


def run(payload: bytes) -> bytes:
    """Become the program. Raises `ErrandFailed` where the system does not start it."""
    given = json.loads(payload)
    for name, text in given["files"].items():
        Path(name).write_bytes(text.encode("utf-8", "surrogatepass"))
    argv = given["argv"]
    try:
        os.execve(argv[0], argv, {**os.environ, **given.get("environment", {})})
    except OSError as error:
        why = f"{argv[0]} {NOT_STARTED}: {error.strerror}"
        raise ErrandFailed("refused", why) from None
