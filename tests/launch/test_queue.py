"""The questions to Slurm, with programs that answer as Slurm does."""

import re
import shlex
import shutil
import time

import pytest
from busy import patience
from fake_slurm import shows

from toolkit.errors import SlurmFailure, UsageError
from toolkit.launch import queue
from toolkit.launch.alongside import ArrayInQueue
from toolkit.launch.prepare import freeze_launch, plan_launch, record_launch
from toolkit.launch.queue import (
    QueuedJob,
    cancel_jobs,
    choose_launcher,
    choose_launcher_of,
    cluster_answers,
    jobs_in_queue,
    partitions,
    plain_name,
    queued_jobs,
    refuse_second_launch,
    run_slurm,
)
from toolkit.launch.status import read_status
from toolkit.resolve import resolve
from toolkit.runs.history import (
    Launch,
    launches,
    record_cancellation,
    record_job,
)
from toolkit.runs.run import Run, identity_digest
from toolkit.verifiers.judges import judge_of_run


@pytest.fixture
def config():
    return resolve({"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 2})


@pytest.fixture
def run(config, tmp_path):
    """A run of two launches, whose path holds what could be taken for the end of a column."""
    plan = plan_launch(config, tmp_path, tmp_path / "mein Lauf, 'ä'|1")
    found = freeze_launch(plan)
    for launch in ("0000000a", "0000000b"):
        record_launch(found, plan, "slurm", launch)
    for stage, job in (("sample", "11"), ("sample-2", "12"), ("evaluate", "13"), ("fit", "14")):
        record_job(found, "0000000b", stage, job)
    return found


def named(run, stage, launch="0000000b"):
    """A job's name, spelled out."""
    identity = identity_digest(run.manifest()["identity"])
    return f"{stage}-synthetic-humaneval-{identity[:8]}-{launch}"


def test_a_failing_command_is_one_error_that_says_what_to_do(slurm, tmp_path, monkeypatch):
    slurm("sinfo", "echo 'sinfo: error: one' >&2; echo 'sinfo: error: no controller' >&2; exit 1")
    with pytest.raises(SlurmFailure, match="`sinfo` failed: sinfo: error: no controller; ") as told:
        run_slurm("sinfo")
    assert told.value.said == "sinfo: error: one\nsinfo: error: no controller"
    slurm("sinfo", "exec sleep 30")
    started = time.monotonic()
    with pytest.raises(SlurmFailure, match="`sinfo` gave no answer in 1 s: "):
        run_slurm("sinfo", seconds=1.0)
    assert time.monotonic() - started < patience(10)
    slurm("sinfo", "exit 3")
    with pytest.raises(SlurmFailure, match="`sinfo` failed: exit code 3; "):
        run_slurm("sinfo")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmFailure, match="`sinfo` cannot be run: No such file or directory; log"):
        run_slurm("sinfo")


UNKNOWN = "sinfo: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host"
NO_SOURCE = "sinfo: fatal: Could not establish a configuration source"


def test_auto_is_local_only_where_there_is_no_cluster(slurm, tmp_path, monkeypatch):
    slurm("sinfo", "echo fine")
    assert choose_launcher("auto") == choose_launcher("slurm") == "slurm"
    assert choose_launcher("inline") == "inline"
    # Installed, but of no cluster: no slurm.conf, and nobody who would hand one out.
    slurm("sinfo", f"echo '{UNKNOWN}\n{NO_SOURCE}' >&2; exit 1")
    assert choose_launcher("auto") == "local"
    with pytest.raises(UsageError, match="--launcher slurm: Slurm is not set up on this machine"):
        choose_launcher("slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_launcher("auto") == "local"
    assert not cluster_answers()


@pytest.mark.parametrize(
    "lines",
    [
        "exec sleep 30",
        "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1",
        f"echo 'sinfo: error: res_nsearch error: Host name lookup failure\n{NO_SOURCE}' >&2; exit 1",
    ],
)
def test_a_cluster_that_is_slow_or_down_is_refused(slurm, run, monkeypatch, lines):
    monkeypatch.setattr(queue, "PROBE_SECONDS", 0.5)
    slurm("sinfo", lines)
    for choose, whose in (
        (lambda: choose_launcher("auto"), "--launcher auto: `sinfo` "),
        (lambda: choose_launcher("slurm"), "--launcher slurm: `sinfo` "),
        (lambda: choose_launcher_of(run, "auto"), f"{run.path}: was launched on Slurm: `sinfo` "),
    ):
        with pytest.raises(UsageError) as told:
            choose()
        assert str(told.value).startswith(whose)
        assert "use --launcher local to work on this machine" in str(told.value)
    assert choose_launcher("local") == "local"


def test_the_launcher_of_a_run_is_that_of_its_last_launch(slurm, run, monkeypatch, tmp_path):
    plan = plan_launch(resolve({"backend": "synthetic"}), run.path)
    slurm("sinfo", "echo fine")
    assert choose_launcher_of(run, "local") == "slurm"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="was launched on Slurm: Slurm is not set up on this"):
        choose_launcher_of(run, "auto")
    record_launch(run, plan, "inline", "0000000c")
    assert choose_launcher_of(run, "slurm") == "inline"
    record_cancellation(run, [], withdrawn="0000000c")
    (run.path / "launches.jsonl").write_text("")
    assert choose_launcher_of(run, "local") == "local"


def test_jobs_are_known_by_their_names(slurm, run, tmp_path):
    slurm(
        "squeue",
        'echo "$@" > asked\n'
        + shows(
            f"11_0|RUNNING|node1|None|2|{named(run, 'sample')}",
            f"11_3|PENDING||Resources|0|{named(run, 'sample')}",
            f"13|PENDING||Dependency||{named(run, 'evaluate')}",
            # Of the launch that was killed before it recorded a job.
            f"9|RUNNING|node3|None|0|{named(run, 'sample', '0000000a')}",
        ),
    )
    assert queued_jobs(run) == [
        QueuedJob("11_0", "sample", "RUNNING", "node1", "None", 2),
        QueuedJob("11_3", "sample", "PENDING", "", "Resources", 0),
        QueuedJob("13", "evaluate", "PENDING", "", "Dependency", 0),
        QueuedJob("9", "sample", "RUNNING", "node3", "None", 0),
    ]
    (which,) = re.findall("--name=([^ ]*)", (tmp_path / "bin" / "asked").read_text())
    stages = ("sample", "alongside", "evaluate", "fit", "next")
    wanted = [named(run, s, launch) for launch in ("0000000a", "0000000b") for s in stages]
    assert which.split(",") == wanted
    assert all(re.fullmatch("[A-Za-z0-9._-]+", name) for name in wanted)
    assert jobs_in_queue(run) == {"11": "sample", "13": "evaluate", "9": "sample"}
    with pytest.raises(
        UsageError, match="in the queue already: sample 11, evaluate 13, sample 9; wait"
    ) as told:
        refuse_second_launch(run)
    command = str(told.value).partition("`python jobs/cancel.py ")[2].removesuffix("`")
    assert shlex.split(command) == [str(run.path)]


def test_the_second_array_of_a_stage_is_named_as_it_was_recorded(slurm, run):
    slurm("squeue", shows(f"12|RUNNING|n|None|0|{named(run, 'sample')}"))
    assert jobs_in_queue(run) == {"12": "sample-2"}


def test_a_name_is_plain_and_of_bounded_length(run, tmp_path):
    config = resolve({"backend": "synthetic", "limit": 1, "problems": "humaneval"})
    found = freeze_launch(plan_launch(config, tmp_path, tmp_path / "x"))
    found.update_manifest({"problems_source": "/data/ä b,c|'" + 200 * "x" + ".jsonl"})
    digest = identity_digest(found.manifest()["identity"])
    assert plain_name(found) == f"synthetic-b-c-{66 * 'x'}-{digest[:8]}"


def test_what_a_user_set_for_squeue_hides_nothing(slurm, run, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    row = f"12|PENDING||None|0|{named(run, 'sample')}"
    slurm("squeue", 'test -z "$SQUEUE_STATES" || exit 0\n' + shows(row))
    assert jobs_in_queue(run) == {"12": "sample-2"}


def test_a_copy_does_not_claim_the_jobs_of_its_original(slurm, run, tmp_path):
    slurm("squeue", shows(f"13|RUNNING|n|None|0|{named(run, 'evaluate')}"))
    (tmp_path / "linked").symlink_to(run.path)
    for path in (run.path, tmp_path / "linked"):
        assert [job.path for job in queued_jobs(Run(path))] == [""]
    copy = Run(tmp_path / "copy")
    shutil.copytree(run.path, copy.path)
    slurm("squeue", "exit 1")  # not even asked
    assert queued_jobs(copy) == []


def test_a_moved_run_keeps_its_jobs_and_says_that_they_will_not_find_it(slurm, run, tmp_path):
    slurm("squeue", shows(f"13|RUNNING|n|None|0|{named(run, 'evaluate')}"))
    moved = Run(run.path.rename(tmp_path / "moved"))
    assert [job.path for job in queued_jobs(moved)] == [str(run.path)]
    with pytest.raises(UsageError, match=r"moved: in the queue already, .* they will not find it"):
        refuse_second_launch(moved)
    said = read_status(moved, judge_of_run(moved)).text()
    assert (
        f"in queue   13 evaluate RUNNING n, looks for the run where it was before, {run.path}"
        in said
    )
    (run.path / "samples").mkdir(parents=True)  # another run where this one was
    assert [job.path for job in queued_jobs(moved)] == [str(run.path)]


def test_jobs_of_earlier_versions_are_known_by_their_numbers(slurm, run, tmp_path):
    file = run.path / "launches.jsonl"
    file.write_bytes(Launch("2026", "slurm", {"sample": "11", "sample-2": "12"}).line())
    rows = ("11_0|RUNNING|n|None|0|sample", "12|RUNNING|n|None|0|other", "99|RUNNING|n|None|0|fit")
    slurm("squeue", 'echo "$@" > asked\n' + shows(*rows))
    assert jobs_in_queue(run) == {"11": "sample"}
    assert "--jobs=11,12 " in (tmp_path / "bin" / "asked").read_text()
    said = "slurm_load_jobs error: Invalid job id specified"
    slurm("squeue", f"echo '{said}' >&2; exit 1")
    assert queued_jobs(run) == []
    slurm("squeue", "echo 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1")
    with pytest.raises(SlurmFailure, match="Unable to contact controller"):
        jobs_in_queue(run)
    file.unlink()
    refuse_second_launch(run)


def test_status_goes_on_without_an_answer_and_says_so(slurm, run):
    slurm("squeue", "echo 'squeue: error: Unable to contact controller' >&2; exit 1")
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue   not known: `squeue` failed: squeue: error: Unable to contact" in said
    assert "launch again" not in said
    slurm("squeue", shows(f"11_0|RUNNING|node1|None|2|{named(run, 'sample')}"))
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue   11_0 sample RUNNING node1, 2 restarts" in said
    assert "launch again" not in said
    slurm("squeue", "")
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue" not in said
    assert "launch again to sample what is missing" in said


def test_cancel_ends_the_last_stage_first_and_records_what_it_ended(slurm, run, tmp_path):
    rows = (("11_0", "sample"), ("11_1", "sample"), ("13", "evaluate"))
    slurm("squeue", shows(*(f"{job}|RUNNING|n|None|0|{named(run, s)}" for job, s in rows)))
    with pytest.raises(SlurmFailure, match="`scancel` failed"):
        cancel_jobs(run)
    assert len(launches(run)) == 2
    slurm("scancel", 'echo "$@" > ended')
    assert cancel_jobs(run) == {"11": "sample", "13": "evaluate"}
    assert (tmp_path / "bin" / "ended").read_text() == "13 11\n"
    assert launches(run)[-1].cancelled == ["13", "11"]


def test_partitions_are_read(slurm):
    one, two = "PartitionName=cpu Default=YES State=UP", "PartitionName=gpu Default=NO State=DOWN"
    slurm("scontrol", f"echo '{one}'; echo '{two}'")
    assert {name: facts["State"] for name, facts in partitions().items()} == {
        "cpu": "UP",
        "gpu": "DOWN",
    }


def test_what_is_beside_an_array_asks_for_it_seldom(slurm, run, tmp_path):
    asked, now = tmp_path / "bin" / "asked", [0.0]
    beside = ArrayInQueue(run, "0000000b", lambda: now[0])
    sampling = f"11_0|PENDING||Resources|3|{named(run, 'sample')}"
    judging = f"12|RUNNING|node1|None|0|{named(run, 'alongside')}"
    slurm("squeue", "echo once >> asked\n" + shows(sampling, judging))
    for now[0] in range(900):
        assert not beside.over()
    assert len(asked.read_text().splitlines()) <= 60  # every 15 s, later more seldom
    slurm("squeue", "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1")
    now[0] += 60
    assert not beside.over()
    slurm("squeue", shows(judging))
    now[0] += 60
    assert beside.over()
