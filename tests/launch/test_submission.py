"""A launch's chain of jobs: how it is submitted, recorded, interrupted and refused."""

import json
import os
import re
import signal

import pytest
from fake_slurm import shows

from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch import submission
from toolkit.launch.chain import next_round, stages_of
from toolkit.launch.parameters import slurm_parameters
from toolkit.launch.prepare import freeze_launch, plan_launch, record_launch
from toolkit.launch.queue import job_name, plain_name
from toolkit.launch.sbatch_options import job_options
from toolkit.launch.slurm import _goes_on_already, submit_slurm, wait_slurm
from toolkit.resolve import resolve
from toolkit.runs.history import launches, record_job, recorded_launcher
from toolkit.runs.run import Run

# Numbers the jobs from 21 on and keeps each script; the third one is refused where `refuse` is.
SBATCH = """
test -e refuse && test -e 22.sh && { echo 'sbatch: error: invalid account' >&2; exit 1; }
job=$((21 + $(ls [0-9]*.sh 2>/dev/null | wc -l)))
for script; do :; done
cp "$script" $job.sh
echo "$2" | sed s/--job-name=// >> names
echo $job
"""


def scripts(folder):
    """Job id -> the sbatch lines of its script."""
    found = {p.stem: p.read_text() for p in sorted((folder / "bin").glob("[0-9]*.sh"))}
    return {job: re.findall(r"^#SBATCH --(.*)$", text, re.MULTILINE) for job, text in found.items()}


def submit(slurm, tmp_path, array=1, sbatch=SBATCH, **flags):
    flags = {"backend": "synthetic", "limit": 2, "slice_samples": 2, "array": array} | flags
    slurm("sbatch", sbatch)
    slurm("scontrol", "echo 'MaxArraySize            = 4'")
    plan = plan_launch(resolve(flags), tmp_path, tmp_path / "run")
    run = freeze_launch(plan)
    return run, submit_slurm(plan, run, "0000000a")


def test_stages_are_chained_and_recorded(slurm, tmp_path):
    run, submitted = submit(slurm, tmp_path, array=6, samples=20, eval_array=2, max_parallel=4)
    jobs = {"sample": "21", "sample-2": "22", "evaluate": "23", "fit": "24"}
    assert submitted.jobs == launches(run)[-1].jobs == jobs
    found = scripts(tmp_path)
    stages = ("sample", "sample", "evaluate", "fit")
    names = [job_name(stage, plain_name(run), "0000000a") for stage in stages]
    assert (tmp_path / "bin" / "names").read_text().split() == names
    scripted = [[x for x in lines if x.startswith("job-name")] for lines in found.values()]
    assert scripted == [[f"job-name={name}"] for name in names]
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


def test_a_launch_is_recorded_before_its_first_job_and_each_job_before_the_next(slurm, tmp_path):
    keep = f'cp "{tmp_path}/run/launches.jsonl" seen$(ls [0-9]*.sh 2>/dev/null | wc -l)'
    run, _ = submit(slurm, tmp_path, sbatch=keep + SBATCH)
    seen = [(tmp_path / "bin" / f"seen{i}").read_text().splitlines() for i in range(3)]
    assert [len(lines) for lines in seen] == [1, 2, 3]
    first = json.loads(seen[2][0])
    assert (first["launch"], first["jobs"], first["path"]) == ("0000000a", {}, str(run.path))
    assert first["config"]["resources"]["array"] == 1
    assert [json.loads(line)["jobs"] for line in seen[2][1:]] == [
        {"sample": "21"},
        {"evaluate": "22"},
    ]


def test_array_tasks_find_their_pickles(slurm, tmp_path):
    run, _ = submit(slurm, tmp_path, array=2, samples=4)
    names = {p.name for p in run.slurm_dir.iterdir()}
    pickles = {f"{job}_submitted.pkl" for job in ("21_0", "21_1", "22", "23")}
    assert names == pickles | {f"{job}_submission.sh" for job in (21, 22, 23)}


