"""A run has one number format: that of its first samples."""

import pytest

from toolkit.errors import EXIT_USAGE, RunMismatch
from toolkit.launch.describe import describe_plan
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import EngineFacts, Sample
from toolkit.resolve import resolve
from toolkit.runs.partials import write_partial
from toolkit.runs.shard_facts import Origin, ShardFacts, Times
from toolkit.runs.shards import write_shard

FLAGS = {"backend": "vllm", "model": "org/model", "limit": 1, "samples": 4, "slice_samples": 2}


def planned(folder, run=None, **flags):
    return plan_launch(resolve(FLAGS | flags), folder, run and run.path)


def draw(run, number, dtype, write=write_shard):
    slice_ = run.slices()[number]
    rows = [Sample(*key, "x", 1, "stop") for key in slice_.sample_keys()]
    engine, times = EngineFacts(dtype=dtype), Times(0.0, 1.0)
    write(run, slice_, rows, ShardFacts(Origin(host="n1"), engine=engine, times=times))


def said(plan):
    lines = describe_plan(plan, "slurm", [["r000-s0001"]]).splitlines()
    return [line for line in lines if line.startswith("dtype")]


def state(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_launch_that_names_no_format_takes_that_of_the_first_shard(tmp_path):
    first = planned(tmp_path)
    assert "dtype" not in first.identity
    run = freeze_launch(first)
    again = planned(tmp_path)
    assert (again.config.engine.dtype, said(again)) == ("auto", [])  # nothing is drawn yet
    draw(run, 0, "bfloat16")
    again = planned(tmp_path)
    assert again.path == run.path
    assert again.config.engine.dtype == "bfloat16"
    assert said(again) == ["dtype      bfloat16, as the run's samples have: this launch names none"]
    assert "dtype" not in run.manifest()
    freeze_launch(again)
    assert run.manifest()["dtype"] == "bfloat16"
    # The record outlasts the shard that told it.
    run.shard_path("r000-s0000").unlink()
    assert planned(tmp_path).config.engine.dtype == "bfloat16"


@pytest.mark.parametrize("write", [write_shard, write_partial])
def test_a_launch_that_names_another_format_is_refused(tmp_path, write):
    run = freeze_launch(planned(tmp_path, dtype="float32"))
    draw(run, 0, "float16", write)  # as it was drawn counts
    before = state(tmp_path)
    with pytest.raises(RunMismatch) as caught:
        planned(tmp_path, dtype="bfloat16")
    assert str(caught.value) == (
        f"{run.path}: was made with another configuration: dtype (run: 'float16', launch: "
        "'bfloat16'); launch with --dtype float16, or with a new directory as --run"
    )
    assert caught.value.exit_code == EXIT_USAGE == 2
    assert state(tmp_path) == before
    for same in ("float16", "half"):
        plan = planned(tmp_path, dtype=same)
        assert (plan.config.engine.dtype, said(plan)) == (same, [])
    elsewhere = plan_launch(resolve(FLAGS | {"dtype": "bfloat16"}), tmp_path, tmp_path / "new")
    assert not elsewhere.exists


def test_other_backends_have_no_number_format(tmp_path):
    flags = {"backend": "synthetic", "model": ""}
    run = freeze_launch(planned(tmp_path, **flags))
    draw(run, 0, "float16")
    assert freeze_launch(planned(tmp_path, run, dtype="bfloat16", **flags)).path == run.path
    assert "dtype" not in run.manifest()
