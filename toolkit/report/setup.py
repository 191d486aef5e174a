"""The report's table of what was run: model, task, judge, versions, and what it took."""

from collections.abc import Iterator

from toolkit.report.blocks import Block, Heading, Paragraph, Table, plain
from toolkit.report.document import FitDocument
from toolkit.runs.provenance import Provenance
from toolkit.runs.usage import Cost

MONTHS = (
    "January February March April May June July August September October November December".split()
)


def setup_blocks(document: FitDocument) -> Iterator[Block]:
    """What was run, as a table. Of a file of counts only the day is known."""
    if not document.sampling:
        if document.date:
            yield Paragraph(f"{in_words(document.date)}. Made of a file of counts.")
        return
    yield Heading("What was run")
    rows = [[name, plain(value)] for name, value in _facts(document).items() if value]
    yield Table(["", ""], rows)


def in_words(day: str) -> str:
    """`26 November 2026` of an ISO day."""
    year, month, number = day.split("-")
    return f"{int(number)} {MONTHS[int(month) - 1]} {year}"


def _facts(document: FitDocument) -> dict[str, str | None]:
    """Name -> value, in the order in which they are shown; None for what is not known."""
    found, sampling = document.provenance or Provenance(), document.sampling
    assert sampling is not None  # whoever calls has looked
    model = f"{sampling.model}, revision {found.revision}" if found.revision else sampling.model
    drawn = f"{document.sampled:,}" if document.sampled is not None else None
    tokens = f"{document.tokens:,} out" if document.tokens else "not known"
    if found.prompt_tokens:
        tokens += f", {found.prompt_tokens:,} in"
    return {
        "date of this report": document.date and in_words(document.date),
        "sampled": _days(found),
        "model": model,
        "task": _task(found),
        "backend": sampling.backend,
        "prompt style": sampling.prompt_style,
        "temperature": _shown(sampling.temperature),
        "top_p": _shown(sampling.top_p),
        "max_tokens": _shown(sampling.max_tokens),
        "judge": _judge(document),
        **_judge_settings(document),
        "toolkit": _toolkit(found),
        "engine": found.engine,
        "device": _devices(found.devices),
        "samples": drawn,
        "tokens": tokens,
        "speed": document.roof.speed_line() if document.roof else None,
        **_paid(document.cost, found),
    }


def _days(found: Provenance) -> str | None:
    if not (found.first_day and found.last_day):
        return None
    first, last = in_words(found.first_day), in_words(found.last_day)
    return first if first == last else f"{first} to {last}"


def _task(found: Provenance) -> str | None:
    if not found.task:
        return None
    return f"{found.task} (data: SHA-256 {found.data[:16]}...)" if found.data else found.task


def _judge(document: FitDocument) -> str | None:
    judge = document.judge
    return f"{judge.verifier}, version {judge.version}" if judge else None


def _judge_settings(document: FitDocument) -> dict[str, str]:
    """The judge's settings, its time limit in words."""
    settings = document.judge.settings if document.judge else {}
    named = {"timeout": "time limit of an answer"}
    return {
        named.get(name, name): f"{value:g} s" if name == "timeout" else str(value)
        for name, value in settings.items()
    }


def _toolkit(found: Provenance) -> str | None:
    if not found.toolkit:
        return None
    known = found.commit and found.commit != "unknown"
    return f"{found.toolkit}, commit {found.commit}" if known else found.toolkit


def _devices(devices: dict[str, int] | None) -> str | None:
    if not devices:
        return None
    return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in devices.items())


def _paid(cost: Cost | None, found: Provenance) -> dict[str, str | None]:
    """GPU-hours and dollars; nothing where the cost is not known."""
    if cost is None or not (cost.seconds or cost.usd):
        return {}
    share = "" if cost.efficiency is None else f", {cost.efficiency:.0%} of it sampling"
    if cost.gpu_hours is None:
        hours = f"none: {cost.seconds:,.0f} s of sampling tasks (from {cost.source}){share}"
    else:
        hours = f"{cost.gpu_hours:.2f} (from {cost.source}){share}"
    usd = None if cost.usd is None else f"{cost.usd:.4g} for tokens"
    if usd is None and cost.gpu_hours and found.usd_per_gpu_hour:
        price = found.usd_per_gpu_hour
        usd = f"{cost.gpu_hours * price:.4g}, at {price:g} a GPU-hour"
    return {"GPU-hours": hours, "US dollars": usd}


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
