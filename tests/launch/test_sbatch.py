"""What Slurm is given: sbatch scripts as golden text, and how flags become parameters.

After a wanted change: `PYTHONPATH=.:tests python tests/launch/test_sbatch.py` writes the scripts anew;
read the difference.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_jobs import ROOT, job

from toolkit.launch.parameters import sbatch_script, setup_lines, slurm_parameters
from toolkit.launch.slurm import split_arrays
from toolkit.resolve import resolve

GOLDEN = ROOT / "tests" / "golden"
FLAGS = {
    "model": "org/model",
    "array": 10,
    "max_parallel": 4,
    "partition": "gpu",
    "cpu_partition": "cpu",
    "account": "lab",
    "qos": "high",
    "constraint": "a100",
    "cpu_qos": "low",
    "gres": "gpu:a100:1",
    "time": "1-12",
    "eval_mem": "32000",
    "setup": ("module load cuda", "source env/bin/activate"),
    "slurm": ("nice=100", "sample.exclude=node7", "evaluate.nice=7", "fit.time=10"),
}
STAGES = {"sample": 10, "evaluate": 2, "fit": 1}
CONTAINERS = {
    "apptainer": "apptainer exec --nv --bind /data vllm.sif",
    "pyxis": "--container-image=/images/vllm.sqsh --container-mounts=/data:/data,$HOME:$HOME",
}
SCRIPTS = [*STAGES, *CONTAINERS]


def script(name):
    flags = {"container": CONTAINERS[name]} if name in CONTAINERS else FLAGS
    stage = name if name in STAGES else "sample"
    text = sbatch_script(resolve(flags), Path("/runs/run/slurm"), stage, STAGES[stage])
    return text.replace(sys.executable, "PYTHON")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_the_golden_one(name):
    assert script(name) == (GOLDEN / f"{name}.sh").read_text()


def test_a_script_is_shown_also_where_slurm_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script("sample") == (GOLDEN / "sample.sh").read_text()


def test_only_sampling_asks_for_what_only_it_needs():
    assert "gpu:a100:1" in script("sample")
    for stage in ("evaluate", "fit"):
        assert not re.search("gpu:|a100|--partition=gpu|qos=high|node7", script(stage))
        assert "--qos=low" in script(stage)
        assert "--partition=cpu" in script(stage)


def test_arrays_are_split_evenly_and_share_max_parallel():
    tasks = [[f"s{i}"] for i in range(2500)]
    arrays = split_arrays(tasks, 1000)
    assert [len(a) for a in arrays] == [834, 833, 833]
    assert sorted(name for array in arrays for (name,) in array) == sorted(n for (n,) in tasks)
    assert split_arrays(tasks[:1000], 1000) == [tasks[:1000]]
    found = slurm_parameters(resolve(FLAGS), "sample", 834, None, arrays=3)
    assert found["array_parallelism"] == 1


def run_setup(*lines):
    """A job's script around these setup lines: the exit code, and what it says."""
    script = "\n".join([*setup_lines(lines, cores=True), "echo reached", "(exit 5)"])
    done = subprocess.run(("bash", "-c", script), capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("true", "false", "true"), "setup line failed: false (exit code 1)"),
        (
            ("no-such-program -x 'a b'",),
            "setup line failed: no-such-program -x 'a b' (exit code 127)",
        ),
        (("false # a comment",), "setup line failed: false # a comment (exit code 1)"),
        (
            ("source /nowhere/activate",),
            "setup line failed: source /nowhere/activate (exit code 1)",
        ),
        (("exit 0",), "setup line failed: exit 0 (exit code 0)"),
        (("exit 3",), "setup line failed: exit 3 (exit code 3)"),
        (("set -e", "false"), "setup line failed: false (exit code 1)"),
        (("if true; then",), "setup line failed: if true; then (exit code 2)"),
        (("for i in 1; do\n  false\ndone",), "setup line failed: for i in 1; do (exit code 1)"),
    ],
)
def test_a_setup_line_that_fails_ends_the_job_and_is_its_last_word(lines, says):
    code, said = run_setup(*lines)
    assert code == max(1, int(re.search(r"exit code (\d+)", says)[1]))
    assert said.splitlines()[-1] == says
    assert "reached" not in said


