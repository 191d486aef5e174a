"""What vLLM's engine reports of itself at every step: its KV cache and its preemptions.

With statistics on, the scheduler's come with the outputs of a step, from an engine in this process
or in one of its own, and vLLM hands them to its stat loggers. Ours takes their place.
"""

import logging
from typing import Any

from toolkit.records import Load

log = logging.getLogger(__name__)


class EngineReports:
    """What the engine reports at every step, reduced to what a reading needs.

    Stands among vLLM's stat loggers. The classes of its statistics are no stable interface: what
    they lack is unknown.
    """

    def __init__(self) -> None:
        self._kv_cache: float | None = None
        self._preemptions: int | None = None

    def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
        """Called by vLLM at every step, in this process, wherever the engine runs."""
        share = getattr(scheduler_stats, "kv_cache_usage", None)
        if share is not None:
            self._kv_cache = max(self._kv_cache or 0.0, share)
        prefixes = getattr(scheduler_stats, "prefix_cache_stats", None)
        again = getattr(prefixes, "preempted_requests", None)
        if again is not None:
            self._preemptions = (self._preemptions or 0) + again

    def load(self) -> Load:
        """The fullest KV cache since the last call, and all preemptions."""
        load, self._kv_cache = Load(self._kv_cache, self._preemptions), None
        return load

    def __getattr__(self, name: str) -> Any:
        # vLLM's other calls of its loggers (log, sleep states) are nothing to us.
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None


def listen(engine: Any) -> EngineReports:
    """The reports of a `vllm.LLMEngine`, in the place of its own loggers, which would spend
    milliseconds of every step on histograms that nobody reads.

    An engine that keeps its loggers elsewhere (another version) reports nothing.
    """
    reports = EngineReports()
    loggers = getattr(getattr(engine, "logger_manager", None), "stat_loggers", None)
    if isinstance(loggers, list):
        loggers[:] = [reports]
        # From here on this only says whether statistics of each request are collected, at some
        # microseconds a token; the scheduler's come with the outputs all the same.
        engine.log_stats = False
    else:
        log.warning("this version of vLLM does not say how full its KV cache is")
    return reports
