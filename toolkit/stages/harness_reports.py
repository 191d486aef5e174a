"""Imports what SWE-bench's harness says of a run's patches, as verdicts of the run.

| path given | what it is | it is told apart by |
|---|---|---|
| `NAME.RUN_ID.json` | the report of one file of predictions | its name |
| `.../NAME/INSTANCE/report.json` | the report of one instance | the names of its folders |
| a directory | all reports in it, and logs of instances without one | the same |

NAME is what `toolkit.runs.predictions` has recorded: so a report of other patches is never taken.
Everything is read and checked before anything is written.

| the harness says | outcome |
|---|---|
| resolved | passed |
| unresolved; an empty patch; in the log: the patch does not apply | failed |
| in the log: the tests timed out | timed_out |
| an error, and no log says more; a likely failure of its infrastructure | error |

A decided outcome takes the place of `error`. An outcome that was imported before stays.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from toolkit.cli import how_many
from toolkit.errors import UsageError
from toolkit.records import FailureKind, Judge, Outcome, Verdict, answer_digest
from toolkit.runs.predictions import predictions
from toolkit.runs.run import Run
from toolkit.runs.verdicts import decided_verdicts, write_verdicts
from toolkit.stages.predictions import check_harness

log = logging.getLogger(__name__)

REPORT: Final = "report.json"
"""What the harness calls its report of one instance, in a folder of the instance's name."""
_LOG: Final = "run_instance.log"
_PATCH: Final = "patch.diff"
_NOT_APPLIED: Final = ">>>>> Patch Apply Failed"
_TIMED_OUT: Final = "Test timed out after"
_LISTS: Final[Mapping[str, tuple[Outcome, FailureKind, str]]] = {
    "resolved_ids": ("passed", "", ""),
    "unresolved_ids": ("failed", "wrong_answer", "not resolved"),
    "empty_patch_ids": ("failed", "wrong_answer", "the harness found an empty patch"),
    "error_ids": ("error", "", "the harness ended with an error; give its logs too"),
}
"""Key of a run's report -> what it says of the instances that it lists. A later key counts more."""
_INFRASTRUCTURE: Final = "infra_failure_ids"
"""Instances of a run's report that are unresolved or errors, but hardly by their patches."""


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Numbers of predictions: imported, by outcome; known before; known with another outcome."""

    outcomes: Mapping[str, int]
    known: int
    differing: int

    def line(self) -> str:
        """One line for the terminal."""
        parts = [f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items())]
        count = sum(self.outcomes.values())
        told = f"imported {how_many(count, 'verdict')}"
        told += f": {', '.join(parts)}" if parts else ""
        told += f"; {self.known} known before" if self.known else ""
        return told + (f", {self.differing} of them otherwise" if self.differing else "")


def import_reports(run: Run, paths: Sequence[Path], judge: Judge) -> ImportSummary:
    """Write the verdicts that these reports of the harness tell. A repetition changes nothing.

    Raises `UsageError`, before anything is written, for a path that is no report of predictions
    that the run has exported. So it does for an instance that is not among them, for a patch that
    differs from the one exported, and for two reports that contradict each other.
    """
    check_harness(judge, "--import-report")
    reading = _Reading(predictions(run))
    for path in paths:
        reading.read(path)
    decided = decided_verdicts(run, judge).select("task_id", "answer", "outcome")
    before = {(task_id, answer): outcome for task_id, answer, outcome in decided.iter_rows()}
    found = reading.verdicts()
    new = [verdict for key, verdict in found.items() if key not in before]
    known = [verdict for key, verdict in found.items() if key in before]
    differing = [v for v in known if v.outcome not in ("error", before[v.task_id, v.answer])]
    for verdict in differing:
        log.warning(
            "%s, answer %016x: %s before, %s now; the first stays",
            *(verdict.task_id, verdict.answer),
            *(before[verdict.task_id, verdict.answer], verdict.outcome),
        )
    if reading.passed_over:
        log.info("passed over: %s of other predictions", how_many(reading.passed_over, "folder"))
    facts = {"reports": json.dumps(sorted({path.name for path in paths}))}
    write_verdicts(run, new, judge, facts)
    return ImportSummary(Counter(v.outcome for v in new), len(known), len(differing))


@dataclass(slots=True)
class _Reading:
    """Reads reports. exported: name -> task_id -> answer. found: what they say, and which does.

    infrastructure: what may have failed by the harness's own fault. passed_over: folders of
    instances that belong to other predictions than the run's.
    """

    exported: Mapping[str, Mapping[str, int]]
    found: dict[tuple[str, int], tuple[Verdict, Path]] = field(default_factory=dict)
    infrastructure: set[tuple[str, int]] = field(default_factory=set)
    passed_over: int = 0

    def verdicts(self) -> dict[tuple[str, int], Verdict]:
        """What all reports say together, by task_id and answer."""
        said = {key: verdict for key, (verdict, _) in self.found.items()}
        why = "a likely failure of the harness's infrastructure"
        for key in self.infrastructure:
            if said[key].outcome != "passed":
                said[key] = Verdict(*key, "error", "", why, (), 0.0)
        return said

    def read(self, path: Path) -> None:
        """Read one path that the user has given. Raises `UsageError`: see `import_reports`."""
        if path.is_dir():
            self._read_folder(path)
        elif not path.is_file():
            raise UsageError(f"--import-report {path}: no such file or directory")
        elif path.name == REPORT:
            folder = path.absolute().parent
            if folder.parent.name not in self.exported:
                raise self._unknown(path, folder.parent.name)
            self._read_instance(folder)
        else:
            name = self._name_in(path)
            if name is None:
                raise self._unknown(path, path.name.partition(".")[0])
            self._read_run_report(path, name)

    def _read_folder(self, top: Path) -> None:
        reports = {p: n for p in sorted(top.glob("*.json")) if (n := self._name_in(p))}
        for path, name in reports.items():
            self._read_run_report(path, name)
        folders = sorted({p.absolute().parent for n in (REPORT, _LOG) for p in top.rglob(n)})
        own = [folder for folder in folders if folder.parent.name in self.exported]
        for folder in own:
            self._read_instance(folder)
        self.passed_over += len(folders) - len(own)
        if not reports and not own:
            raise UsageError(
                f"--import-report {top}: holds no report of predictions that this run has exported"
            )

    def _name_in(self, path: Path) -> str | None:
        """The predictions that a run's report is of, by its name: NAME.RUN_ID.json."""
        return next((n for n in self.exported if path.name.startswith(f"{n}.")), None)

    def _unknown(self, path: Path, name: str) -> UsageError:
        known = ", ".join(list(self.exported)[:3]) or "none"
        more = " ..." if len(self.exported) > 3 else ""
        return UsageError(
            f"--import-report {path}: this run has exported no predictions {name!r}; it has: "
            f"{known}{more}; keep the names that the harness gives"
        )

    def _read_run_report(self, path: Path, name: str) -> None:
        document = _json(path)
        if not isinstance(document.get("resolved_ids"), list):
            raise UsageError(f"{path}: no report of the harness: it has no list 'resolved_ids'")
        said: dict[str, tuple[Outcome, FailureKind, str]] = {}
        for key, what in _LISTS.items():
            for instance in document.get(key) or ():
                if key == "unresolved_ids" and instance in said:
                    raise UsageError(f"{path}: {instance} is both resolved and unresolved")
                said[str(instance)] = what
        for instance, what in said.items():
            self._note(path, name, instance, *what)
        for instance in said.keys() & set(document.get(_INFRASTRUCTURE) or ()):
            self.infrastructure.add((instance, self._answer(path, name, instance)))

    def _read_instance(self, folder: Path) -> None:
        """The folder of one instance: its report, or what its log says where there is none."""
        name, instance = folder.parent.name, folder.name
        report, patch = folder / REPORT, folder / _PATCH
        if patch.is_file():
            text = patch.read_bytes().decode("utf-8", "replace")
            if answer_digest(text) != self._answer(patch, name, instance):
                raise UsageError(f"{patch}: is not the patch that this run has exported in {name}")
        if report.is_file():
            self._note(report, name, instance, *_said(report, instance))
        elif what := _logged((folder / _LOG).read_text(encoding="utf-8", errors="replace")):
            self._note(folder / _LOG, name, instance, *what)

    def _answer(self, path: Path, name: str, instance: str) -> int:
        try:
            return self.exported[name][instance]
        except KeyError:
            raise UsageError(f"{path}: {instance} is not among the predictions {name}") from None

    def _note(
        self,
        path: Path,
        name: str,
        instance: str,
        outcome: Outcome,
        kind: FailureKind,
        detail: str,
    ) -> None:
        """Keep what a report says. A decided outcome takes the place of an error."""
        key = (instance, self._answer(path, name, instance))
        verdict = Verdict(*key, outcome, kind, detail, (), 0.0)
        other, origin = self.found.get(key, (verdict, path))
        if "error" not in (outcome, other.outcome) and outcome != other.outcome:
            raise UsageError(
                f"{path}: {instance} has {outcome}, but {origin} says {other.outcome}; give one of "
                "them"
            )
        if other.outcome == "error" or key not in self.found:
            self.found[key] = (verdict, path)


