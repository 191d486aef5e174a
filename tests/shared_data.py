"""Where the data of public tasks are on this machine, if they are."""

from pathlib import Path

import pytest

SHARED = Path("/work/shared/data/tasks")


def shared(name):
    """The path of one of their files. Where it is absent, the test is skipped with the reason."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    return path
