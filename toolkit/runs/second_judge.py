"""Judges that a run has besides its own: other references for the same problems, frozen in it.

`judges/NAME.parquet` holds the references of the task NAME, such as HumanEval+'s tests for samples
of HumanEval. Its metadata holds the judge: verifier and settings. One of the settings is a digest
of the references, so that no verdict is taken for one by other references.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, UsageError
from toolkit.files import make_directory
from toolkit.problems.load import problems_digest
from toolkit.records import JudgeChoice, Problem
from toolkit.runs.judge import judge_document
from toolkit.runs.problem_table import problems_frame, problems_in
from toolkit.runs.run import Run
from toolkit.runs.tables import metadata, parquet_names, remedy, write_table

REFERENCES = "references"
"""The setting that tells such judges apart. It is never at a default."""
RESERVED = ("figures",)
"""No judge has the name of a directory in `results/`."""


@dataclass(frozen=True, slots=True)
class SecondJudge:
    """A judge by the references of another task.

    problems: the run's problems in their order, with those references.
    """

    name: str
    choice: JudgeChoice
    problems: tuple[Problem, ...]


def second_judge(run: Run, name: str) -> SecondJudge:
    """The judge that is frozen in the run under this name.

    Raises `UsageError` if there is none, and `CorruptShard` if its file is damaged.
    """
    path = _path(run, name)
    if not path.is_file():
        known = ", ".join(second_judges(run)) or "none"
        raise UsageError(
            f"{run.path}: has no judge {name!r} besides its own; there is: {known}; "
            f"`{job_command('evaluate')} {run.path} --task {name}` adds it"
        )
    try:
        found = json.loads(metadata(path)["judge"])
        choice = JudgeChoice(found["verifier"], tuple(sorted(found["settings"].items())))
    except (KeyError, ValueError, TypeError, AttributeError):
        raise CorruptShard(f"{path}: does not name its judge; {remedy(path)}") from None
    return SecondJudge(name, choice, tuple(problems_in(path)))


def second_judges(run: Run) -> list[str]:
    """The names of the judges that the run has besides its own."""
    return sorted(parquet_names(run.judges_dir))


def freeze_second_judge(
    run: Run, name: str, problems: Sequence[Problem], choice: JudgeChoice
) -> SecondJudge:
    """Freeze the references of a task in the run, and return its judge.

    problems: of the task; it may have more than the run. Raises `UsageError` for a task that has
    not all problems of the run, or asks something else, and for other references than those that
    are frozen under this name already.
    """
    if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise UsageError(f"--task {name}: cannot name a directory; give the task another name")
    chosen = _of_run(run, name, problems)
    digest = problems_digest(chosen)[:16]
    settings = {**dict(choice.settings), REFERENCES: digest}
    choice = JudgeChoice(choice.verifier, tuple(sorted(settings.items())))
    path = _path(run, name)
    if path.is_file():
        known = second_judge(run, name)
        if (known.choice.verifier, known.choice.decisive) != (choice.verifier, choice.decisive):
            raise UsageError(
                f"--task {name}: the run has other references or settings of this name; leave "
                f"--problems out to judge by those, or delete {path}"
            )
        return dataclasses.replace(known, choice=choice)
    make_directory(run.judges_dir)
    write_table(path, problems_frame(chosen), {"judge": json.dumps(judge_document(choice))})
    return SecondJudge(name, choice, tuple(chosen))


def _path(run: Run, name: str) -> Path:
    return run.judges_dir / f"{name}.parquet"


def _of_run(run: Run, name: str, problems: Sequence[Problem]) -> list[Problem]:
    """The task's problems that the run has, in the run's order."""
    by_id = {p.task_id: p for p in problems}
    chosen = []
    for asked in run.problems():
        found = by_id.get(asked.task_id)
        if found is None:
            raise UsageError(
                f"--task {name}: has no problem {asked.task_id!r}, which the run has; give a task "
                "with the same problems"
            )
        if _question(found.prompt) != _question(asked.prompt):
            raise UsageError(
                f"--task {name}: asks something else in {asked.task_id!r} than the run did; give a "
                "task with the same prompts"
            )
        # The run's own prompt: answers are taken from completions by it.
        chosen.append(dataclasses.replace(found, prompt=asked.prompt, phrased=asked.phrased))
    return chosen


def _question(prompt: str) -> list[str]:
    """What a prompt asks. HumanEval+ has moved the import in the prompt of HumanEval/115."""
    lines = (line.strip() for line in prompt.splitlines())
    return [line for line in lines if line and not line.startswith("import ")]
