"""Curves side by side: of runs, of groups of problems, or over a setting of sampling.

    python analysis/curves.py RUN [RUN ...]                              fail@k of runs
    python analysis/curves.py RUN --by level --of FILE [--task math]  pass@k of groups of problems
    python analysis/curves.py RUN --by difficulty --of OTHER_RUN  the same, by another run
    python analysis/curves.py RUN RUN ... --over temperature  pass@k against a setting

With --by, a group is a value of a column of the problems' data: FILE is JSONL or parquet with
task_id and the column. Or it is a task's data as published, and --task names the task. Numbers with
many values are cut into quarters. `difficulty` is the quarter of the pass rate in another run.
Intervals are 95 %, of such problems.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import _installed  # noqa: F401
import polars as pl

from toolkit.cli import Parser, run_job
from toolkit.errors import EXIT_DONE, UsageError
from toolkit.files import replace_file
from toolkit.report.comparisons import draw_curves, draw_groups, draw_over
from toolkit.report.groups import (
    SETTINGS,
    GroupCurve,
    column_of_file,
    curves_by,
    rate_in_run,
    runs_over,
)
from toolkit.runs.run import open_run, result_file

DIFFICULTY = "difficulty"


def main() -> int:
    """One of the four, by the flags."""
    flags = parsed()
    if flags.by:
        values = rate_in_run(flags.of) if flags.by == DIFFICULTY else None
        values = values or column_of_file(flags.of, flags.by, flags.task)
        found = curves_by(flags.runs[0], flags.by, values)
        print_groups(found)
        draw_groups(found, flags.out)
        write_json(found, flags.out)
    elif flags.over:
        by_value = runs_over(flags.runs, flags.over)
        print_groups(list(by_value.values()))
        draw_over(by_value, flags.over, flags.out)
        write_json(list(by_value.values()), flags.out)
    else:
        curves_of_runs(flags.runs, flags.out)
    return EXIT_DONE


def parsed() -> argparse.Namespace:
    """The flags, checked together."""
    parser = Parser(__doc__ or "")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that were fitted")
    parser.add_argument("--by", default="", metavar="COLUMN", help="a curve for each of its values")
    parser.add_argument("--of", type=Path, metavar="FILE", help="with --by: where the column is")
    parser.add_argument(
        "--task", default="", help="with --by: FILE is this task's data, as published"
    )
    parser.add_argument("--over", choices=SETTINGS, help="a setting in which the runs differ")
    parser.add_argument("--out", type=Path, default=Path("curves"), help="figure, no suffix")
    flags = parser.parse_args()
    if flags.by and flags.over:
        raise UsageError("--by and --over: give one of them")
    if bool(flags.by) != bool(flags.of):
        raise UsageError("--by COLUMN and --of FILE: give both, or neither")
    if flags.by and len(flags.runs) > 1:
        raise UsageError(f"--by {flags.by}: takes one run, not {len(flags.runs)}")
    return flags


def curves_of_runs(paths: Sequence[Path], out: Path) -> None:
    """Read each run's curve.parquet, print them side by side, draw them together."""
    curves = {}
    for path in paths:
        run = open_run(path)
        curves[run.path.name] = pl.read_parquet(result_file(run, "curve.parquet"))
    joined = pl.concat(
        [
            frame.select(pl.lit(name).alias("run"), "k", "pass_at_k")
            for name, frame in curves.items()
        ]
    ).pivot("run", index="k", values="pass_at_k")
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(joined.sort("k"))
    draw_curves(curves, out)
    print(f"pass@k by run; figure of fail@k: {out}.png, .svg, .pdf")


def print_groups(found: Sequence[GroupCurve]) -> None:
    """One row for each group and k."""
    width = max(len(each.label) for each in found)
    print(f"{'group':<{width}} {'problems':>8} {'k':>6} {'pass@k':>8} {'95 %':>18}")
    for each in found:
        for i, k in enumerate(each.k.tolist()):
            band = f"{each.lo[i]:8.4f} .. {each.hi[i]:6.4f}"
            print(f"{each.label:<{width}} {each.problems:>8} {k:>6} {each.passed[i]:8.4f} {band}")


def write_json(found: Sequence[GroupCurve], out: Path) -> None:
    """All values, by group and k."""
    document = {}
    for each in found:
        columns = {"pass_at_k": each.passed, "lo": each.lo, "hi": each.hi}
        k = [str(j) for j in each.k.tolist()]
        by_k = {name: dict(zip(k, v.tolist(), strict=True)) for name, v in columns.items()}
        document[each.label] = {"problems": each.problems, **by_k}
    path = out.with_name(out.name + ".json")
    replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    print(f"figure: {out}.png, .svg, .pdf; all values: {path}")


if __name__ == "__main__":
    run_job(main)
