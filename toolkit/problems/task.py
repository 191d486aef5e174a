"""A task: problems, how a model is asked, and how answers are judged. A TOML file says it.

    about   = "one line for people"
    format  = "own"                    # how the data are published; `FORMATS`
    problems = "mytask.jsonl.gz"       # beside the TOML file
    [hub]                              # or: where the data are on the hub
    [prompt]                           # `toolkit.problems.phrase`
    [judge]                            # kind, and settings of its verifier

The built-in tasks are such files too, in `toolkit/tasks/`.
"""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.problems.code_contests import read_code_contests
from toolkit.problems.coding_competitions import read_apps, read_google
from toolkit.problems.gsm8k import read_gsm8k
from toolkit.problems.humaneval import HUMANEVAL, read_humaneval
from toolkit.problems.humaneval import KIND as PYTHON_TESTS
from toolkit.problems.humaneval_plus import HUMANEVAL_PLUS, read_humaneval_plus
from toolkit.problems.livecodebench import read_livecodebench
from toolkit.problems.math_problems import read_math
from toolkit.problems.mbpp import MBPP, read_mbpp
from toolkit.problems.minif2f import read_minif2f_lean, read_minif2f_metamath
from toolkit.problems.own import JUDGED_BY, read_own
from toolkit.problems.phrase import Phrasing, named_fields, phrased
from toolkit.problems.rows import read_rows
from toolkit.problems.swe_bench import read_swe_bench
from toolkit.records import Problem, Setting

TASKS = Path(__file__).resolve().parents[1] / "tasks"
"""The files of the built-in tasks."""
OWN = "own"
FORMATS: Mapping[str, Callable[[Path], list[Problem]]] = {
    HUMANEVAL: read_humaneval,
    HUMANEVAL_PLUS: read_humaneval_plus,
    MBPP: read_mbpp,
    "gsm8k": read_gsm8k,
    "math": read_math,
    "code_contests": read_code_contests,
    "livecodebench": read_livecodebench,
    "google": read_google,
    "apps": read_apps,
    "minif2f_lean": read_minif2f_lean,
    "minif2f_metamath": read_minif2f_metamath,
    "swe_bench": read_swe_bench,
}
"""How data are published -> its reader. A user's own format stands in `toolkit.problems.own`."""
OTHER_KINDS = {"python": PYTHON_TESTS}
"""Kinds of judges that a task may call by a shorter name."""
STYLES = ("chat", "completion")


