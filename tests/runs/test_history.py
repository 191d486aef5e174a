"""launches.jsonl: what 0.1.0 wrote is read, and a line that a killed writer left costs no other."""

import json
import logging

import pytest

from toolkit.errors import ToolkitError
from toolkit.launch.prepare import freeze_launch, plan_launch, record_launch
from toolkit.resolve import resolve
from toolkit.runs import history
from toolkit.runs.history import (
    Launch,
    append_launch,
    launches,
    record_cancellation,
    record_job,
    recorded_config,
    recorded_launcher,
    submitted_stages,
)

# As 0.1.0 wrote them, but for the length of the configuration.
OLD = (
    '{"time": "2026-11-26T01:03:16+00:00", "launcher": "slurm", "jobs": {"sample": "11", '
    '"evaluate": "12", "fit": "13"}, "round": 0, "samples": 6, "slices_missing": 2, "config": '
    '{"sampling": {"backend": "synthetic", "stop": null}, "evaluation": {"timeout": 5.0}}, '
    '"versions": {"toolkit": "0.1.0", "commit": "27de6f0"}}\n'
    '{"time": "2026-11-26T01:04:00+00:00", "launcher": "cancel", "jobs": {}, "cancelled": '
    '["13", "12"]}\n'
)


@pytest.fixture
def run(tmp_path):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "timeout": 7.0}
    return freeze_launch(plan_launch(resolve(flags), tmp_path))


@pytest.fixture
def file(run):
    history._warn_once.cache_clear()
    return run.path / "launches.jsonl"


def test_the_lines_of_0_1_0_are_read_and_written_as_they_were(run, file):
    file.write_text(OLD)
    launch, cancellation = launches(run)
    assert launch.jobs == {"sample": "11", "evaluate": "12", "fit": "13"}
    assert (launch.launcher, launch.round, launch.samples, launch.slices_missing) == (
        "slurm",
        0,
        6,
        2,
    )
    assert launch.versions["commit"] == "27de6f0"
    assert (cancellation.jobs, cancellation.cancelled) == ({}, ["13", "12"])
    assert cancellation.config is None
    assert submitted_stages(run) == {"11": "sample", "12": "evaluate", "13": "fit"}
    assert recorded_config(run)["evaluation"] == {"timeout": 5.0}
    assert b"".join(each.line() for each in launches(run)).decode() == OLD


def test_a_launch_and_a_cancellation_have_the_fields_of_0_1_0(run, file):
    record_launch(run, plan_launch(resolve({"backend": "synthetic"}), run.path), "local", "0a")
    record_cancellation(run, ["3"])
    launch, cancellation = (json.loads(line) for line in file.read_text().splitlines())
    names = ["time", "launcher", "jobs", "round", "samples", "slices_missing", "config", "versions"]
    assert list(launch) == [*names, "launch", "path"]
    assert launch["path"] == str(run.path.resolve())
    assert list(cancellation) == ["time", "launcher", "jobs", "cancelled"]
    assert {"toolkit", "commit", "python", "polars", "argv"} <= launch["versions"].keys()


def test_a_launch_has_the_jobs_of_its_later_lines(run, file):
    plan = plan_launch(resolve({"backend": "synthetic"}), run.path)
    for launch, job in (("0a", "5"), ("0b", "6")):
        record_launch(run, plan, "slurm", launch)
        record_job(run, launch, "sample", job)
    record_job(run, "0a", "sample-2", "7")
    assert file.read_text().count("\n") == 5
    assert [(each.launch, each.jobs) for each in launches(run)] == [
        ("0a", {"sample": "5", "sample-2": "7"}),
        ("0b", {"sample": "6"}),
    ]
    assert submitted_stages(run) == {"5": "sample", "7": "sample-2", "6": "sample"}


def test_a_job_whose_launch_is_in_a_torn_line_is_kept(run, file):
    file.write_text(OLD + '{"time": "2026')
    record_job(run, "0a", "sample", "5")
    record_job(run, "0a", "fit", "6")
    assert [each.jobs for each in launches(run)][2:] == [{"sample": "5", "fit": "6"}]


def test_a_launch_that_was_withdrawn_says_nothing_of_the_next(run, file):
    plan = plan_launch(resolve({"backend": "synthetic", "array": 3}), run.path)
    assert recorded_launcher(run) is None
    record_launch(run, plan, "local", "0a")
    other = plan_launch(resolve({"backend": "synthetic", "array": 9}), run.path)
    record_launch(run, other, "slurm", "0b")
    record_job(run, "0b", "sample", "5")
    assert recorded_launcher(run) == "slurm"
    assert recorded_config(run)["resources"]["array"] == 9
    record_cancellation(run, ["5"])  # by hand, later: the launch stands
    assert recorded_launcher(run) == "slurm"
    record_cancellation(run, ["5"], withdrawn="0b")
    assert recorded_launcher(run) == "local"
    assert recorded_config(run)["resources"]["array"] == 3
    assert submitted_stages(run) == {"5": "sample"}


@pytest.mark.parametrize("torn", [OLD[:100], '{"time": "2026', "{", "[]\n", "null\n", '"x"\n'])
def test_a_torn_line_is_named_once_and_costs_no_other(run, file, torn, caplog):
    file.write_text(OLD + torn)
    with caplog.at_level(logging.WARNING):
        assert len(launches(run)) == 2
        append_launch(run, Launch("2027", "slurm", {"sample": "14"}))
        assert [each.time for each in launches(run)][2:] == ["2027"]
    (record,) = caplog.records
    assert f"{file}, line 3: not a complete entry" in record.message
    assert file.read_text().count("\n") == 4


def test_what_a_later_version_adds_is_left_out(run, file):
    file.write_text('{"time": "2027", "launcher": "slurm", "jobs": {}, "nodes": 3}\n')
    assert launches(run) == [Launch("2027", "slurm")]


def test_a_run_without_launches_has_the_configuration_of_its_manifest(run, file):
    assert launches(run) == []
    assert recorded_config(run)["evaluation"]["timeout"] == 7.0
    record_cancellation(run, ["3"])
    assert recorded_config(run)["evaluation"]["timeout"] == 7.0


def test_a_file_that_cannot_be_written_is_said(run, file):
    file.mkdir()
    with pytest.raises(
        ToolkitError, match=r"launches\.jsonl: cannot be written: Is a directory; mend that"
    ):
        record_cancellation(run, ["3"])
