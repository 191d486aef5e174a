"""Which judges exist: each kind of verifier, its version, and the defaults of its settings.

They stand apart from the verifiers. So status, fit and cancel know how a run is judged without
loading the sandbox.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import UsageError
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.records import Judge, JudgeChoice, Setting
from toolkit.runs.judge import judge_choice
from toolkit.runs.run import Run


@dataclass(frozen=True, slots=True)
class Kind:
    """What identifies the judges of one kind of verifier.

    version: raised when the same answer may get another verdict. Older verdicts then count as
    missing. defaults: the value of each setting that nobody chose. They never change within a
    version.
    """

    version: int
    defaults: Mapping[str, Setting]


KINDS: Mapping[str, Kind] = {PYTHON_TESTS: Kind(version=1, defaults={"timeout": 3.0})}


def judge_of(choice: JudgeChoice) -> Judge:
    """The judge of a choice, in the version of this code.

    Raises `UsageError` for an unknown verifier or setting.
    """
    kind = _kind(choice.verifier)
    if unknown := [name for name, _ in choice.settings if name not in kind.defaults]:
        raise UsageError(
            f"the verifier {choice.verifier} has no setting {unknown[0]!r}: a newer version of the "
            "toolkit made the run; install that version"
        )
    return Judge(choice, kind.version, tuple(kind.defaults.items()))


def choice_of(verifier: str, timeout: float | None) -> JudgeChoice:
    """The choice of a verifier with this time limit in seconds. None: the default."""
    return _with_timeout(JudgeChoice(verifier), timeout)


def judge_of_run(run: Run, timeout: float | None = None) -> Judge:
    """The run's default judge. With `timeout` (seconds): the same with that time limit."""
    return judge_of(_with_timeout(judge_choice(run), timeout))


def _with_timeout(choice: JudgeChoice, timeout: float | None) -> JudgeChoice:
    if timeout is None:
        return choice
    if "timeout" not in _kind(choice.verifier).defaults:
        raise UsageError(f"--timeout {timeout}: the verifier {choice.verifier} has no time limit")
    if not 0 < timeout < math.inf:
        raise UsageError(f"--timeout {timeout}: must be over 0 and finite")
    settings = {**dict(choice.settings), "timeout": timeout}
    return JudgeChoice.of(choice.verifier, settings, _kind(choice.verifier).defaults)


def _kind(verifier: str) -> Kind:
    if verifier not in KINDS:
        raise UsageError(
            f"there is no verifier {verifier!r}; valid: {', '.join(KINDS)}; a newer version of the "
            "toolkit made the run; install that version"
        )
    return KINDS[verifier]