def test_no_more_array_tasks_at_once_than_asked(slurm, tmp_path):
    """Three arrays and two at the same time: the third waits for the first."""
    _, submitted = submit(slurm, tmp_path, array=9, samples=20, max_parallel=2)
    assert list(submitted.jobs) == ["sample", "sample-2", "sample-3", "evaluate", "fit"]
    found = scripts(tmp_path)
    assert ["array=0-2%1" in found[job] for job in ("21", "22", "23")] == [True] * 3
    waits = [[x for x in lines if x.startswith("dependency")] for lines in found.values()]
    assert waits == [
        [],
        [],
        ["dependency=afterany:21"],
        ["dependency=afterany:21:22:23"],
        ["dependency=afterany:24"],
    ]


def test_a_refused_job_takes_those_before_it_along(slurm, tmp_path):
    (tmp_path / "bin" / "refuse").touch()
    slurm("scancel", 'echo "$@" > ended')
    slurm("squeue", "")
    with pytest.raises(
        ToolkitError, match="sbatch refused the stage fit: invalid account; nothing is submitted: "
    ):
        submit(slurm, tmp_path, samples=4)
    assert (tmp_path / "bin" / "ended").read_text() == "21 22\n"
    *_, last = launches(Run(tmp_path / "run"))
    assert (last.launch, last.cancelled) == ("0000000a", ["21", "22"])
    assert not [p for p in (tmp_path / "run" / "slurm").iterdir() if p.name.startswith(".")]


def test_a_job_that_stays_is_named_where_it_cannot_be_cancelled(slurm, tmp_path, caplog):
    (tmp_path / "bin" / "refuse").touch()
    slurm("squeue", "")
    with pytest.raises(ToolkitError, match="sbatch refused the stage fit"):
        submit(slurm, tmp_path, samples=4)
    assert "still in the queue: `scancel 21 22`" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_withdraws_what_was_submitted(slurm, tmp_path, number):
    """It comes in the middle of the second sbatch, which Slurm has accepted by then."""
    strike = f"test -e 21.sh && kill -{int(number)} {os.getpid()} && sleep 0.3"
    name = "evaluate-synthetic-humaneval-{}-0000000a"
    slurm("scancel", 'echo "$@" > ended')
    slurm("squeue", shows("22|PENDING||None|0|" + name, "21|RUNNING|n|None|0|sample"))
    before = signal.getsignal(number)
    with pytest.raises(
        ToolkitError,
        match=f"interrupted by {number.name}: cancelled sample 21, evaluate 22; launch again to go",
    ):
        submit(slurm, tmp_path, sbatch=strike + SBATCH)
    assert signal.getsignal(number) == before
    assert (tmp_path / "bin" / "ended").read_text() == "21 22\n"
    assert not (tmp_path / "bin" / "23.sh").exists()
    assert recorded_launcher(Run(tmp_path / "run")) is None