@dataclass(frozen=True, slots=True)
class HubData:
    """A file of a data set on the hub. revision: a commit, or "main" where none is known.

    sha256: of the file; "" if it is not known: what came is then recorded with the run.
    """

    repository: str
    file: str
    revision: str = "main"
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its file says it.

    file: the TOML file. data: the file of problems beside it; None: on the hub, or named by the
    user. phrasing: None where the problems or their verifier phrase the prompt. style: how it is
    asked unless the user says; "" for the usual way. kind, settings: of its judge.
    """

    name: str
    file: Path
    about: str
    format: str
    data: Path | None
    hub: HubData | None
    phrasing: Phrasing | None
    style: str
    kind: str
    settings: Mapping[str, Setting]

    def problems(self, path: Path) -> list[Problem]:
        """The problems in a file of the task's format, with its prompts. `UsageError` names where.

        They are in the order of the file.
        """
        if self.format == OWN and self.kind != PYTHON_TESTS:
            found = read_own(path, self.kind)
        else:
            read = FORMATS[HUMANEVAL if self.format == OWN else self.format]
            found = [(dataclasses.replace(p, kind=self.kind), {}) for p in read(path)]
        if self.phrasing is None:
            return [problem for problem, _ in found]
        return phrased(found, self.phrasing, str(self.file))


def task_names() -> list[str]:
    """The names of the built-in tasks, HumanEval first."""
    found = sorted(path.stem for path in TASKS.glob("*.toml"))
    return sorted(found, key=lambda name: name != HUMANEVAL)


def read_task(name: str) -> Task:
    """The built-in task of this name, or the one in a user's TOML file.

    Raises `UsageError`: for a name that no task has, it lists those that there are.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"--task {name}: no such file; give a TOML file, or{_listed()}")
    elif name in task_names():
        path = TASKS / f"{name}.toml"
    else:
        raise UsageError(f"--task {name}: no such task; give a TOML file, or{_listed()}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    return _task(table, path)


def _listed() -> str:
    """One line for each built-in task."""
    names = task_names()
    width = max(map(len, names))
    return " one of:" + "".join(f"\n  {name:{width}}  {read_task(name).about}" for name in names)


def _task(table: dict[str, Any], path: Path) -> Task:
    _known(table, ("about", "format", "problems", "hub", "prompt", "judge"), path, "")
    kind, settings = _judge(_table(table, "judge", path), path)
    form = _text(table, "format", path, OWN)
    if form not in (OWN, *FORMATS):
        raise UsageError(
            f"{path}: format = {form!r}: not known; valid: {', '.join((OWN, *FORMATS))}"
        )
    name = path.name.split(".")[0]
    if not re.fullmatch(r"[A-Za-z0-9_+-]+", name):
        raise UsageError(
            f"{path}: the file's name names the task: use letters, digits, -, _ and + only"
        )
    prompt = _table(table, "prompt", path)
    phrasing, style = _phrasing(prompt, path)
    if phrasing is None and form == OWN and kind != PYTHON_TESTS:
        raise UsageError(
            f"{path}: [prompt] template is missing; write one such as "
            '"Question: {question}\\nAnswer:"'
        )
    data = _text(table, "problems", path, "")
    return Task(
        name=name,
        file=path,
        about=_text(table, "about", path, ""),
        format=form,
        data=path.parent / data if data else None,
        hub=_hub(_table(table, "hub", path), path),
        phrasing=phrasing,
        style=style,
        kind=kind,
        settings=settings,
    )


def _judge(table: dict[str, Any], path: Path) -> tuple[str, dict[str, Setting]]:
    """Kind and settings. `seconds` is another name of `timeout`."""
    if "kind" not in table:
        raise UsageError(f"{path}: [judge] kind is missing; valid: python, {', '.join(JUDGED_BY)}")
    settings: dict[str, Setting] = {}
    for key, value in table.items():
        if not isinstance(value, str | int | float | bool):
            raise UsageError(f"{path}: [judge] {key}: must be a text, a number, true or false")
        if key in ("seconds", "timeout"):
            if type(value) not in (int, float) or not 0 < float(value) < float("inf"):
                raise UsageError(f"{path}: [judge] {key} = {value}: must be a number over 0")
            settings["timeout"] = float(value)
        elif key != "kind":
            settings[key] = value
    kind = str(table["kind"])
    return OTHER_KINDS.get(kind, kind), settings


def _phrasing(table: dict[str, Any], path: Path) -> tuple[Phrasing | None, str]:
    """How the task asks, None if its file does not say, and the style that it prefers."""
    _known(table, ("template", "shots", "stop", "chat", "system", "style"), path, "[prompt] ")
    style = _text(table, "style", path, "", "[prompt] ")
    if style and style not in STYLES:
        raise UsageError(f"{path}: [prompt] style = {style!r}: must be {' or '.join(STYLES)}")
    if table.keys() <= {"style"}:
        return None, style
    template = _text(table, "template", path, "", "[prompt] ")
    if not template:
        raise UsageError(f"{path}: [prompt] template is missing")
    stop = table.get("stop", [])
    if not isinstance(stop, list) or not all(isinstance(s, str) and s for s in stop):
        raise UsageError(f"{path}: [prompt] stop: must be a list of texts, such as ['Question:']")
    shots = _text(table, "shots", path, "", "[prompt] ")
    phrasing = Phrasing(
        template=template,
        shots=_shots(path.parent / shots, template) if shots else (),
        stop=tuple(stop),
        chat=_text(table, "chat", path, "", "[prompt] "),
        system=_text(table, "system", path, "", "[prompt] "),
    )
    return phrasing, style


def _shots(path: Path, template: str) -> tuple[Mapping[str, str], ...]:
    """The worked examples of a JSONL file: the fields that the template names, and `answer`."""
    if not path.is_file():
        raise UsageError(f"{path}: [prompt] shots: no such file")
    found = []
    for where, row in read_rows(path):
        for field in ({"question", "answer"} & named_fields(template)) | {"answer"}:
            if not isinstance(row.get(field), str):
                raise UsageError(f"{where}: field {field!r} is missing, or is no text")
        found.append({key: value for key, value in row.items() if isinstance(value, str)})
    return tuple(found)


def _hub(table: dict[str, Any], path: Path) -> HubData | None:
    names = [field.name for field in dataclasses.fields(HubData)]
    _known(table, names, path, "[hub] ")
    if not table:
        return None
    texts = {name: _text(table, name, path, "", "[hub] ") for name in names}
    for name in ("repository", "file"):
        if not texts[name]:
            raise UsageError(f"{path}: [hub] {name} is missing")
    return HubData(**{name: text for name, text in texts.items() if text})


def _table(table: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {name}: must be a table, [{name}]")
    return found


def _text(table: dict[str, Any], key: str, path: Path, default: str, where: str = "") -> str:
    found = table.get(key, default)
    if not isinstance(found, str):
        raise UsageError(f"{path}: {where}{key} = {found!r}: must be a text")
    return found


def _known(table: dict[str, Any], keys: Any, path: Path, where: str) -> None:
    if unknown := sorted(table.keys() - set(keys)):
        raise UsageError(f"{path}: {where}{unknown[0]}: unknown key; valid: {', '.join(keys)}")
