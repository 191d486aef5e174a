"""How a run is judged by default: its default judge, which its manifest records."""

from typing import Any

from toolkit.records import JudgeChoice
from toolkit.runs import format1
from toolkit.runs.history import recorded_config
from toolkit.runs.run import Run


def judge_choice(run: Run) -> JudgeChoice:
    """The run's default judge. Evaluation, status and fit use it unless a flag names another."""
    manifest = run.manifest()
    if found := manifest.get("judge"):
        return JudgeChoice(found["verifier"], tuple(sorted(found["settings"].items())))
    return format1.choice_of(recorded_config(run))


def record_judge(run: Run, choice: JudgeChoice) -> None:
    """Make `choice` the run's default judge. Only a launch that names another judge does so."""
    run.update_manifest({"judge": judge_document(choice)})


def judge_document(choice: JudgeChoice) -> dict[str, Any]:
    """A choice in the form in which the manifest holds it."""
    return {"verifier": choice.verifier, "settings": dict(choice.settings)}
