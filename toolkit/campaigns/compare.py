"""The comparison of a study: every run that was fitted, task by task.

Runs of the same problems are compared with one another, as analysis/compare_runs.py and
analysis/frontier.py do: differences of pass@k with simultaneous intervals, coverage against
dollars. All curves are in one figure, with a panel for each task.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.campaigns.record import launched_runs, read_record
from toolkit.cli import how_many
from toolkit.errors import ToolkitError
from toolkit.files import make_directory, replace_file
from toolkit.problems.load import problems_label
from toolkit.report.comparisons import draw_frontiers, draw_study
from toolkit.report.document import FIT_JSON
from toolkit.report.prices import Price, price_of
from toolkit.report.run_pairs import (
    MOST_PAIRED,
    Comparison,
    FittedRun,
    compare,
    comparison_document,
    crossover_line,
    fine_grid,
    read_runs,
)
from toolkit.runs.run import Run
from toolkit.stats.comparison import verdict
from toolkit.stats.frontier import POLICIES, Frontier, frontier


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """The runs of one task. names: of the runs, in the study. compared: None of a single run.

    curves: pass@k of each run with its intervals, as a frontier whose tries cost 1. frontiers: of
    each run, by the two policies; none where its tokens are not known.
    """

    title: str
    names: Sequence[str]
    runs: Sequence[FittedRun]
    prices: Sequence[Price]
    curves: Sequence[Frontier]
    frontiers: Sequence[Sequence[Frontier]]
    compared: Comparison | None

    def label(self, i: int) -> str:
        """Of a run in figures: its letter, if there are several, and its name."""
        return f"{self.runs[i].letter} {self.names[i]}" if self.compared else self.names[i]


def compare_study(
    directory: Path, usd_per_gpu_hour: float, names: Sequence[str] | None = None
) -> str:
    """Compare the runs of a study and write `comparison/`; what a terminal shows of it.

    names: the runs; not given, those of the last launch. Raises `ToolkitError` if none is fitted.
    """
    record = read_record(directory)
    names = [n for n, r in record.runs.items() if r.in_study] if names is None else names
    launched = launched_runs(record)
    runs = {name: launched[name] for name in names if name in launched}
    fitted = {n: r for n, r in runs.items() if (r.results_dir / FIT_JSON).is_file()}
    if not fitted:
        raise ToolkitError(f"{directory}: no run of the study is fitted yet; compare it later")
    missing = [name for name in names if name not in fitted]
    tasks = [_compare_task(title, group, usd_per_gpu_hour) for title, group in _by_task(fitted)]
    out = directory / "comparison"
    make_directory(out)
    draw_study({t.title: dict(_curves(t)) for t in tasks}, out / "curves")
    shown = {t.title: {t.label(i): f for i, f in enumerate(t.frontiers) if f} for t in tasks}
    if any(shown.values()):
        draw_frontiers({title: found for title, found in shown.items() if found}, out / "frontier")
    document = {"tasks": {t.title: _document(t) for t in tasks}, "not_fitted": missing}
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    replace_file(out / "comparison.json", text.encode())
    page = "\n".join([f"# {directory.name}", "", *_page(tasks, missing)]) + "\n"
    replace_file(out / "comparison.md", page.encode())
    return page + f"\nfigures, tables, all values: {out}"


def _by_task(runs: Mapping[str, Run]) -> Iterator[tuple[str, dict[str, Run]]]:
    """Title -> the runs on the same problems, in the order of the study."""
    groups: dict[tuple[str, str], dict[str, Run]] = defaultdict(dict)
    for name, run in runs.items():
        manifest = run.manifest()
        source = problems_label(str(manifest.get("problems_source", "")))
        groups[source, str(manifest["identity"]["problems"])][name] = run
    titles = [source for source, _ in groups]
    for (source, digest), found in groups.items():
        yield source if titles.count(source) == 1 else f"{source} {digest[:6]}", found


def _compare_task(title: str, runs: Mapping[str, Run], usd_per_gpu_hour: float) -> TaskComparison:
    paths = [run.path for run in runs.values()]
    # Of a single run there is no pair, but a curve and a frontier.
    fitted = read_runs(paths) if len(paths) > 1 else read_runs(2 * paths)[:1]
    prices = [price_of(Run(run.path), run.fit, usd_per_gpu_hour) for run in fitted]
    return TaskComparison(
        title,
        list(runs),
        fitted,
        prices,
        [_curve(run) for run in fitted],
        [_frontiers(run, price) for run, price in zip(fitted, prices, strict=True)],
        compare(fitted) if len(fitted) > 1 else None,
    )


def _frontiers(run: FittedRun, price: Price) -> list[Frontier]:
    if not np.isfinite(run.tokens).all():
        return []
    k, costs = fine_grid(run.counts.k_max), price.of_samples(run.tokens)
    return [frontier(run.counts, costs, k, policy) for policy in POLICIES]


def _curves(task: TaskComparison) -> Iterator[tuple[str, Any]]:
    """Each run's pass@k with its 95 % interval of such problems."""
    for i, found in enumerate(task.curves):
        yield task.label(i), (found.k, found.coverage, found.lo, found.hi)


