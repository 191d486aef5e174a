"""What the installed vLLM has, asked in a process of its own.

To import vLLM takes ten seconds or more, and it reads its environment only then. A process that may
still start an engine must not do so beforehand.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache

from toolkit.errors import EngineRefused, UsageError

LIMIT_SECONDS = 300.0
"""Libraries on a slow file system take long to load for the first time."""


@dataclass(frozen=True, slots=True)
class InstalledVllm:
    """arguments: of the engine. speculation: its kinds, as `speculative_config` names them."""

    version: str
    arguments: frozenset[str]
    speculation: frozenset[str]


def is_installed() -> bool:
    """Whether there is a vLLM in this Python. It is not imported."""
    return importlib.util.find_spec("vllm") is not None


@cache
def installed_vllm() -> InstalledVllm:
    """What the installed vLLM has. Raises `EngineRefused` if it cannot be imported."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"VLLM_CACHE_ROOT": folder, "VLLM_NO_USAGE_STATS": "1"}
        try:
            answer = subprocess.run(
                [sys.executable, "-m", "toolkit.backends.installed_vllm"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise EngineRefused(f"vLLM was not imported within {LIMIT_SECONDS:.0f} s") from None
    if answer.returncode:
        reason = answer.stderr.strip().splitlines()[-1:] or ["vLLM ended while it was imported"]
        raise EngineRefused(reason[0])
    # Before its last line stands what vLLM logs.
    found = json.loads(answer.stdout.splitlines()[-1])
    return InstalledVllm(*found[:1], *map(frozenset, found[1:]))


def main() -> None:
    """Print the version, the arguments and the kinds of speculation, as JSON in one line."""
    from toolkit.backends.vllm import installed

    try:
        version, *lists = installed()
    except UsageError as error:
        sys.exit(str(error))
    print(json.dumps([version, *map(sorted, lists)]))


if __name__ == "__main__":
    main()
