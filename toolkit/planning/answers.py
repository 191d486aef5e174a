"""The answers of jobs/plan.py: a question, a document, and the document as text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from toolkit.errors import UsageError
from toolkit.planning.budget import (
    Cost,
    Pilot,
    Prices,
    adaptive_cost,
    affordable,
    as_json,
    fixed_cost,
)
from toolkit.report.figures import GPT4O_PASS_AT_1
from toolkit.stats.forecast import FARTHEST, empirical_bayes


@dataclass(frozen=True, slots=True)
class Ask:
    """One of the first four is given; `stop_r` and `stop_min` shape the adaptive design."""

    target: float | None
    samples: int | None
    usd: float | None
    gpu_hours: float | None
    stop_r: int
    stop_min: int

    def check(self) -> None:
        """Raises `UsageError` for what cannot be asked."""
        if self.target is not None and not 0 < self.target < 1:
            raise UsageError(f"--target {self.target}: a coverage, over 0 and under 1")
        given = (("samples", self.samples), ("budget-usd", self.usd), ("gpu-hours", self.gpu_hours),
                 ("stop-r", self.stop_r), ("stop-min", self.stop_min))  # fmt: skip
        for name, value in given:
            if value is not None and not 0 < value <= FARTHEST:
                raise UsageError(f"--{name} {value}: must be over 0, at most 10^7")


def plan_document(pilot: Pilot, ask: Ask, prices: Prices) -> dict[str, Any]:
    """Everything that is known about the wish, as JSON-able values.

    designs: for "fixed" and "adaptive" the k, its cost and the expected coverage; where a
    target is asked for, also `cost_lo` and `cost_hi`, those of the ends of k's interval.
    """
    rate = prices.tokens_per_second or pilot.rate
    if rate is None and (ask.usd is not None or ask.gpu_hours is not None):
        raise UsageError("the pilot does not say how fast its tasks were: give --tokens-per-second")
    costs = {
        "fixed": partial(fixed_cost, pilot, prices=prices),
        "adaptive": partial(
            adaptive_cost, pilot, r=ask.stop_r, minimum=ask.stop_min, prices=prices
        ),
    }
    reached = pilot.forecast.reaches(ask.target) if ask.target is not None else None
    designs: dict[str, Any] = {}
    for name, cost in costs.items():
        if reached:
            designs[name] = {
                "k": _whole(reached.estimate),
                "cost": _cost_at(cost, reached.estimate),
                "cost_lo": _cost_at(cost, reached.lo),
                "cost_hi": _cost_at(cost, reached.hi),
            }
            continue
        k = ask.samples or affordable(cost, partial(_within, ask))
        designs[name] = {"k": k, "cost": as_json(cost(k)), **_coverage(pilot, k)}
    overtakes = pilot.forecast.reaches(GPT4O_PASS_AT_1) if pilot.full_humaneval else None
    counts = pilot.counts
    return {
        "pilot": pilot.title,
        "problems": len(counts),
        "n_min": int(counts.n.min()),
        "n_max": int(counts.n.max()),
        "k_max": counts.k_max,
        "pass_at_k_max": 1 - float(pilot.forecast.at(counts.k_max).estimate),
        "tokens_per_sample": float(pilot.tokens.mean()),
        "tokens_per_second": rate,
        "usd_per_gpu_hour": prices.usd_per_gpu_hour,
        "target": ask.target,
        "k": as_json(reached) if reached else None,
        "stopping": {"r": ask.stop_r, "min": ask.stop_min},
        "designs": designs,
        "overtakes": {"reference": "GPT-4o, one try", "pass_at_1": GPT4O_PASS_AT_1}
        | as_json(overtakes)
        if overtakes
        else None,
        "estimand": "such problems",
    }


def _within(ask: Ask, cost: Cost) -> bool:
    if ask.usd is not None:
        return cost.usd is not None and cost.usd <= ask.usd
    return cost.gpu_hours is not None and cost.gpu_hours <= (ask.gpu_hours or 0)


def _cost_at(cost: Any, k: float) -> dict[str, Any] | None:
    return as_json(cost(k)) if math.isfinite(k) else None


def _whole(k: float) -> int | None:
    return int(k) if math.isfinite(k) else None


def _coverage(pilot: Pilot, k: int) -> dict[str, float]:
    """pass@k of such problems with its interval, and the estimate for these very problems."""
    fail = pilot.forecast.at(k)
    same = empirical_bayes(pilot.counts, pilot.count_fits.map, np.array([k]))
    found = {"pass_at_k": 1 - fail.estimate, "lo": 1 - fail.hi, "hi": 1 - fail.lo}
    return found | {"these_problems": 1 - float(same[0])}


def plan_text(document: Mapping[str, Any]) -> str:
    """For people."""
    n = f"{document['n_min']} to {document['n_max']}"
    rate = document["tokens_per_second"]
    speed = f"{rate:,.0f} tokens/s a GPU" if rate else "speed unknown: give --tokens-per-second"
    lines = [
        f"pilot      {document['pilot']}: {document['problems']} problems, n = {n}, "
        f"pass@{document['k_max']} = {document['pass_at_k_max']:.4f}",
        f"assumed    {document['tokens_per_sample']:.0f} tokens a sample, {speed}, "
        f"{document['usd_per_gpu_hour']} $ a GPU-hour",
    ]
    if found := document["k"]:
        reached = (
            f"is not reached at any k up to {FARTHEST:,}"
            if found["estimate"] is None
            else f"at k = {_k(found['estimate'])}"
        )
        lines.append(
            f"target     pass@k = {document['target']} {reached} "
            f"(95 %, such problems: {_k(found['lo'])} to {_k(found['hi'])})"
        )
    lines += ["", _row("design", "k", "samples", "M tokens", "GPU-hours", "$")]
    for name, design in document["designs"].items():
        lines += _design_rows(name, design, document)
    if found := document["overtakes"]:
        level = f"{found['reference']} ({found['pass_at_1']:.1%})"
        if found["estimate"] is None:
            lines.append(f"\n{level} is not overtaken, at any k up to {FARTHEST:,}; 95 %: from "
                         f"k = {_k(found['lo'])} to {_k(found['hi'])}")  # fmt: skip
        else:
            lines.append(f"\n{level} is overtaken at k = {_k(found['estimate'])}; 95 %, such "
                         f"problems: {_k(found['lo'])} to {_k(found['hi'])}")  # fmt: skip
    return "\n".join(lines)


def _design_rows(name: str, design: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    rule = document["stopping"]
    label = name if name == "fixed" else f"adaptive r={rule['r']} min={rule['min']}"
    rows = [_row(label, *_cells(_k(design["k"]), design["cost"]))]
    if "cost_lo" in design:
        k = document["k"]
        rows.append(_row("  95 %, from", *_cells(_k(k["lo"]), design["cost_lo"])))
        rows.append(_row("  to", *_cells(_k(k["hi"]), design["cost_hi"])))
    else:
        rows.append(
            f"  pass@{design['k']} = {design['pass_at_k']:.4f}, 95 % {design['lo']:.4f} to "
            f"{design['hi']:.4f} (such problems); {design['these_problems']:.4f} expected of these"
        )
    return rows


def _row(label: str, *cells: str) -> str:
    widths = (10, 14, 11, 11, 10)
    return f"{label:<22}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))


def _cells(k: str, cost: Mapping[str, float | None] | None) -> list[str]:
    if cost is None:
        return [k, "-", "-", "-", "-"]
    values = (cost["tokens"] or 0) / 1e6, cost["gpu_hours"], cost["usd"]
    return [k, f"{cost['samples']:,.0f}", *("-" if v is None else _three_digits(v) for v in values)]


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _k(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"