def _curve(run: FittedRun) -> Frontier:
    return frontier(run.counts, np.ones(len(run.counts)), fine_grid(run.counts.k_max), "every")


def _document(task: TaskComparison) -> dict[str, Any]:
    """For JSON. Keys of runs are their names in the study."""
    runs = {}
    for i, (name, run) in enumerate(zip(task.names, task.runs, strict=True)):
        found, price = task.curves[i], task.prices[i]
        runs[name] = {
            "letter": run.letter,
            "run": str(run.path),
            "complete": run.fit.complete,
            "pass_at_k": _by_k(found, found.coverage),
            "lo": _by_k(found, found.lo),
            "hi": _by_k(found, found.hi),
            "usd_per_token": price.usd_per_token,
            "usd_per_sample": price.usd_per_sample,
            "price": price.source,
            "frontiers": [
                {"policy": f.policy, "cost": _by_k(f, f.cost), "coverage": _by_k(f, f.coverage)}
                for f in task.frontiers[i]
            ],
        }
    pairs = comparison_document(task.compared) if task.compared else {}
    return {"problems": len(task.runs[0].counts), "runs": runs} | {
        key: pairs[key] for key in ("critical", "pairs") if key in pairs
    }


def _by_k(found: Frontier, values: Any) -> dict[str, float]:
    return dict(zip(map(str, found.k.tolist()), values.tolist(), strict=True))


def _page(tasks: Sequence[TaskComparison], missing: Sequence[str]) -> Iterator[str]:
    """The comparison as Markdown, line by line."""
    for task in tasks:
        yield from (f"## {task.title}", "", f"{how_many(len(task.runs[0].counts), 'problem')}.", "")
        yield from _run_table(task)
        if task.compared:
            yield from ("", *_pair_table(task, task.compared))
        yield ""
    if missing:
        yield f"Not fitted yet: {', '.join(missing)}."
        yield ""
    yield "Curves: `curves.png`. Coverage against dollars: `frontier.png`, where tokens are known."


def _run_table(task: TaskComparison) -> Iterator[str]:
    yield "| | run | k | pass@1 (95 %) | pass@k (95 %) | $ for k of all | price |"
    yield "|---|---|---|---|---|---|---|"
    for i, run in enumerate(task.runs):
        found = task.curves[i]
        first, last = (_interval(f[0], f[1], f[2]) for f in (_at(found, 0), _at(found, -1)))
        usd = f"{task.frontiers[i][0].cost[-1]:.4g}" if task.frontiers[i] else "-"
        name = task.names[i] + ("" if run.fit.complete else " (incomplete)")
        price = task.prices[i].source
        yield f"| {run.letter} | {name} | {found.k[-1]} | {first} | {last} | {usd} | {price} |"


def _at(found: Frontier, i: int) -> tuple[float, float, float]:
    return float(found.coverage[i]), float(found.lo[i]), float(found.hi[i])


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _pair_table(task: TaskComparison, compared: Comparison) -> Iterator[str]:
    """Differences at the first, a middle and the last k, with what they say."""
    k, found = compared.k.tolist(), compared.found
    shown = sorted({0, len(k) // 2, len(k) - 1})
    yield "Differences of pass@k. With 95 %, the intervals of all k and pairs hold at once."
    if len(task.runs) > MOST_PAIRED:
        yield f"Of so many runs, each is compared with {task.runs[0].letter} only."
    yield ""
    yield "| pair | " + " | ".join(f"k = {k[i]}" for i in shown) + " | curves |"
    yield "|---" * (len(shown) + 2) + "|"
    for pair in compared.pairs:
        a, b = (task.runs[i].letter for i in (pair.first, pair.second))
        mean, low, high = (v[pair.columns] for v in (found.mean, found.lo, found.hi))
        cells = [
            f"{mean[i]:+.3f} ({low[i]:+.3f} to {high[i]:+.3f}), {verdict(low[i], high[i])}"
            for i in shown
        ]
        crosses = crossover_line(pair.crossover, a, b, k[-1])
        yield f"| {a} - {b} | {' | '.join(cells)} | {crosses} |"
