"""The public names at work: a run's frames, a fit of its counts, a forecast, a judge.

python analysis/example.py RUN

docs/api.md explains them. Copy from here into a notebook.
"""

import _installed  # noqa: F401
import polars as pl

import toolkit
from toolkit.cli import Parser, add_run_argument, run_job


def main() -> int:
    """Look at a run, go beyond its samples, and judge a few programs again."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    run = toolkit.open_run(parser.parse_args().run)

    # Why samples failed: frames are lazy, so only what is asked for is read.
    kinds = run.outcomes().filter(~pl.col("passed")).group_by("kind").len()
    print(kinds.sort("len", descending=True).collect())

    # The hardest problem, and what the model wrote there.
    counts = run.counts()
    hardest = counts.sort(pl.col("c") / pl.col("n")).row(0, named=True)
    print(f"{hardest['task_id']}: {hardest['c']} of {hardest['n']} passed; sample 0 begins:")
    print(run.completion(hardest["task_id"], 0)[:200])

    # The curve with its 95 % intervals, and beyond the samples where a forecast is possible.
    found = toolkit.fit(counts, rule=run.stopping_rule(), replicates=200)
    for k, value in found.fail_at_k.items():
        print(f"fail@{k} = {value:.3f} ({found.band[k].lo:.3f} to {found.band[k].hi:.3f})")
    ahead = toolkit.forecast(counts, rule=run.stopping_rule(), replicates=200)
    k = 2 * found.k_max
    print(f"fail@{k}: {ahead.limit(k) or ahead.at(k)}")

    # A judge to call. It is the run's own, so the verdicts are those on disk.
    first = run.samples().unique("task_id", keep="first", maintain_order=True).collect()
    with toolkit.Judge(run, workers=1) as judge:
        again = judge(first.select("task_id", "completion"))
    before = run.verdicts().select("task_id", "answer", "outcome").collect()
    both = again.join(before, on=["task_id", "answer"], suffix="_before")
    same = both.filter(pl.col("outcome") == pl.col("outcome_before")).height
    print(f"judged {again.height} samples again: {same} of {both.height} verdicts are the same")
    return 0


if __name__ == "__main__":
    run_job(main)
