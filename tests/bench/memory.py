"""Peak memory of a sampling process for a small and a large n, each in a process of its own.

python tests/bench/memory.py RUN FLAGS OUT: samples all slices of a run, as an array task does. It
writes its peak memory in KiB to OUT. FLAGS is JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.resolve import resolve
from toolkit.runs.run import open_run
from toolkit.stages.sample import run_sampling
from toolkit.stages.signals import StopRequest

FEW, MANY = 100, 2000
TINY_MODEL = Path(__file__).resolve().parents[1] / "tiny_model.py"
KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1", "LRU_CACHE_CAPACITY": "1"}
"""On a CPU the engine compiles a kernel for each batch size, and keeps a thousand of them.

They take a hundred MB and more. The memory has nothing to do with samples, but in a short run it
grows with their number. So the caches are made small.
"""
SYNTHETIC = {"backend": "synthetic", "slice_samples": 2048, "slice_seeds": 128}


def rows() -> Iterator[dict[str, object]]:
    """One row for each engine."""
    yield row("no model, 164 problems, slices of 2048", SYNTHETIC)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, TINY_MODEL, folder], check=True, capture_output=True)
        yield row("vLLM with a tiny model, 2 problems, slices of 100", tiny(folder))


def tiny(model: str) -> dict[str, Any]:
    """The flags for two problems with short completions."""
    return {
        "model": model,
        "prompt_style": "completion",
        "limit": 2,
        "max_tokens": 4,
        "top_p": 1.0,
        "slice_samples": 100,
        "slice_seeds": 50,
        "max_num_seqs": 128,
        "cpu_kv_cache_gib": 1,
    }


def row(case: str, flags: Mapping[str, Any]) -> dict[str, object]:
    """Peak resident memory with few and with many samples of each problem."""
    few, many = (peak_bytes({**flags, "samples": n}) for n in (FEW, MANY))
    return {
        "case": case,
        f"peak MB, n = {FEW}": round(few / 1e6),
        f"peak MB, n = {MANY:,}": round(many / 1e6),
        "ratio": round(many / few, 3),
    }


def peak_bytes(flags: Mapping[str, Any]) -> int:
    """Peak resident memory (VmHWM) of a process that samples a new run with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        run = freeze_launch(plan_launch(resolve(flags), Path(folder)))
        peak = Path(folder) / "peak"
        command = [sys.executable, __file__, str(run.path), json.dumps(flags), str(peak)]
        subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | KERNELS,
            check=True,
        )
        if len(run.done()) != len(run.slices()):
            raise RuntimeError(f"sampling with {flags} failed")
        return int(peak.read_text()) * 1024


def main() -> None:
    """Sample the whole run."""
    run, config = open_run(Path(sys.argv[1])), resolve(json.loads(sys.argv[2]))
    assert run_sampling(run, [s.name for s in run.slices()], config, StopRequest())
    # Not ru_maxrss: it would include the peak of the parent process, which exec does not reset.
    status = Path("/proc/self/status").read_text()
    Path(sys.argv[3]).write_text(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
