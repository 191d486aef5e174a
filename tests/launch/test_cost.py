"""The cost that fit records, and the lines by which a task says how it began and ended."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest

from toolkit.launch.accounting import read_cost
from toolkit.launch.causes import OUR_LAST_LINE
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Sample
from toolkit.report.document import FitContext, read_fit
from toolkit.report.facts import SamplingFacts
from toolkit.resolve import resolve
from toolkit.runs.history import Launch, append_launch
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts, Times, TokenCounts
from toolkit.runs.shards import write_shard
from toolkit.runs.usage import Cost
from toolkit.stages.fit import fit_counts

SAMPLING = SamplingFacts("m", "vllm", "completion", 0.8, 0.95, 512)
PAID = Cost(on_gpus=True, seconds=7200.0, sampling_seconds=3600.0, source="sacct")


@pytest.mark.slow
def test_what_accounting_said_at_the_fit_outlasts_it(tmp_path):
    counts = pl.DataFrame({"task_id": list("abcd"), "n": [4] * 4, "c": [0, 1, 2, 4]})
    context = FitContext(title="a test", sampling=SAMPLING, cost=PAID)

    def fitted(cost):
        """The document, whether the counts were fitted again, and what the report says."""
        now = replace(context, cost=cost)
        document, new = fit_counts(counts, tmp_path, now, replicates=100)
        assert read_fit(tmp_path).cost == document.cost
        return document.cost, new, (tmp_path / "report.md").read_text()

    cost, new, report = fitted(PAID)
    assert (cost, new) == (PAID, True)
    assert "| GPU-hours | 2.00 (from sacct), 50% of it sampling |" in report
    # Accounting has forgotten the jobs, or nobody asked it.
    for less in (replace(PAID, seconds=4000.0, source="the shards"), None):
        assert fitted(less)[:2] == (PAID, False)
    more = replace(PAID, seconds=10800.0)
    cost, new, report = fitted(more)
    assert (cost, new) == (more, True)
    assert "3.00 (from sacct)" in report
    assert "3.00 (from sacct)" in (tmp_path / "report.html").read_text()


def test_the_cost_of_a_run_is_asked_of_sacct(tmp_path, monkeypatch):
    flags = {"backend": "synthetic", "limit": 1, "samples": 2, "slice_samples": 2}
    run = freeze_launch(plan_launch(resolve(flags), tmp_path, tmp_path / "run"))
    (slice_,) = run.slices()
    facts = ShardFacts(
        origin=Origin(host="n1", slurm_job="7", slurm_task="0"),
        engine=EngineFacts(device="NVIDIA A100", tensor_parallel_size=2),
        start=EngineStart(startup_seconds=100.0),
        times=Times(started=1000.0, ended=2700.0),
        tokens=TokenCounts(output=10),
    )
    rows = [Sample(task_id, seed, "x", 1, "stop") for task_id, seed in slice_.sample_keys()]
    write_shard(run, slice_, rows, facts)
    append_launch(run, Launch("2026-11-26T08:00:00+00:00", "slurm", {"sample": "7", "fit": "8"}))
    tres = "billing=1,cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=60G,node=1"
    answer = tmp_path / "sacct"
    answer.write_text(
        "#!/bin/sh\ncat <<'END'\n"
        f"7|sample|NODE_FAIL|0:0|1600|{tres}|n1|2026-11-26T09:00:00\n"
        f"7|sample|COMPLETED|0:0|2000|{tres}|n2|2026-11-26T10:00:00\n"
        "8|fit|RUNNING|0:0|9|billing=1,cpu=1,mem=2G,node=1|n2|2026-11-26T11:00:00\nEND\n"
    )
    answer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cost = read_cost(run)
    assert cost.gpu_hours == 2.0
    assert cost.line() == "2.00 GPU-hours paid (from sacct), 47% of it sampling"
    answer.write_text("#!/bin/sh\nexit 1\n")
    assert read_cost(run).line() == "1.00 GPU-hours paid (from the shards), 94% of it sampling"


@pytest.mark.slow
def test_a_task_ends_its_log_with_its_failure(tmp_path):
    code = (
        "from pathlib import Path; from toolkit.launch.tasks import {0}; {0}(Path('nowhere'), {1})"
    )
    for task, rest, stage in (
        ("sampling_task", "[], None", "sample"),
        ("evaluation_task", "0, 1, None", "evaluate"),
        ("fit_task", "None", "fit"),
    ):
        command = [sys.executable, "-c", code.format(task, rest)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        first, *_, last = done.stderr.splitlines()
        assert re.fullmatch(rf"20\S+Z \S+ begins: {stage}", first)
        assert "Traceback" in done.stderr
        assert done.returncode == 1
        said = OUR_LAST_LINE.search(last)
        assert said, last
        if task != "evaluation_task":  # that one looks at its configuration first
            assert said["kind"] == "UsageError"
            assert said["said"].startswith(f"{tmp_path}/nowhere: no run here")
