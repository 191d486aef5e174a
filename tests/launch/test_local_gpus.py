"""Local array tasks and the machine's GPUs: which are seen, how they are dealt out, and the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busy import patience
from run_jobs import ROOT, job

from toolkit.errors import UsageError
from toolkit.launch.chain import Stage
from toolkit.launch.gpus import engine_devices, places, refuse_too_few_gpus, visible_gpus
from toolkit.launch.local import run_processes
from toolkit.resolve import resolve
from toolkit.runs.run import Run


def vllm(**flags):
    return resolve({"launcher": "local", **flags})


def test_the_device_files_are_counted(tmp_path):
    assert visible_gpus({"PATH": ""}, tmp_path) == ()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-caps", "nvidia3", "nvidia10", "nvidia10x"):
        (tmp_path / name).touch()
    assert visible_gpus({"PATH": ""}, tmp_path) == ("0", "1")


def test_without_device_files_the_driver_is_asked(tmp_path):
    listing = "GPU 0: NVIDIA A100 (UUID: GPU-1)\\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\\nGPU 1: ..."
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    here = {"PATH": str(tmp_path)}
    assert visible_gpus(here, tmp_path) == ("0", "1")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho no driver is loaded; exit 9\n")
    assert visible_gpus(here, tmp_path) == ()
    (tmp_path / "nvidia-smi").write_text("not a program")
    assert visible_gpus(here, tmp_path) == ()


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("2", ("2",)),
        ("3, 1", ("3", "1")),
        ("0,-1,1", ("0",)),
        ("GPU-8932f937-d72c,MIG-b7c1", ("GPU-8932f937-d72c", "MIG-b7c1")),
    ],
)
def test_what_the_caller_names_is_respected(tmp_path, named, found):
    (tmp_path / "nvidia0").touch()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": named}, tmp_path) == found


def test_gpus_are_dealt_one_or_as_many_as_hold_a_model():
    four = ("0", "1", "2", "3")
    single, double = vllm(), vllm(tensor_parallel_size=2)
    assert places(single, "sample", 4, four) == [("0",), ("1",), ("2",), ("3",)]
    assert places(single, "sample", 2, four) == [("0",), ("1",)]
    assert places(single, "sample", 9, four[:2]) == [("0",), ("1",)]
    assert places(double, "sample", 4, four) == [("0", "1"), ("2", "3")]
    assert places(double, "sample", 4, four[:3]) == [("0", "1")]
    assert places(vllm(max_parallel=3), "sample", 4, four) == [("0",), ("1",), ("2",)]
    assert places(single, "sample", 3, ()) == [()] * 3
    assert places(vllm(engines_per_task=2), "sample", 4, four) == [("0", "1"), ("2", "3")]
    both = vllm(engines_per_task=2, tensor_parallel_size=2)
    assert places(both, "sample", 4, four) == [four]
    for stage in ("evaluate", "fit"):
        assert places(vllm(max_parallel=1), stage, 2, four) == [(), ()]
    assert places(vllm(backend="synthetic"), "sample", 2, four) == [(), ()]


def test_the_gpus_of_an_array_task_are_dealt_to_its_engines(monkeypatch, caplog):
    def dealt(seen, **flags):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
        return engine_devices(vllm(**flags), os.environ)

    assert dealt("0,1") == [()]  # alone it sees what the task sees
    assert dealt("4,GPU-a,6,7", engines_per_task=4) == [("4",), ("GPU-a",), ("6",), ("7",)]
    pairs = {"engines_per_task": 2, "tensor_parallel_size": 2}
    assert dealt("3,2,1,0", **pairs) == [("3", "2"), ("1", "0")]
    assert not caplog.text
    assert dealt("0,1,2", engines_per_task=2) == [("0",), ("1",)]
    assert "idle GPUs of this array task: 1 of 3" in caplog.text
    assert dealt("", engines_per_task=2) == [(), ()]  # on a CPU
    assert dealt("0", engines_per_task=2, backend="synthetic") == [(), ()]
    with pytest.raises(UsageError) as few:
        dealt("0,1", **pairs)
    assert str(few.value) == (
        "--engines-per-task 2: only 2 GPUs for this array task (CUDA_VISIBLE_DEVICES=0,1), but 2 "
        "engines with --tensor-parallel-size 2 need 4; give --engines-per-task 1, or for a CPU "
        "--gres ''"
    )


@pytest.mark.slow
def test_too_few_gpus_are_refused_before_anything_is_written(tmp_path):
    refuse_too_few_gpus(vllm(tensor_parallel_size=2), ("0", "1"))
    refuse_too_few_gpus(vllm(tensor_parallel_size=2, gres=""), ())
    refuse_too_few_gpus(vllm(tensor_parallel_size=2, backend="openai"), ())
    refuse_too_few_gpus(vllm(), ())
    with pytest.raises(UsageError, match="--tensor-parallel-size 4: only 2 GPUs on this machine"):
        refuse_too_few_gpus(vllm(tensor_parallel_size=4), ("0", "1"))
    with pytest.raises(
        UsageError, match=r"--engines-per-task 4: only 2 GPUs .* give .*-task 2, or"
    ):
        refuse_too_few_gpus(vllm(engines_per_task=4), ("0", "1"))
    refuse_too_few_gpus(vllm(engines_per_task=4, gres=""), ())
    flags = ("--launcher", "local", "--preset", "quickstart", "--gpus", "1", "--run", "run")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "7"}
    done = job("launch.py", *flags, "--tensor-parallel-size", 2, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "launch.py: --tensor-parallel-size 2: only 1 GPU on this machine (CUDA_VISIBLE_DEVICES=7); "
        "give at most that, or for a CPU --gres ''\n"
    )
    assert not list(tmp_path.iterdir())


# Each array task notes its GPUs at its start and end. It waits until as many as there are places
# have started: with fewer at a time, the first of them would give up.
TASK = """
cd "$1" && echo "+ $CUDA_VISIBLE_DEVICES" >> log && touch started.$$
for i in $(seq 600); do
    if [ $(ls started.* | wc -l) -ge "$2" ]; then echo "- $CUDA_VISIBLE_DEVICES" >> log; exit 0; fi
    sleep 0.1
