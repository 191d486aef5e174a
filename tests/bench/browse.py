"""The page of 164,000 samples: how long it takes to make, how large it is, how soon it is open.

The samples are CodeGen's 8,200 completions, each varied 20 times in names and constants. Chromium
opens the page from the disk, without a network. Needs Chromium and its driver.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from chromium import chromium, missing
from made_runs import CODEGEN, large_run

from toolkit.stages.browse import browse_run
from toolkit.verifiers.judges import judge_of_run

REPETITIONS = 5
READY = """
const done = arguments[0];
const look = () => document.app ? requestAnimationFrame(() => done(performance.now()))
  : setTimeout(look, 1);
look();
"""
"""Milliseconds from the navigation's start to the first frame with the table."""
OPENED = """
const done = arguments[0], start = performance.now();
location.hash = "#HumanEval/32";
const look = () => document.app.problem ? requestAnimationFrame(() => done(performance.now() - start))
  : setTimeout(look, 1);
look();
"""
SCROLLED = """
const done = arguments[0], box = document.app.problem.list.box, times = [];
let last = performance.now();
const step = (now) => {
  times.push(now - last);
  last = now;
  box.scrollTop += 700;
  if (times.length < 100) requestAnimationFrame(step);
  else done(times.slice(1).sort((a, b) => a - b));
};
requestAnimationFrame((now) => { last = now; requestAnimationFrame(step); });
"""


def bench() -> Iterator[dict[str, object]]:
    """One row."""
    if not CODEGEN.exists() or missing():
        yield {"skipped": missing() or f"{CODEGEN} is not there"}
        return
    with tempfile.TemporaryDirectory() as folder:
        run = large_run(Path(folder) / "run")
        judge = judge_of_run(run)
        begun, cpu = time.perf_counter(), time.process_time()
        path, data = browse_run(run, judge)
        made = {"s": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
        yield {
            "samples": f"{data.head['samples']:,}",
            "made, s": f"{made['s']:.1f}",
            "CPU s": f"{made['cpu']:.1f}",
            "MB": f"{path.stat().st_size / 1e6:.1f}",
            **opening(path.as_uri()),
            "load of the machine": f"{os.getloadavg()[0]:.1f}",
        }


def opening(address: str) -> dict[str, object]:
    """Seconds to the table and to a problem; milliseconds between frames while a list scrolls."""
    first, problem = [], []
    with chromium() as driver:
        for _ in range(REPETITIONS):
            driver.get("about:blank")
            driver.get(address)
            first.append(driver.execute_async_script(READY))
            problem.append(driver.execute_async_script(OPENED))
        frames = driver.execute_async_script(SCROLLED)
    return {
        "open, s": f"{sorted(first)[REPETITIONS // 2] / 1000:.2f}",
        "slowest": f"{max(first) / 1000:.2f}",
        "a problem of 1,000, s": f"{sorted(problem)[REPETITIONS // 2] / 1000:.2f}",
        "median frame, ms": f"{frames[len(frames) // 2]:.0f}",
        "95 % of frames under, ms": f"{frames[int(len(frames) * 0.95)]:.0f}",
    }