def _said(report: Path, instance: str) -> tuple[Outcome, FailureKind, str]:
    """What the report of one instance says."""
    document = _json(report)
    own = document.get(instance)
    if not isinstance(own, dict) or not isinstance(own.get("resolved"), bool):
        raise UsageError(f"{report}: does not say whether {instance} is resolved")
    if own["resolved"]:
        return "passed", "", ""
    if own.get("patch_successfully_applied") is False:
        return "failed", "wrong_answer", "the patch does not apply"
    counts = _failing_tests(own.get("tests_status"))
    return "failed", "wrong_answer", f"not resolved{counts}"


def _failing_tests(status: Any) -> str:
    """For people: how many tests of each group fail, where the report says so."""
    try:
        groups = {
            group: (len(tests["failure"]), len(tests["failure"]) + len(tests["success"]))
            for group, tests in status.items()
            if group in ("FAIL_TO_PASS", "PASS_TO_PASS")
        }
    except (AttributeError, KeyError, TypeError):
        return ""
    return "".join(f"; {failed} of {all_} {g} fail" for g, (failed, all_) in groups.items())


def _logged(text: str) -> tuple[Outcome, FailureKind, str] | None:
    """What the log of an instance without a report says; None if it says nothing of the patch."""
    if _NOT_APPLIED in text:
        return "failed", "wrong_answer", "the patch does not apply"
    if _TIMED_OUT in text:
        return "timed_out", "time", "the tests timed out"
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not a JSON object")
    return found
