"""The questions to Slurm, and a launch's chain of jobs, with programs that answer as Slurm does."""

import re
import time
from pathlib import Path

import pytest

from toolkit.errors import SlurmFailure, ToolkitError, UsageError
from toolkit.launch import queue
from toolkit.launch.chain import next_round, stages_of
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.queue import (
    QueuedJob,
    cancel_jobs,
    choose_launcher,
    cluster_answers,
    jobs_in_queue,
    partitions,
    queued_jobs,
    refuse_second_launch,
    run_slurm,
)
from toolkit.launch.slurm import submit_slurm, wait_slurm
from toolkit.launch.status import read_status
from toolkit.resolve import resolve
from toolkit.runs.history import Launch, append_launch, launches
from toolkit.runs.run import Run
from toolkit.verifiers.judges import judge_of_run


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Writes a program of Slurm's as lines of shell; the only ones on PATH beside the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def program(name, lines):
        path = folder / name
        path.write_text(f"#!/bin/sh\ncd {folder}\n{lines}\n")
        path.chmod(0o755)

    for name in ("sinfo", "sbatch", "squeue", "scancel", "scontrol", "srun"):
        program(name, f"echo '{name}: error: nobody asked for this' >&2; exit 9")
    return program


@pytest.fixture
def config():
    return resolve({"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 2})


@pytest.fixture
def run(config, tmp_path):
    """A run whose path holds what could be taken for the end of a column."""
    found = freeze_launch(plan_launch(config, tmp_path, tmp_path / "my run|1"))
    jobs = {"sample": "11", "sample-2": "12", "evaluate": "13", "fit": "14"}
    append_launch(found, Launch("2026", "slurm", jobs))
    return found


def shows(*rows):
    """squeue's answer in shell."""
    return "cat <<'END'\n" + "".join(f"{row}|\n" for row in rows) + "END"


def test_a_failing_command_is_one_error_that_says_what_to_do(slurm, tmp_path, monkeypatch):
    slurm("sinfo", "echo 'sinfo: error: one' >&2; echo 'sinfo: error: no controller' >&2; exit 1")
    with pytest.raises(SlurmFailure, match="`sinfo` failed: sinfo: error: no controller; ") as told:
        run_slurm("sinfo")
    assert told.value.said == "sinfo: error: one\nsinfo: error: no controller"
    slurm("sinfo", "exec sleep 30")
    started = time.monotonic()
    with pytest.raises(SlurmFailure, match="`sinfo` gave no answer in 1 s: "):
        run_slurm("sinfo", seconds=1.0)
    assert time.monotonic() - started < 10
    slurm("sinfo", "exit 3")
    with pytest.raises(SlurmFailure, match="`sinfo` failed: exit code 3; "):
        run_slurm("sinfo")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmFailure, match="`sinfo` cannot be run: No such file or directory; log"):
        run_slurm("sinfo")


def test_programs_without_a_cluster_are_no_cluster(slurm, monkeypatch):
    assert not cluster_answers()
    assert choose_launcher("auto") == "local"
    with pytest.raises(UsageError, match="--launcher slurm: no cluster answers"):
        choose_launcher("slurm")
    slurm("sinfo", "exec sleep 30")
    monkeypatch.setattr(queue, "PROBE_SECONDS", 0.2)
    assert not cluster_answers()
    slurm("sinfo", "echo fine")
    assert choose_launcher("auto") == choose_launcher("slurm") == "slurm"
    assert choose_launcher("inline") == "inline"


def test_only_jobs_whose_script_lies_in_the_run_count(slurm, run):
    mine, other = f"{run.slurm_dir}/.submission_file_0x.sh", f"{run.path}-2/slurm/s.sh"
    slurm(
        "squeue",
        shows(
            f"11_0|RUNNING|node1|None|2|{mine}",
            f"11_3|PENDING||Resources|0|{mine}",
            f"12|RUNNING|node2|None|0|{other}",
            f"13|PENDING||Dependency||{mine} argument",
            "14|RUNNING|node3|None|0|(null)",
            f"99|RUNNING|node3|None|0|{mine}",
        ),
    )
    assert queued_jobs(run) == [
        QueuedJob("11_0", "sample", "RUNNING", "node1", "None", 2),
        QueuedJob("11_3", "sample", "PENDING", "", "Resources", 0),
        QueuedJob("13", "evaluate", "PENDING", "", "Dependency", 0),
    ]
    assert jobs_in_queue(run) == {"11": "sample", "13": "evaluate"}
    with pytest.raises(
        UsageError, match="in the queue already: sample 11, evaluate 13; wait"
    ) as told:
        refuse_second_launch(run)
    assert str(told.value).endswith(f"`python jobs/cancel.py '{run.path}'`")


def test_a_run_is_known_by_every_path_to_it(slurm, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").symlink_to(run.path)
    slurm("squeue", shows(f"13|RUNNING|n|None|0|{tmp_path}/linked/slurm/s.sh"))
    for path in (run.path, Path("linked"), Path(run.path.name)):
        assert jobs_in_queue(Run(path)) == {"13": "evaluate"}


def test_squeue_is_asked_for_the_recorded_jobs_and_only_if_there_are_any(slurm, run, tmp_path):
    slurm("squeue", 'echo "$@" > asked')
    assert queued_jobs(run) == []
    asked = (tmp_path / "bin" / "asked").read_text()
    assert "--jobs=11,12,13,14 " in asked
    (run.path / "launches.jsonl").unlink()
    (tmp_path / "bin" / "asked").unlink()
    refuse_second_launch(run)
    assert not (tmp_path / "bin" / "asked").exists()


def test_a_job_that_the_controller_forgot_is_gone(slurm, run):
    said = "slurm_load_jobs error: Invalid job id specified"
    slurm("squeue", f"echo '{said}' >&2; exit 1")
    assert queued_jobs(run) == []
    slurm("squeue", "echo 'slurm_load_jobs error: Unable to contact controller' >&2; exit 1")
    with pytest.raises(SlurmFailure, match="Unable to contact controller"):
        jobs_in_queue(run)


def test_status_goes_on_without_an_answer_and_says_so(slurm, run):
    slurm("squeue", "echo 'squeue: error: Unable to contact controller' >&2; exit 1")
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue   not known: `squeue` failed: squeue: error: Unable to contact" in said
    assert "launch again" not in said
    slurm("squeue", shows(f"11_0|RUNNING|node1|None|2|{run.slurm_dir}/s.sh"))
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue   11_0 sample RUNNING node1, 2 restarts" in said
    assert "launch again" not in said
    slurm("squeue", "")
    said = read_status(run, judge_of_run(run)).text()
    assert "in queue" not in said
    assert "slices: launch again to sample them" in said


def test_cancel_ends_the_last_stage_first_and_records_what_it_ended(slurm, run, tmp_path):
    script = f"{run.slurm_dir}/s.sh"
    slurm("squeue", shows(*(f"{job}|RUNNING|n|None|0|{script}" for job in ("11_0", "11_1", "13"))))
    with pytest.raises(SlurmFailure, match="`scancel` failed"):
        cancel_jobs(run)
    assert len(launches(run)) == 1
    slurm("scancel", 'echo "$@" > ended')
    assert cancel_jobs(run) == {"11": "sample", "13": "evaluate"}
    assert (tmp_path / "bin" / "ended").read_text() == "13 11\n"
    assert launches(run)[-1].cancelled == ["13", "11"]


# Numbers the jobs from 21 on and keeps each script; the third one is refused where `refuse` is.
SBATCH = """
test -e refuse && test -e 22.sh && { echo 'sbatch: error: invalid account' >&2; exit 1; }
job=$((21 + $(ls [0-9]*.sh 2>/dev/null | wc -l)))
cp "$1" $job.sh
echo Submitted batch job $job
"""


def scripts(folder):
    """Job id -> the sbatch lines of its script."""
    found = {p.stem: p.read_text() for p in sorted((folder / "bin").glob("[0-9]*.sh"))}
    return {job: re.findall(r"^#SBATCH --(.*)$", text, re.MULTILINE) for job, text in found.items()}


def submit(slurm, tmp_path, array=1, **flags):
    flags = {"backend": "synthetic", "limit": 2, "slice_samples": 2, "array": array} | flags
    slurm("sbatch", SBATCH)
    slurm("scontrol", "echo 'MaxArraySize            = 4'")
    plan = plan_launch(resolve(flags), tmp_path, tmp_path / "run")
    run = freeze_launch(plan)
    return run, submit_slurm(plan, run)


def test_stages_are_chained_and_recorded(slurm, tmp_path):
    run, submitted = submit(slurm, tmp_path, array=6, samples=20, eval_array=2, max_parallel=4)
    jobs = {"sample": "21", "sample-2": "22", "evaluate": "23", "fit": "24"}
    assert submitted.jobs == launches(run)[-1].jobs == jobs
    found = scripts(tmp_path)
    names = [line for lines in found.values() for line in lines if line.startswith("job-name")]
    assert names == [f"job-name={name}" for name in ("sample", "sample", "evaluate", "fit")]
    waits = [line for lines in found.values() for line in lines if line.startswith("dependency")]
    assert waits == ["dependency=afterany:21:22", "dependency=afterany:23"]
    assert "array=0-2%2" in found["21"]
    assert "array=0-1%2" in found["23"]


def test_nothing_to_sample_starts_with_evaluation(slurm, tmp_path):
    plan = plan_launch(
        resolve({"backend": "synthetic", "limit": 2, "samples": 2}), tmp_path, tmp_path / "run"
    )
    run = freeze_launch(plan)
    for slice_ in run.slices():
        run.shard_path(slice_.name).touch()
    run, submitted = submit(slurm, tmp_path, samples=2)
    assert submitted.jobs == {"evaluate": "21", "fit": "22"}
    assert not [line for line in scripts(tmp_path)["21"] if line.startswith("dependency")]


def test_an_adaptive_round_ends_with_the_job_that_plans_the_next(slurm, tmp_path):
    _, submitted = submit(slurm, tmp_path, adaptive=True, stop_min=4, stop_cap=8)
    assert submitted.jobs == {"sample": "21", "evaluate": "22", "next": "23"}
    assert "dependency=afterany:22" in scripts(tmp_path)["23"]


def test_a_refused_job_takes_those_before_it_along(slurm, tmp_path):
    (tmp_path / "bin" / "refuse").touch()
    slurm("scancel", 'echo "$@" > ended')
    with pytest.raises(ToolkitError, match=r"sbatch refused the job: .*invalid account"):
        submit(slurm, tmp_path, samples=4)
    assert (tmp_path / "bin" / "ended").read_text() == "21 22\n"
    assert not (tmp_path / "run" / "launches.jsonl").exists()


def test_a_job_that_stays_is_named_where_it_cannot_be_cancelled(slurm, tmp_path, caplog):
    (tmp_path / "bin" / "refuse").touch()
    with pytest.raises(ToolkitError, match="sbatch refused the job"):
        submit(slurm, tmp_path, samples=4)
    assert "still in the queue: `scancel 21 22`" in caplog.text


def test_waiting_outlasts_a_silent_cluster_and_follows_the_next_round(slurm, tmp_path, caplog):
    run, submitted = submit(slurm, tmp_path, adaptive=True, stop_min=4, stop_cap=8)
    append_launch(run, Launch("2026", "slurm", {"sample": "20"}))  # before this launch
    shown = []

    def goes_on():
        shown.append(len(shown))
        row = "{}|RUNNING|n|None|0|" + f"{run.slurm_dir}/s.sh"
        match shown[-1]:
            case 0:
                slurm("squeue", "echo 'squeue: error: Unable to contact' >&2; exit 1")
            case 1:
                slurm("squeue", shows(row.format("23"), row.format("20")))
            case 2:  # the job that plans the next round submits it, and ends
                append_launch(run, Launch("2026", "slurm", {"sample": "24"}))
                slurm("squeue", shows(row.format("24"), row.format("20")))
            case 3:
                slurm("squeue", shows(row.format("20")))

    slurm("squeue", shows(f"21|RUNNING|n|None|0|{run.slurm_dir}/s.sh"))
    wait_slurm(submitted, goes_on, seconds=0.01)
    assert len(shown) == 5
    assert caplog.text.count("Unable to contact") == 1


def test_the_order_of_the_stages(config, run, tmp_path):
    plan = plan_launch(config, tmp_path, run.path)
    stages = stages_of(plan, run, evaluations=3)
    assert [stage.name for stage in stages] == ["sample", "evaluate", "fit"]
    sample, evaluate, fit = (stage.arguments for stage in stages)
    assert sample == [(run.path, [s.name for s in plan.missing], plan.config)]
    assert evaluate == [(run.path, part, 3, plan.config) for part in range(3)]
    assert fit == [(run.path, plan.config)]
    assert next_round(run, config) is None


def test_partitions_are_read(slurm):
    one, two = "PartitionName=cpu Default=YES State=UP", "PartitionName=gpu Default=NO State=DOWN"
    slurm("scontrol", f"echo '{one}'; echo '{two}'")
    assert {name: facts["State"] for name, facts in partitions().items()} == {
        "cpu": "UP",
        "gpu": "DOWN",
    }
