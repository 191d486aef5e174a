"""The advice of jobs/plan.py: a question, a document that advises, and the document as text."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from toolkit.cli import how_many, samples_each
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
from toolkit.problems.humaneval import GPT4O_PASS_AT_1
from toolkit.stats.forecast import FARTHEST, Interval


@dataclass(frozen=True, slots=True)
class Question:
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
        given = {
            "samples": self.samples,
            "budget-usd": self.usd,
            "gpu-hours": self.gpu_hours,
            "stop-r": self.stop_r,
            "stop-min": self.stop_min,
        }
        for name, value in given.items():
            if value is not None and not 0 < value <= FARTHEST:
                raise UsageError(f"--{name} {value}: must be over 0, at most 10^7")


def advice_document(pilot: Pilot, question: Question, prices: Prices) -> dict[str, Any]:
    """Everything that is known about the question, as JSON-able values.

    designs: for "fixed" and for "adaptive" the k, its cost, the expected coverage (None where
    there is no forecast) and the command that samples it (None where no launch goes on). Where a
    target is asked for, also `cost_lo` and `cost_hi`: the costs of the ends of k's interval.
    """
    rate = prices.tokens_per_second or pilot.rate
    each = prices.tokens_per_sample or float(pilot.tokens.mean())
    if not math.isfinite(each) and (question.usd is not None or question.gpu_hours is not None):
        raise UsageError(
            "the pilot's samples were ingested, so nobody knows their tokens and what they cost; "
            "give --tokens-per-sample"
        )
    if rate is None and (question.usd is not None or question.gpu_hours is not None):
        raise UsageError("the pilot does not say how fast a GPU is: give --tokens-per-second")
    target = question.target
    reached = pilot.forecast.reaches(target) if target is not None else None
    overtakes = pilot.forecast.reaches(GPT4O_PASS_AT_1) if pilot.full_humaneval else None
    counts = pilot.counts
    return {
        "pilot": pilot.title,
        "problems": len(counts),
        "n_min": int(counts.n.min()),
        "n_max": int(counts.n.max()),
        "k_max": counts.k_max,
        "pass_at_k_max": 1 - float(pilot.forecast.at(counts.k_max).estimate),
        "tokens_per_sample": each if math.isfinite(each) else None,
        "tokens_per_second": rate,
        "device": None if prices.tokens_per_second else pilot.device,
        "usd_per_gpu_hour": prices.usd_per_gpu_hour,
        "target": target,
        "k": as_json(reached) if reached else None,
        "forecast_to": pilot.forecast.farthest,
        "no_forecast": pilot.forecast.limit(counts.k_max + 1),
        "stopping": _stopping(pilot, question),
        "pilot_samples": int(pilot.holdings.planned.sum()),
        "ingested": pilot.holdings.ingested,
        "designs": _designs(pilot, question, prices, reached),
        "overtakes": {"reference": "GPT-4o, one try", "pass_at_1": GPT4O_PASS_AT_1}
        | as_json(overtakes)
        if overtakes
        else None,
        "estimand": "such problems",
    }


def _stopping(pilot: Pilot, question: Question) -> dict[str, int]:
    """The rule that a launch would take: the pilot's own, or one from where its samples end."""
    cap = max(question.stop_min, pilot.holdings.most)
    rule = pilot.holdings.rule(question.stop_r, question.stop_min, cap)
    return {"r": rule.r, "min": rule.looks[0]}


def _designs(
    pilot: Pilot, question: Question, prices: Prices, reached: Interval | None
) -> dict[str, Any]:
    adaptive = partial(adaptive_cost, r=question.stop_r, minimum=question.stop_min)
    costs: dict[str, Callable[[float], Cost]] = {
        "fixed": partial(fixed_cost, pilot, prices=prices),
        "adaptive": partial(adaptive, pilot, prices=prices),
    }
    designs: dict[str, Any] = {}
    for name, cost in costs.items():
        if reached:
            k = _whole(reached.estimate)
            designs[name] = {
                "k": k,
                "command": _command(pilot, question, name, k),
                "cost": _cost_at(cost, reached.estimate),
                "cost_lo": _cost_at(cost, reached.lo),
                "cost_hi": _cost_at(cost, reached.hi),
            }
        else:
            had = int(pilot.holdings.planned.min()) if _continues(pilot, name) else 0
            k = question.samples or affordable(cost, partial(_within, question), had)
            designs[name] = {
                "k": k,
                "command": _command(pilot, question, name, k),
                "cost": as_json(cost(k)),
                **_coverage(pilot, k),
            }
    return designs


def _continues(pilot: Pilot, design: str) -> bool:
    return pilot.holdings.goes_on(adaptive=design == "adaptive")


def _command(pilot: Pilot, question: Question, design: str, k: int | None) -> str | None:
    """What samples up to k; None where nothing is missing, or no launch goes on with the pilot."""
    holdings = pilot.holdings
    if k is None:
        return None
    if design == "fixed":
        return holdings.command(k, None) if k > holdings.planned.min() else None
    rule = holdings.rule(question.stop_r, question.stop_min, k)
    return holdings.command(k, rule) if rule.cap > holdings.most else None


def _within(question: Question, cost: Cost) -> bool:
    if question.usd is not None:
        return cost.usd is not None and cost.usd <= question.usd
    return cost.gpu_hours is not None and cost.gpu_hours <= (question.gpu_hours or 0)


