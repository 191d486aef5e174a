"""What a launch says beforehand of slices that are too long for the time limit."""

from dataclasses import replace

import pytest

from toolkit.launch.describe import describe_plan
from toolkit.launch.prepare import freeze_launch, plan_launch, record_launch, tasks_of
from toolkit.records import Sample
from toolkit.resolve import resolve
from toolkit.runs.partials import write_partial
from toolkit.runs.shard_facts import Origin, ShardFacts, Times, TokenCounts
from toolkit.runs.shards import write_shard

FLAGS = {"backend": "synthetic", "limit": 2, "samples": 40, "slice_samples": 40, "time": "60"}


def described(plan, launcher="slurm"):
    said = describe_plan(plan, launcher, [["r000-s0000"]])
    return [line for line in said.splitlines() if line.startswith("warning")]


def facts(samples, minutes):
    """Of an engine that has drawn so many samples of ten tokens in this time."""
    return ShardFacts(
        origin=Origin(host="n1"),
        times=Times(started=0.0, ended=60.0 * minutes),
        tokens=TokenCounts(output=10 * samples),
    )


@pytest.fixture
def plan(tmp_path):
    return plan_launch(resolve(FLAGS), tmp_path)


def again(plan, **flags):
    return plan_launch(resolve(FLAGS | flags), plan.path.parent, plan.path)


def rows(slice_, count):
    keys = list(slice_.sample_keys())[:count]
    return [Sample(task_id, seed, "x", 10, "stop") for task_id, seed in keys]


def test_engines_and_gpus_are_counted_in_all(tmp_path):
    node = {"backend": "vllm", "model": "org/model", "engines_per_task": 4, "array": 3}
    flags = FLAGS | node | {"tensor_parallel_size": 2, "slice_samples": 8}
    plan = plan_launch(resolve(flags), tmp_path)
    tasks = tasks_of(plan)
    assert [len(names) for names in tasks] == [4, 3, 3]  # ten slices
    said = describe_plan(plan, "slurm", tasks).splitlines()
    assert (
        "engines    4 in each sampling array task, 12 in all, 8 GPUs in each: 24 GPUs in all"
        in said
    )
    assert "resources  a sampling array task: gpu:8, " in "".join(said)
    assert any(line.endswith("min on 12") for line in said)
    on_cpu = replace(plan, config=resolve(flags | {"gres": ""}))
    said = describe_plan(on_cpu, "local", tasks).splitlines()
    assert "engines    4 in each sampling array task, 12 in all" in said


def test_there_are_no_more_array_tasks_than_their_engines_have_slices_for(tmp_path):
    flags = FLAGS | {"slice_samples": 16, "engines_per_task": 4, "array": 10}
    assert [len(names) for names in tasks_of(plan_launch(resolve(flags), tmp_path))] == [3, 2]


def test_nothing_is_said_of_a_new_run(plan):
    assert described(plan) == []
    freeze_launch(plan)
    assert described(again(plan)) == []


def test_a_slice_over_half_of_the_time_limit_is_named(plan):
    run = freeze_launch(plan)
    write_shard(run, run.slices()[0], rows(run.slices()[0], 40), facts(40, 31))
    (line,) = described(again(plan))
    assert line == (
        "warning    a slice takes about 31 min at the speed so far, over half of the time limit "
        "of 60 min: give --time more"
    )
    assert described(again(plan, time="63")) == []  # the remedy
    assert described(again(plan), "local") == []


def test_the_speed_of_a_run_that_finished_no_slice_is_in_its_partial_files(plan):
    run = freeze_launch(plan)
    write_partial(run, run.slices()[1], rows(run.slices()[1], 10), facts(10, 20))
    (line,) = described(again(plan))
    assert "a slice takes about 80 min at the speed so far, over half" in line


def test_smaller_slices_are_a_remedy_where_no_plan_is_frozen(plan):
    run = freeze_launch(plan)
    for i, slice_ in enumerate(run.slices()):
        write_shard(
            run, slice_, rows(slice_, 40), replace(facts(40, 31), origin=Origin(host=f"n{i}"))
        )
    (line,) = described(again(plan, samples=80))
    assert line.endswith(": give --time more or --slice-samples less")
    assert described(again(plan, samples=80, slice_samples=20)) == []


def test_an_estimate_is_made_for_gpus_only(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    flags = {"limit": 1, "model": str(model)}

    def estimates(launcher, **more):
        text = describe_plan(plan_launch(resolve(flags | more), tmp_path), launcher, [["s"]])
        return [line for line in text.splitlines() if line.startswith("estimate ")]

    (line,) = estimates("slurm")
    assert "A100-40GB" in line
    assert estimates("slurm", gres="") == []
    assert estimates("slurm", model="", gres="gpu:1") == []
    assert estimates("local") == []


def test_another_vllm_than_before_is_said(tmp_path, monkeypatch):
    flags = FLAGS | {"backend": "vllm", "model": "org/model"}

    def with_vllm(version):
        for module in ("toolkit.runs.history", "toolkit.launch.describe"):
            monkeypatch.setattr(f"{module}.vllm_version", lambda: version)

    def said(run):
        again = plan_launch(resolve(flags), tmp_path, run.path)
        lines = describe_plan(again, "slurm", [["r000-s0000"]]).splitlines()
        return [line for line in lines if line.startswith("vllm")]

    with_vllm("0.32.0")
    plan = plan_launch(resolve(flags), tmp_path)
    run = freeze_launch(plan)
    assert not said(run)  # no launch before it
    record_launch(run, plan, "slurm", "0a0b0c0d")
    assert not said(run)
    with_vllm("0.33.0")
    (line,) = said(run)
    assert line.startswith("vllm       0.33.0 here; the launch before had 0.32.0. Samples of both")
    record_launch(run, plan, "slurm", "1a0b0c0d")
    assert not said(run)
    with_vllm("0.32.0")  # and back again
    record_launch(run, plan, "slurm", "2a0b0c0d")
    assert not said(run)
    with_vllm("0.33.0")
    assert said(run) == [line]
    with_vllm(None)  # a login node without vLLM
    assert not said(run)