def test_an_sbatch_that_hangs_is_given_up_and_its_job_cancelled(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("toolkit.launch.slurm.LATE_SECONDS", 0.0)
    slurm("scancel", 'echo "$@" > ended')
    slurm("squeue", shows("31|PENDING||None|0|sample"))
    with pytest.raises(SlurmFailure, match="`sbatch` gave no answer in 1 s: the cluster's"):
        submit(slurm, tmp_path, sbatch="exec sleep 60")
    assert (tmp_path / "bin" / "ended").read_text() == "31\n"


def test_waiting_outlasts_a_silent_cluster_and_follows_the_next_round(slurm, tmp_path, caplog):
    run, submitted = submit(slurm, tmp_path, adaptive=True, stop_min=4, stop_cap=8)
    shown = []

    def row(job, launch):
        return f"{job}|RUNNING|n|None|0|{job_name('sample', plain_name(run), launch)}"

    def goes_on():
        shown.append(len(shown))
        match shown[-1]:
            case 0:
                slurm("squeue", "echo 'squeue: error: Unable to contact' >&2; exit 1")
            case 1:
                slurm("squeue", shows(row("23", "0000000a"), row("20", "0000000a")))
            case 2:  # the job that plans the next round submits it, and ends
                record_launch(
                    run,
                    plan_launch(resolve({"backend": "synthetic"}), run.path),
                    "slurm",
                    "0000000b",
                )
                record_job(run, "0000000b", "sample", "24")
                slurm("squeue", shows(row("24", "0000000b"), row("20", "0000000a")))
            case 3:
                slurm("squeue", shows(row("20", "0000000a")))

    slurm("squeue", shows(row("21", "0000000a")))
    wait_slurm(submitted, goes_on, seconds=0.01)
    assert len(shown) == 5
    assert caplog.text.count("Unable to contact") == 1


def adaptive(slurm, tmp_path):
    """A run in its first round, whose three jobs are 21, 22 and 23; of the launch 0000000a."""
    rule = {"adaptive": True, "stop_min": 4, "stop_cap": 8}
    run, _ = submit(slurm, tmp_path, **rule)
    return run, resolve({"backend": "synthetic", "limit": 2} | rule)


def test_a_round_that_was_frozen_but_never_submitted_is_the_next(slurm, tmp_path):
    run, config = adaptive(slurm, tmp_path)
    assert next_round(run, config) is None
    assert next_round(run, config, rounds=1) is None
    plan = next_round(run, config, rounds=0)
    assert not plan.new
    assert [s.name for s in plan.missing] == [s.name for s in run.slices()]


@pytest.mark.parametrize(
    ("left", "goes_on", "cancelled"),
    [
        ({}, False, None),
        ({"24": "sample"}, False, ["24"]),
        ({"24": "sample", "25": "evaluate", "26": "next"}, True, None),
    ],
)
def test_a_job_that_was_restarted_while_it_submitted(slurm, tmp_path, left, goes_on, cancelled):
    run, config = adaptive(slurm, tmp_path)
    record_launch(run, plan_launch(config, tmp_path, run.path), "slurm", "0000000b")
    name = plain_name(run)
    rows = [f"23|RUNNING|n|None|1|{job_name('next', name, '0000000a')}"]
    others = [f"{n}|PENDING||None|0|{job_name(s, name, '0000000b')}" for n, s in left.items()]
    only_mine = f'case "$*" in *-0000000b*) ;; *) {shows(*rows)}\nexit;; esac\n'
    slurm("squeue", only_mine + shows(*rows, *others))
    slurm("scancel", "")
    assert _goes_on_already(run, "0000000a") is goes_on
    assert launches(run)[-1].cancelled == cancelled


def test_the_order_of_the_stages(tmp_path):
    config = resolve({"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 2})
    plan = plan_launch(config, tmp_path)
    run = freeze_launch(plan)
    stages = stages_of(plan, run, evaluations=3)
    assert [stage.name for stage in stages] == ["sample", "evaluate", "fit"]
    sample, evaluate, fit = (stage.arguments for stage in stages)
    assert sample == [(run.path, [s.name for s in plan.missing], plan.config)]
    assert evaluate == [(run.path, part, 3, plan.config) for part in range(3)]
    assert fit == [(run.path, plan.config)]
    assert next_round(run, config) is None


def test_evaluation_alongside_waits_for_the_start_of_the_array(tmp_path):
    flags = {"backend": "synthetic", "limit": 2, "samples": 4, "slice_samples": 2}
    config = resolve(flags | {"evaluate_alongside": True, "array": 2, "eval_array": 2})
    plan = plan_launch(config, tmp_path)
    run = freeze_launch(plan)
    sample, evaluate, _ = stages_of(plan, run, evaluations=2, launch="0000000a")
    assert sample.beside.arguments == [(run.path, i, 2, plan.config, "0000000a") for i in (0, 1)]
    assert evaluate.beside is None
    for stage, asked in (("alongside", "after:12_0"), ("evaluate", "afterany:12_0")):
        assert slurm_parameters(config, stage, 2, "12_0", 1)["dependency"] == asked
    assert job_options(config, "alongside") == job_options(config, "evaluate")
