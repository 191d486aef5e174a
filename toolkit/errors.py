"""The one tree of errors a user may meet, and the exit codes they end in.

Every message is one line: what went wrong, where, and what to do next. `jobs/` prints it
without a traceback; anything else that escapes is a bug and keeps its traceback.
"""

EXIT_DONE = 0
EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_REQUEUE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is lost, the same command is worth running again."""


class ToolkitError(Exception):
    """Work could not be completed; what is on disk is intact."""

    exit_code = EXIT_INCOMPLETE


class UsageError(ToolkitError):
    """The command, the configuration or an input file is wrong; nothing was written."""

    exit_code = EXIT_USAGE


class RunMismatch(UsageError):
    """A launch disagrees with the identity of the run it names."""


class CorruptShard(ToolkitError):
    """A file of a run cannot be read back, or is not the file its name says."""


class IsolationUnavailable(UsageError):
    """This node cannot confine untrusted programs as strongly as asked."""


class EngineFailure(ToolkitError):
    """The inference engine died or refused to start."""


class SlurmFailure(ToolkitError):
    """A command of Slurm failed, did not answer in time, or is not installed.

    said: what the command wrote to stderr.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said
