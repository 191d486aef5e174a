"""All errors that a user may meet, and the exit codes of the jobs.

Every message is one line: what went wrong, where, and what to do next. A job prints it without a
traceback. Any other exception is a bug and keeps its traceback.
"""

from typing import NoReturn

EXIT_DONE = 0
EXIT_INCOMPLETE = 1
EXIT_USAGE = 2


class ToolkitError(Exception):
    """Work could not be completed. The files on disk are intact."""

    exit_code = EXIT_INCOMPLETE


class UsageError(ToolkitError):
    """The command, the configuration or an input file is wrong. Nothing was written."""

    exit_code = EXIT_USAGE


class RunMismatch(UsageError):
    """A launch disagrees with the identity of the run it names."""


class CorruptShard(ToolkitError):
    """A file of a run cannot be read, or does not hold what its name says."""


class WriteFailure(ToolkitError):
    """A file cannot be written: no room, no right, or a fault of the disk. The old one stays."""


class IsolationUnavailable(UsageError):
    """This node cannot confine untrusted programs as strongly as the user asked."""


class EngineFailure(ToolkitError):
    """The inference engine died. Another one may do better."""


class EngineRefused(EngineFailure):
    """The inference engine said why it cannot start. Another one would say the same."""


class StartInterrupted(Exception):
    """A stop was requested while an engine started. It never reaches the user."""


class SlurmFailure(ToolkitError):
    """A command of Slurm failed, did not answer in time, or is not installed.

    said: what the command wrote to stderr, "" if nothing.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


def refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Raise `UsageError` for the value of a flag. name: of its field. wanted: what it must be."""
    raise UsageError(f"--{name.replace('_', '-')} {value}: must be {wanted}")