done
exit 1
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "gpus", "tasks", "each"),
    [
        ({}, ("GPU-a", "1", "2", "3"), 6, ["GPU-a", "1", "2", "3"]),
        ({"tensor_parallel_size": 2}, ("4", "5", "6", "7"), 3, ["4,5", "6,7"]),
    ],
)
def test_real_array_tasks_keep_all_gpus_busy_each_with_its_own(tmp_path, flags, gpus, tasks, each):
    free = places(vllm(**flags), "sample", tasks, gpus)
    command = ["sh", "-c", TASK, "sh", str(tmp_path), str(len(each))]
    stage = Stage("sample", subprocess.run, [(command,)] * tasks)
    done = run_processes(Run(tmp_path / "run"), stage, free, lambda: None)
    assert [result.returncode for result in done] == [0] * tasks
    busy, most = [], 0
    for line in (tmp_path / "log").read_text().splitlines():
        sign, held = line.split()
        if sign == "+":
            assert held not in busy, "two array tasks had a GPU at the same time"
            busy.append(held)
        else:
            busy.remove(held)
        most = max(most, len(busy))
        assert set(busy) <= set(each)
    assert most == len(each)


def test_evaluation_and_fit_get_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    free = places(vllm(), "evaluate", 2, ("0", "1"))
    stage = Stage("evaluate", os.getenv, [("CUDA_VISIBLE_DEVICES",)] * 2)
    assert run_processes(Run(tmp_path), stage, free, lambda: None) == ["", ""]


def processes_of(folder):
    """The pids of the array tasks that work on a run in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"toolkit.launch.local_task" in words and str(folder).encode() in b" ".join(words):
            found.append(int(path.parent.name))
    return found


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_launch_ends_its_array_tasks(tmp_path, number):
    flags = ("--preset", "smoke", "--launcher", "local", "--run", "run", "--array", "2")
    pace = ("--synthetic-rate", "2", "--slice-samples", "4", "--samples", "40")
    launch = subprocess.Popen(
        (sys.executable, ROOT / "jobs" / "launch.py", *flags, *pace),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: list(tmp_path.glob("run/samples/*.parquet")), "the first shard")
        assert len(processes_of(tmp_path)) >= 2  # each with its engine
        launch.send_signal(number)
        said = launch.communicate(timeout=60)[1]
        wait_until(lambda: not processes_of(tmp_path), "the end of the array tasks")
    finally:
        launch.kill()
        launch.wait()
    if number == signal.SIGINT:
        assert launch.returncode == 1
        assert "interrupted: finished samples are kept" in said
        assert "Traceback" not in said


def processes_with(mark):
    """The command lines of the processes that have this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.vllm
@pytest.mark.parametrize("seconds", [0, 4])
def test_a_killed_launch_leaves_no_engine_that_starts(tmp_path, tiny_model, seconds):
    """seconds: so long after the engine's process has begun, while vLLM is imported or started."""
    mark = f"LAUNCH_MARK={tmp_path}"
    work = ("--limit", "1", "--samples", "4", "--launcher", "local", "--run", "run")
    launch = subprocess.Popen(
        (sys.executable, ROOT / "jobs" / "launch.py", "--model", tiny_model, "--gres", "", *work),
        cwd=tmp_path,
        env=os.environ | {"LAUNCH_MARK": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: any("engine_host" in line for line in processes_with(mark)), "an engine", 120
        )
        time.sleep(seconds)
        assert not list(tmp_path.glob("run/samples/*.parquet"))
        launch.kill()
        launch.wait()
        wait_until(lambda: not processes_with(mark), "the end of all processes", patience(15))
    finally:
        launch.kill()
        launch.wait()