def test_setup_lines_are_commands_of_the_jobs_own_shell(tmp_path):
    """A module's function, a conda-like function, a sourced file with an unset variable, a trap."""
    (tmp_path / "activate").write_text("export PATH=$PATH:$UNSET ACTIVE=yes\n")
    code, said = run_setup(
        "module() { export LOADED=$2; }",
        "module load cuda",
        "source " + str(tmp_path / "activate"),
        "if true; then\n  declare -A map=([a]=1)\nfi",
        "trap 'echo the user said goodbye' EXIT",
        "echo $LOADED $ACTIVE ${map[a]} # a comment",
    )
    assert (code, said) == (5, "cuda yes 1\nreached\nthe user said goodbye\n")
    assert run_setup("true") == (5, "reached\n")
    assert run_setup() == (5, "reached\n")


def sacct(cluster, jobs, want):
    """Wait until accounting shows these states: it hears of a job's end some time later."""
    deadline = time.monotonic() + 60
    command = ("sacct", "-XDPn", "--format=State", f"--jobs={','.join(jobs)}")
    while True:
        told = subprocess.run(command, env=cluster, capture_output=True, text=True, check=True)
        if told.stdout.split() == want or time.monotonic() > deadline:
            return told.stdout.split()
        time.sleep(0.5)


SMOKE = ("--preset", "smoke", "--launcher", "slurm", "--run", "run", "--wait")


@pytest.mark.slow
@pytest.mark.slurm
def test_a_job_whose_setup_fails_has_failed(cluster, tmp_path):
    setup = ("--setup", "echo one # two", "module load nowhere")
    done = job("launch.py", *SMOKE, *setup, cwd=tmp_path, env=cluster)
    assert done.returncode == 1
    logs = sorted((tmp_path / "run" / "slurm").glob("*_0_log.out"))
    assert len(logs) == 3
    for log in logs:
        lines = log.read_text().splitlines()
        assert (lines[0], lines[-1]) == (
            "one",
            "setup line failed: module load nowhere (exit code 127)",
        )
    jobs = [log.name.split("_")[0] for log in logs]
    assert sacct(cluster, jobs, ["FAILED"] * 3) == ["FAILED"] * 3


@pytest.mark.slow
@pytest.mark.slurm
def test_a_run_completes_without_the_users_environment_and_in_a_container(cluster, tmp_path):
    """A program around Python stands for the container: it notes what it was to run, once.

    A job that has its node for itself would start a process for each core.
    """
    container = tmp_path / "container.sh"
    container.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/contained\nexec "$@"\n')
    container.chmod(0o755)
    flags = ("--slurm", "export=NONE", "sample.exclusive", "--setup", f"export PYTHONPATH={ROOT}")
    flags += (
        "--container",
        f"{container} exec image.sif env",
        "--container-python",
        sys.executable,
    )
    container.write_text(container.read_text().replace('exec "$@"', 'shift 2; exec "$@"'))
    environment = cluster | {"SLURM_EXPORT_ENV": "NONE", "ONLY_HERE": "yes"}
    done = job("launch.py", *SMOKE, *flags, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "contained").read_text().splitlines()
    assert line.startswith(f"exec image.sif env {sys.executable} -u -m submitit.core._submit ")


@pytest.mark.slow
@pytest.mark.slurm
def test_a_step_has_the_cores_that_were_asked_for(cluster, tmp_path):
    """Bound to cores, by a cluster of its own: a step of Slurm 22.05 would get one."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    cluster_sh = ROOT / "tests" / "slurm" / "cluster.sh"
    own = os.environ | {
        "CLUSTER_DIR": f"/tmp/slurm-cores-{os.getpid()}",
        "CLUSTER_CONF": "TaskPlugin=task/affinity",
    }
    ask = "import os; print('cores', len(os.sched_getaffinity(0)))"
    script = [
        "#!/bin/bash",
        f"#SBATCH --cpus-per-task=2 --output={tmp_path}/log",
        "export SLURM_CPU_BIND=cores",
        *setup_lines((), cores=True),
        f'srun {sys.executable} -c "{ask}"',
    ]
    (tmp_path / "script").write_text("\n".join(script) + "\n")
    try:
        subprocess.run((cluster_sh, "up", "1"), check=True, env=own, timeout=200)
        run = f'eval "$({cluster_sh} env)" && sbatch --wait {tmp_path}/script'
        subprocess.run(("bash", "-c", run), check=True, env=own, timeout=100)
        assert (tmp_path / "log").read_text() == "cores 2\n"
    finally:
        subprocess.run((cluster_sh, "down", "--purge"), check=True, env=own, timeout=100)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in SCRIPTS:
        (GOLDEN / f"{each}.sh").write_text(script(each))
