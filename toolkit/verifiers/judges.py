"""Which judges exist: each kind of verifier, its version, and the defaults of its settings.

They stand apart from the verifiers. So status, fit and cancel know how a run is judged without
loading the sandbox.
"""

import keyword
import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.cli import job_command
from toolkit.errors import UsageError
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.problems.swe_bench import KIND as SWE_BENCH
from toolkit.problems.task import Task
from toolkit.records import Judge, JudgeChoice, Setting
from toolkit.runs.judge import judge_choice
from toolkit.runs.run import Run
from toolkit.runs.second_judge import REFERENCES, second_judge
from toolkit.verifiers.judge_files import settings_of_files

REPORTED = "reported"
"""The kind of problems whose samples were published with their verdicts."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What identifies the judges of one kind of verifier.

    version: raised when the same answer may get another verdict. Older verdicts then count as
    missing. defaults: the value of each setting that nobody chose. They never change within a
    version. harness: who judges instead of this toolkit, in words; "" if the toolkit does.
    """

    version: int
    defaults: Mapping[str, Setting]
    harness: str = ""


KINDS: Mapping[str, Kind] = {
    PYTHON_TESTS: Kind(version=2, defaults={"timeout": 3.0, "libraries": "numpy"}),
    "stdin": Kind(
        version=1,
        defaults={
            "timeout": 6.0,
            "checker": "tokens",
            "answer": "fenced",
            "libraries": "numpy",
        },
    ),
    "number": Kind(version=1, defaults={"answer": "last_number"}),
    "choice": Kind(version=1, defaults={"answer": "choice"}),
    "math": Kind(version=1, defaults={"timeout": 10.0, "answer": "boxed"}),
    "proof": Kind(version=1, defaults={"timeout": 60.0, "prover": "metamath", "digest": ""}),
    "command": Kind(
        version=1,
        defaults={
            "timeout": 60.0,
            "answer": "whole",
            "command": "",
            "folder": "",
            "digest": "",
        },
    ),
    "file": Kind(
        version=1,
        defaults={"timeout": 10.0, "file": "", "folder": "", "digest": "", "own_version": ""},
    ),
    SWE_BENCH: Kind(version=1, defaults={}, harness="SWE-bench's harness"),
    REPORTED: Kind(version=1, defaults={}),
}
OF_FILES = ("folder", "digest", "own_version")
"""The settings that say which files of the user's decide, as they are now."""
NO_LIBRARIES = "none"
"""The setting `libraries` of a judge whose programs see the standard library only."""


def judge_of(choice: JudgeChoice) -> Judge:
    """The judge of a choice, in the version of this code.

    Raises `UsageError` for an unknown verifier or setting.
    """
    kind = _kind(choice.verifier)
    known = {*kind.defaults, REFERENCES}
    if unknown := [name for name, _ in choice.settings if name not in known]:
        raise UsageError(
            f"the verifier {choice.verifier} has no setting {unknown[0]!r}: a newer version of the "
            "toolkit made the run; install that version"
        )
    return Judge(choice, kind.version, tuple(kind.defaults.items()))


