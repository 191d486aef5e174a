"""The sample browser of a run: `results/browse.html`, made by fit and by `jobs/browse.py`."""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path

from toolkit.cli import job_command
from toolkit.errors import UsageError
from toolkit.files import replace_file
from toolkit.records import Judge, Problem
from toolkit.report.browse_data import MOST_SAMPLES, BrowseData, browse_data
from toolkit.report.browse_page import BROWSE_HTML, browse_page
from toolkit.runs.run import Run
from toolkit.runs.second_judge import second_judges
from toolkit.verifiers.judged_text import judged_text
from toolkit.verifiers.judges import judge_of_run

log = logging.getLogger(__name__)


def browse_run(
    run: Run, judge: Judge, path: Path | None = None, *, beside: Mapping[str, Judge] | None = None
) -> tuple[Path, BrowseData]:
    """Write the page of a run, and return where it is and what it shows.

    judge: whose passes are counted; the run's other judges stand beside it. beside: name -> one of
    those, where its settings are not the usual ones. path: the file to write; None:
    `results/browse.html`. A file with the same content stays as it is.

    Raises `CorruptShard` for a damaged file of the run, and `WriteFailure`.
    """
    data = _data(run, judge, beside or {})
    path = path or run.results_dir / BROWSE_HTML
    page = browse_page(data)
    if not _holds(path, page):
        replace_file(path, page)
    return path, data


def browse_problem(run: Run, judge: Judge, task_id: str) -> BrowseData:
    """What the page shows of one problem. Raises `UsageError` where the run has no such problem."""
    names = [p.task_id for p in run.problems()]
    if task_id not in names:
        near = difflib.get_close_matches(task_id, names, n=3) or names[:3]
        raise UsageError(
            f"--problem {task_id}: {run.path} has no such problem; it has {len(names)}, such as "
            f"{', '.join(near)}"
        )
    return _data(run, judge, {}, only=task_id)


def _data(
    run: Run, judge: Judge, beside: Mapping[str, Judge], only: str | None = None
) -> BrowseData:
    judges = {judge.verifier: judge}
    judges |= {name: judge_of_run(run, name=name) for name in second_judges(run)}
    judges |= beside
    own, style = judge_of_run(run), run.prompt_style()

    def find(problem: Problem, completion: str, digest: int) -> str | None:
        return judged_text(problem, completion, style, own, digest)

    return browse_data(run, _title(run), judges, judged=find, only=only)


def made_at_fit(run: Run) -> bool:
    """Whether the run is small enough for fit to make its page."""
    return sum(len(s) for s in run.slices()) <= MOST_SAMPLES


def browse_at_fit(run: Run, judge: Judge, name: str = "") -> None:
    """Write the page of a run that is not too large for it; the log says where it is too large.

    judge: that of the fit. name: of a judge beside the run's own, if it is one; "" if not. The page
    is the same one, and counts the passes of the run's own judge either way.
    """
    if not made_at_fit(run):
        log.info(
            "no page of the samples: over %d; `%s %s` makes one of the most frequent answers",
            MOST_SAMPLES,
            job_command("browse"),
            run.path,
        )
        return
    own, beside = (judge_of_run(run), {name: judge}) if name else (judge, {})
    browse_run(run, own, beside=beside)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _title(run: Run) -> str:
    manifest = run.manifest()
    model = str(manifest["identity"]["model"]).rstrip("/").rsplit("/", 1)[-1]
    source = str(manifest.get("problems_source", "humaneval"))
    return f"{model} on {'HumanEval' if source == 'humaneval' else Path(source).name}"