def _cost_at(cost: Callable[[float], Cost], k: float) -> dict[str, Any] | None:
    return as_json(cost(k)) if math.isfinite(k) else None


def _whole(k: float) -> int | None:
    return int(k) if math.isfinite(k) else None


def _coverage(pilot: Pilot, k: int) -> dict[str, float | None]:
    """pass@k of such problems with its interval, and the estimate for these very problems; None
    where there is no forecast.
    """
    fail = pilot.forecast.at(k)
    found = {
        "pass_at_k": 1 - fail.estimate,
        "lo": 1 - fail.hi,
        "hi": 1 - fail.lo,
        "these_problems": 1 - pilot.these_problems(k),
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def advice_text(document: Mapping[str, Any]) -> str:
    """For people."""
    rate = document["tokens_per_second"]
    speed = f"{rate:,.0f} tokens/s a GPU" if rate else "speed unknown: give --tokens-per-second"
    if rate and document["device"]:
        speed += f" (the pilot's: {document['device']})"
    each = document["tokens_per_sample"]
    tokens = "unknown: give --tokens-per-sample; so unknown" if each is None else f"{each:.0f}"
    lines = [
        f"pilot      {document['pilot']}: {how_many(document['problems'], 'problem')}, "
        f"{samples_each(document['n_min'], document['n_max'])}, "
        f"pass@{document['k_max']} = {document['pass_at_k_max']:.4f}",
        f"assumed    {tokens} tokens a sample, {speed}, "
        f"{document['usd_per_gpu_hour']} $ a GPU-hour",
    ]
    if found := document["k"]:
        reached = (
            f"is not reached at any k up to {document['forecast_to']:,}"
            if found["estimate"] is None
            else f"at k = {_k(found['estimate'])}"
        )
        lines.append(
            f"target     pass@k = {document['target']} {reached} "
            f"(95 %, such problems: {_k(found['lo'])} to {_k(found['hi'])})"
        )
    if reason := document["no_forecast"]:
        lines.append(f"forecast   none beyond k = {document['k_max']}: {reason}")
    lines += ["", _row("design", "k", "samples", "fresh", "M tokens", "GPU-hours", "$")]
    for name, design in document["designs"].items():
        lines += _design_rows(name, design, document)
    lines += _how_to_go_on(document)
    if found := document["overtakes"]:
        level = f"{found['reference']} ({found['pass_at_1']:.1%})"
        reached = (
            f"is not overtaken at any k up to {document['forecast_to']:,}"
            if found["estimate"] is None
            else f"is overtaken at k = {_k(found['estimate'])}"
        )
        interval = f"{_k(found['lo'])} to {_k(found['hi'])}"
        lines.append(f"\n{level} {reached} (95 %, such problems: {interval})")
    return "\n".join(lines)


def _design_rows(name: str, design: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    rule = document["stopping"]
    label = name if name == "fixed" else f"adaptive r={rule['r']} min={rule['min']}"
    rows = [_row(label, *_cells(_k(design["k"]), design["cost"]))]
    if "cost_lo" in design:
        k = document["k"]
        rows.append(_row("  95 %, from", *_cells(_k(k["lo"]), design["cost_lo"])))
        rows.append(_row("  to", *_cells(_k(k["hi"]), design["cost_hi"])))
    elif design["pass_at_k"] is None:
        why = "" if document["no_forecast"] else ": it is too far from the pilot"
        rows.append(f"  no forecast of pass@{design['k']}{why}")
    else:
        rows.append(
            f"  pass@{design['k']} = {design['pass_at_k']:.4f}, 95 % {design['lo']:.4f} to "
            f"{design['hi']:.4f} (such problems); {_four(design['these_problems'])} expected of "
            "these"
        )
    return rows


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _how_to_go_on(document: Mapping[str, Any]) -> list[str]:
    """What the costs are of, and the commands."""
    held = f"{document['pilot_samples']:,}"
    if document["ingested"]:
        return [
            f"\nThe pilot's {held} samples were ingested: no launch goes on with them, so all "
            "samples are fresh ones of a new run."
        ]
    lines = [
        f"\nTokens, GPU-hours and $ are those of the fresh samples; the pilot has {held} samples."
    ]
    for name, design in document["designs"].items():
        if design["command"]:
            lines.append(f"{name}: {design['command']}")
        elif design["k"] is not None:
            why = (
                "nothing is missing"
                if design["cost"]["fresh"] == 0
                else "the pilot was sampled adaptively, so a fixed number takes a new run"
            )
            lines.append(f"{name}: {why}")
    return lines


def _row(label: str, *cells: str) -> str:
    widths = (10, 13, 13, 10, 11, 10)
    return f"{label:<22}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))


def _cells(k: str, cost: Mapping[str, float | None] | None) -> list[str]:
    if cost is None:
        return [k, "-", "-", "-", "-", "-"]
    tokens = None if cost["tokens"] is None else cost["tokens"] / 1e6
    values = tokens, cost["gpu_hours"], cost["usd"]
    amounts = (f"{cost[name]:,.0f}" for name in ("samples", "fresh"))
    return [k, *amounts, *("-" if v is None else _three_digits(v) for v in values)]


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _k(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f}"
