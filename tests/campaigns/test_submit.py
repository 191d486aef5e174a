"""A study's jobs, with programs in place of Slurm's: who waits for whom, and what is cancelled."""

import json
import re
import sys

import pytest

from toolkit.campaigns.record import RECORD, launched_runs, read_record
from toolkit.campaigns.study import read_study
from toolkit.campaigns.submit import gate_task
from toolkit.commands.campaign import main
from toolkit.errors import ToolkitError, UsageError
from toolkit.runs.history import launches, standing_launches

PROGRAMS = {
    "sinfo": "echo gpu",
    "scontrol": "echo 'MaxArraySize = 1001'",
    # Keeps the script of each job under its id, and the names of those in the queue.
    "sbatch": """
id=$(($(cat last 2>/dev/null || echo 100) + 1)); name=${2#--job-name=}
if [ -e refuse ] && case $name in *$(cat refuse)*) true;; *) false;; esac
then echo "sbatch: error: invalid partition" >&2; exit 1; fi
echo $id >last; cp "$3" $id.sh; echo "$id|$name" >>queue; echo $id""",
    "squeue": """
echo asked >>calls
for a; do case $a in --name=*) echo "${a#--name=}" | tr , '\\n' >asked;; esac; done
touch queue
awk -F'|' 'NR==FNR {ok[$1]; next} $2 in ok {print $1 "|PENDING|||0|" $2 "|"}' asked queue""",
    "scancel": """
echo "$@" >>cancelled; for id; do sed -i "/^$id|/d" queue; done""",
    "sacct": "echo accounts >>calls; cat spent 2>/dev/null || true",
}
STUDY = """
[study]
max_parallel = {bound}

[all]
preset = "smoke"
launcher = "slurm"
limit = 2
samples = 16
slice_samples = 4

[cross]
base_seed = [1, 2, 3, 4]
array = [2]
"""


