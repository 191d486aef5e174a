"""What vLLM's engine reports at every step: how full its KV cache is, and its preemptions.

With statistics on, each step returns those of the scheduler with its outputs. The engine may run in
this process or in one of its own. vLLM gives the statistics to its stat loggers, which ours
replaces.
"""

import logging
from typing import Any

from toolkit.records import Load

log = logging.getLogger(__name__)


class EngineReports:
    """Collects the engine's reports of each step, reduced to what a reading needs.

    It acts as one of vLLM's stat loggers. The classes of vLLM's statistics are not a stable
    interface. A value that they lack counts as unknown.
    """

    def __init__(self) -> None:
        self._kv_cache: float | None = None
        self._preemptions: int | None = None

    def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
        """Called by vLLM at every step. It runs in this process, wherever the engine runs."""
        share = getattr(scheduler_stats, "kv_cache_usage", None)
        if share is not None:
            self._kv_cache = max(self._kv_cache or 0.0, share)
        prefixes = getattr(scheduler_stats, "prefix_cache_stats", None)
        again = getattr(prefixes, "preempted_requests", None)
        if again is not None:
            self._preemptions = (self._preemptions or 0) + again

    def load(self) -> Load:
        """The largest share of the KV cache since the last call, and all preemptions so far."""
        load, self._kv_cache = Load(self._kv_cache, self._preemptions), None
        return load

    def __getattr__(self, name: str) -> Any:
        # Ignore the other calls that vLLM makes to its loggers (log, sleep states).
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None


def listen(engine: Any) -> EngineReports:
    """Collect the reports of a `vllm.LLMEngine`, in place of its own loggers.

    Those would spend milliseconds of every step on histograms that nobody reads. Another version of
    vLLM may keep its loggers elsewhere. It then reports nothing.
    """
    reports = EngineReports()
    loggers = getattr(getattr(engine, "logger_manager", None), "stat_loggers", None)
    if isinstance(loggers, list):
        loggers[:] = [reports]
        # From now on this flag only decides whether vLLM collects statistics of each request. They
        # cost some microseconds per token. The scheduler's come with the outputs in any case.
        engine.log_stats = False
    else:
        log.warning("this version of vLLM does not report how full its KV cache is")
    return reports