def choice_of(
    verifier: str,
    timeout: float | None = None,
    libraries: str | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> JudgeChoice:
    """The choice of a verifier with these settings; None: the default.

    settings: a task's, by name, which the others override. For these, and for what is raised, see
    `with_settings`.
    """
    choice = JudgeChoice.of(verifier, settings or {}, _kind(verifier).defaults)
    return with_settings(choice, timeout, libraries)


def with_settings(choice: JudgeChoice, timeout: float | None, libraries: str | None) -> JudgeChoice:
    """The choice with these settings in place of its own; None leaves one as it is.

    timeout: in seconds. libraries: names with commas between, or "none". Raises `UsageError` for a
    value that cannot be, or that the verifier has no use for.
    """
    defaults = _kind(choice.verifier).defaults
    settings = dict(choice.settings)
    if timeout is not None:
        if "timeout" not in defaults:
            raise UsageError(
                f"--timeout {timeout}: the verifier {choice.verifier} has no time limit"
            )
        if not 0 < timeout < math.inf:
            raise UsageError(f"--timeout {timeout}: must be over 0 and finite")
        settings["timeout"] = timeout
    if libraries is not None:
        if "libraries" not in defaults:
            raise UsageError(
                f"--libraries {libraries}: the verifier {choice.verifier} imports no libraries"
            )
        settings["libraries"] = _libraries_setting(libraries)
    return JudgeChoice.of(choice.verifier, settings, defaults)


def choice_of_task(task: Task) -> JudgeChoice:
    """The choice that a task's [judge] table makes. Raises `UsageError` for what no judge takes."""
    where = f"{task.file}: [judge]"
    if task.kind not in KINDS:
        raise UsageError(f"{where} kind = {task.kind!r}: not known; valid: {', '.join(KINDS)}")
    defaults = KINDS[task.kind].defaults
    for name, value in task.settings.items():
        if name not in defaults:
            raise UsageError(f"{where} {name}: unknown setting; valid: {', '.join(defaults)}")
        if type(value) is not type(defaults[name]):
            wanted = type(defaults[name]).__name__
            raise UsageError(f"{where} {name} = {value!r}: must be a {wanted}")
    try:
        of_files = settings_of_files(task.kind, task.settings, task.file)
    except UsageError as error:
        raise UsageError(f"{where} {error}") from None
    libraries = task.settings.get("libraries")
    return choice_of(
        task.kind,
        libraries=None if libraries is None else str(libraries),
        settings={**task.settings, **of_files},
    )


def with_files_of(judge: Judge, task: JudgeChoice | None) -> Judge:
    """The judge with its task's files as they are now, where only these have changed since.

    task: how the task is judged now; None: not known. A judge of another kind, or by another
    command or file, stays as it is, but for the place of the same files.
    """
    if task is None:
        return judge
    old, now = judge.settings, judge_of(task).settings
    own = judge.verifier in ("command", "file") and task.verifier == judge.verifier
    if not own or any(old[n] != now.get(n) for n in old if n not in (*OF_FILES, "timeout")):
        return judge_of(judge.choice.placed_as(task))
    settings = old | {name: now[name] for name in OF_FILES if name in old}
    return judge_of(choice_of(judge.verifier, settings=settings))


def judge_of_run(
    run: Run, timeout: float | None = None, libraries: str | None = None, name: str = ""
) -> Judge:
    """The run's default judge, but with the settings that are given; see `choice_of`.

    name: of a judge that the run has besides its own, in place of that.
    """
    choice = second_judge(run, name).choice if name else judge_choice(run)
    return judge_of(with_settings(choice, timeout, libraries))


def harness_of(judge: Judge) -> str:
    """Who gives this judge's verdicts, in words; "" if the toolkit judges by itself."""
    return KINDS[judge.verifier].harness


def harness_steps(run: Path) -> str:
    """What to do where answers of the run in this directory wait for the verdicts of a harness."""
    return (
        f"`{job_command('evaluate')} {shlex.quote(str(run))} --export-predictions DIR`, run the "
        "harness on each file there, then --import-report with its reports"
    )


def library_names(setting: Setting) -> tuple[str, ...]:
    """The libraries that a judge's setting `libraries` names, sorted; none for "none"."""
    return () if setting == NO_LIBRARIES else tuple(str(setting).split(","))


def _libraries_setting(text: str) -> str:
    """The one way to write a choice of libraries: sorted, each once, with commas between."""
    names = sorted({name.strip() for name in text.split(",")})
    if names == [NO_LIBRARIES]:
        return NO_LIBRARIES
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name == NO_LIBRARIES:
            raise UsageError(
                f"--libraries {text}: {name!r} is no name of a library; give names as they are "
                'imported, with commas between, such as numpy,pandas, or only "none"'
            )
        if name in sys.stdlib_module_names:
            raise UsageError(
                f"--libraries {text}: {name} is of the standard library, which is always there; "
                "leave it out"
            )
    return ",".join(names)


def _kind(verifier: str) -> Kind:
    if verifier not in KINDS:
        raise UsageError(
            f"there is no verifier {verifier!r}; valid: {', '.join(KINDS)}; a newer version of the "
            "toolkit made the run; install that version"
        )
    return KINDS[verifier]
