"""`toolkit.Judge` against evaluation: programs a second of a large call, and one program at a time.

Both judge the same programs with as many workers, alternately. The start of the workers is not
measured, for neither. The calls extract their answers too; what evaluation is measured by does not.
"""

import statistics
import time
from collections.abc import Iterator

from execution import WORKERS, distinct, run_ours

import toolkit
from toolkit.problems.load import load_problems

ROUNDS = 5


def bench() -> Iterator[dict[str, object]]:
    """The large call, then single programs."""
    problems = {p.task_id: p for p in load_problems()}
    programs = distinct(problems, 10)
    ratios, rates, single = [], [], []
    with toolkit.Judge(list(problems.values()), workers=WORKERS) as judge:
        for _ in range(ROUNDS):
            theirs = run_ours(programs, problems)[0]
            started = time.perf_counter()
            assert judge(programs)["passed"].all()
            ours = time.perf_counter() - started
            ratios.append(theirs / ours)
            rates.append(len(programs) / ours)
        for program in programs[:200]:
            started = time.perf_counter()
            assert judge([program])["passed"].all()
            single.append(1000 * (time.perf_counter() - started))
    yield {
        "case": "canonical, all distinct, in one call",
        "calls a second": round(statistics.median(rates)),
        "against evaluation": round(statistics.median(ratios), 2),
        "spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
    }
    cuts = statistics.quantiles(single, n=20)
    yield {
        "case": "one program at a time",
        "p50, ms": round(statistics.median(single), 1),
        "p95, ms": round(cuts[-1], 1),
    }