@pytest.fixture
def campaign(tmp_path, monkeypatch, capsys):
    """Calls the command in a folder with a study, beside programs that answer as Slurm does."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, lines in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\ncd {programs}\n{lines}\n")
        (programs / name).chmod(0o755)
    (programs / "srun").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def call(text, *flags):
        (tmp_path / "study.toml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["campaign.py", "study.toml", *flags])
        capsys.readouterr()
        code = main()
        return code, capsys.readouterr().out

    return call


def submitted(said):
    """Run -> the ids of its jobs: sample, evaluate, fit."""
    lines = re.findall(r"submitted  (\S+): (.+)", said)
    return {name: re.findall(r"\d+", jobs) for name, jobs in lines}


def script(tmp_path, job):
    """(its array, the jobs that it waits for)."""
    text = (tmp_path / "bin" / f"{job}.sh").read_text()
    array = re.search(r"#SBATCH --array=(\S+)", text)
    waits = re.search(r"#SBATCH --dependency=afterany:(\S+)", text)
    return array and array[1], waits[1].split(":") if waits else []


def test_a_run_waits_for_those_that_had_its_slots(campaign, tmp_path):
    code, said = campaign(STUDY.format(bound=4))
    assert code == 0
    runs = list(submitted(said).values())
    samples = [jobs[0] for jobs in runs]
    assert [script(tmp_path, job) for job in samples] == [
        ("0-1%2", []),
        ("0-1%2", []),
        ("0-1%2", [samples[0]]),
        ("0-1%2", [samples[1]]),
    ]
    # Stages of a run wait for one another as in any launch; the comparison waits for all fits.
    assert script(tmp_path, runs[3][1])[1] == [samples[3]]
    comparison = re.search(r"comparison (\d+)", said)[1]
    assert script(tmp_path, comparison) == (None, [jobs[2] for jobs in runs])
    # A second call finds all of them in the queue, and replaces the comparison.
    code, said = campaign(STUDY.format(bound=4))
    assert code == 0
    assert not submitted(said)
    assert said.count("in queue   ") == 4
    assert (tmp_path / "bin/cancelled").read_text().split() == [comparison]


@pytest.mark.slow
def test_a_bound_under_an_array_throttles_it_and_more_runs_wait_for_the_queue(campaign, tmp_path):
    said = campaign(STUDY.format(bound=1))[1]
    samples = [jobs[0] for jobs in submitted(said).values()]
    waits = [[], [samples[0]], [samples[1]], [samples[2]]]
    assert [script(tmp_path, job) for job in samples] == [("0-1%1", w) for w in waits]
    # Another bound: what is in the queue stands in slot 0, its last run holds it.
    more = STUDY.format(bound=2).replace("4]", "4, 5, 6]")
    new = [jobs[0] for jobs in submitted(campaign(more)[1]).values()]
    # Not known how long those in the queue take, so the free slot is taken by both, in turn.
    assert [script(tmp_path, job) for job in new] == [
        ("0-1%2", [samples[3]]),
        ("0-1%2", [new[0]]),
    ]
    # A smaller one: what stands beyond it is waited for too.
    less = STUDY.format(bound=1).replace("4]", "4, 5, 6, 7]")
    (last,) = (jobs[0] for jobs in submitted(campaign(less)[1]).values())
    assert script(tmp_path, last) == ("0-1%1", sorted([samples[3], *new], key=int))


def test_what_is_refused_in_the_middle_goes_on_later(campaign, tmp_path):
    study = STUDY.format(bound=4)
    paths = [ln.split()[-2] for ln in campaign(study, "--dry-run")[1].splitlines() if "(new)" in ln]
    (tmp_path / "bin/refuse").write_text(paths[2].rpartition("-")[2])
    with pytest.raises(
        ToolkitError, match=r"base_seed_3.*invalid partition.*submitted runs: 2 of 4"
    ):
        campaign(study)
    (tmp_path / "bin/refuse").unlink()
    code, said = campaign(study)
    assert code == 0
    assert list(submitted(said)) == ["base_seed_3-array_2", "base_seed_4-array_2"]


def test_cancel_ends_all_jobs_of_the_study_the_last_one_first(campaign, tmp_path):
    campaign(STUDY.format(bound=2))
    said = campaign(STUDY.format(bound=2), "--cancel")[1]
    ids = (tmp_path / "bin/cancelled").read_text().split()
    assert len(ids) == 13  # three of each run, and the comparison
    assert ids == sorted(ids, key=int, reverse=True)
    assert "cancelled  of the study itself: 113" in said
    for run in launched_runs(read_record(tmp_path / "campaigns/study")).values():
        assert len(launches(run)[-1].cancelled) == 3
    assert "no job of this study is in the queue" in campaign(STUDY.format(bound=2), "--cancel")[1]


def test_status_asks_slurm_once_for_all_runs(campaign, tmp_path):
    study = STUDY.format(bound=4)
    campaign(study)
    (tmp_path / "bin/calls").unlink()
    code, said = campaign(study, "--status")
    assert code == 1
    assert "4 runs: 4 waiting" in said
    assert sorted((tmp_path / "bin/calls").read_text().split()) == ["accounts", "asked"]


def test_a_run_that_was_launched_by_hand_is_not_launched_again(campaign, tmp_path):
    study = STUDY.format(bound=4)
    campaign(study)
    # As if the study had never heard of them.
    (tmp_path / "campaigns/study" / RECORD).unlink()
    code, said = campaign(study.replace("4]", "4, 5]"))
    assert code == 0
    (jobs,) = submitted(said).values()
    assert said.count("in queue   ") == 4
    # They hold no slots, so all of them are waited for.
    assert len(script(tmp_path, jobs[0])[1]) == 4


def test_another_run_of_the_same_name_leaves_the_first_one_in_the_record(campaign, tmp_path):
    text = STUDY.format(bound=4).partition("[cross]")[0] + "[[run]]\nname = 'x'\nbase_seed = "
    campaign(text + "1\n")
    code, said = campaign(text + "2\n")
    assert code == 0
    assert list(submitted(said)) == ["x"]
    told = json.loads(campaign(text + "2\n", "--status", "--json")[1])
    assert [row["state"] for row in told["rows"]] == ["waiting", "left"]
    assert campaign(text + "2\n", "--cancel")[1].count("cancelled  x") == 2


def spend(tmp_path, job, hours):
    """Accounting says that a job has had a GPU for so long."""
    (tmp_path / "bin/spent").write_text(
        f"{job}_0|sample-x|RUNNING|0:0|{int(3600 * hours)}|cpu=1,gres/gpu=1|node1|Unknown\n"
    )


def test_a_gate_lets_a_run_begin_or_withdraws_it(campaign, tmp_path):
    study = STUDY.format(bound=2).replace("[all]", "max_gpu_hours = 3\n\n[all]")
    said = campaign(study)[1]
    jobs = list(submitted(said).values())
    first, second = jobs[0][0], jobs[1][0]
    (gate,) = script(tmp_path, second)[1]
    assert script(tmp_path, gate) == (None, [first])
    directory = read_study(tmp_path / "study.toml").directory.resolve()
    spend(tmp_path, first, 2.9)
    assert gate_task(directory, "base_seed_2-array_2", 3.0)
    spend(tmp_path, first, 3.1)
    assert not gate_task(directory, "base_seed_2-array_2", 3.0)
    assert (tmp_path / "bin/cancelled").read_text().split() == jobs[1][::-1]
    run = launched_runs(read_record(directory))["base_seed_2-array_2"]
    assert "bound of 3 GPU-hours" in launches(run)[-1].reason
    assert not standing_launches(run)
    # It would be launched again, but nothing may begin any more.
    with pytest.raises(UsageError, match=r"3\.10 GPU-hours are spent, of .* = 3; raise it"):
        campaign(study)


def test_adaptive_runs_keep_their_slots_and_what_finds_none_is_named(campaign, tmp_path):
    study = STUDY.format(bound=2).replace("array = [2]", "adaptive = [true]")
    study = study.replace("[1, 2, 3, 4]", "[1, 2, 3]") + "\n[[run]]\nname = 'plain'\n"
    code, said = campaign(study)
    assert code == 1
    jobs = submitted(said)
    assert list(jobs) == ["plain", "base_seed_1-adaptive", "base_seed_2-adaptive"]
    assert script(tmp_path, jobs["base_seed_1-adaptive"][0])[1] == []
    assert script(tmp_path, jobs["base_seed_2-adaptive"][0])[1] == [jobs["plain"][0]]
    assert "no room for base_seed_3-adaptive" in said
