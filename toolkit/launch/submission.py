"""One job to Slurm: its pickles and its script, one sbatch, and signals that wait for its answer.

submitit's executor writes the script and its tasks read the pickles. It is not asked to submit,
because a signal in the middle of its sbatch would leave a job whose id nobody knows.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import submitit

from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch.queue import ANSWER_SECONDS

LAST_SECONDS = 10.0
"""So long an sbatch under way may still answer when a signal has asked to stop."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interruption:
    """Whether a signal has asked to stop. name: its name, "" for none. unsure: sbatch was killed
    before it answered, so that its job may still come.
    """

    name: str = ""
    unsure: bool = False
    at: float = field(default=0.0)

    def notice(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        self.name, self.at = self.name or signal.Signals(number).name, time.monotonic()


class Interrupted(ToolkitError):
    """A signal has asked to stop in the middle of a submission."""


@contextlib.contextmanager
def noticed_signals() -> Iterator[Interruption]:
    """Meanwhile the signals that end a process are only noticed; those it ignores stay ignored.

    In another thread than the main one nothing changes: only that one can have handlers.
    """
    found = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, found.notice)
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def forget_own_job() -> None:
    """Let jobs that this job submits be no part of it: its limits and restarts are not theirs."""
    for name in [n for n in os.environ if n.startswith("SLURM_") and n != "SLURM_CONF"]:
        del os.environ[name]


def submit_job(
    executor: submitit.SlurmExecutor,
    name: str,
    task: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    stop: Interruption,
) -> tuple[str, Callable[[], None]]:
    """Submit a job of this name: an array with one array task for each tuple of arguments.

    Gives its id, and a function that puts the pickles where the array tasks look for them. They
    wait for that a minute. Raises `ToolkitError` with sbatch's reason, and `Interrupted` if a
    signal has asked to stop.
    """
    folder = submitit.core.utils.JobPaths.get_first_id_independent_folder(executor.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if len(arguments) > 1:
        executor.parameters["map_count"] = len(arguments)
    script = folder / f".submission_file_{uuid.uuid4().hex}.sh"
    pickles = [folder / f"{uuid.uuid4().hex}.pkl" for _ in arguments]
    try:
        for path, values in zip(pickles, arguments, strict=True):
            delayed = submitit.core.utils.DelayedSubmission(task, *values)
            delayed.set_timeout(executor.parameters["time"], executor.max_num_timeout)
            delayed.dump(path)
        text = executor._make_submission_file_text(executor._submitit_command_str, script.stem)
        script.write_text(text, encoding="utf-8")
        job = _sbatch(script, name, stop)
    except BaseException:
        for path in (script, *pickles):
            path.unlink(missing_ok=True)
        raise
    return job, lambda: _put_in_place(executor.folder, job, script, pickles)


def _put_in_place(folder: Path, job: str, script: Path, pickles: Sequence[Path]) -> None:
    """Name the files of a job after its id, as submitit's array tasks expect."""
    paths = submitit.core.utils.JobPaths(folder, job)
    paths.move_temporary_file(script, "submission_file")
    for i, path in enumerate(pickles):
        task = job if len(pickles) == 1 else f"{job}_{i}"
        submitit.core.utils.JobPaths(folder, task).move_temporary_file(path, "submitted_pickle")


def _sbatch(script: Path, name: str, stop: Interruption) -> str:
    """The id of the job that sbatch makes of a script.

    sbatch runs in a session of its own: Ctrl-C reaches only this process, which lets sbatch answer.
    """
    if stop.name:
        raise Interrupted(stop.name)
    # On the command line, so that neither SBATCH_JOB_NAME nor the script names it otherwise.
    command = ("sbatch", "--parsable", f"--job-name={name}", str(script))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise SlurmFailure(
            f"`sbatch` cannot be run: {error.strerror}; log in to a submit node of the cluster"
        ) from None
    answer, said = _answer(process, stop)
    job = answer.strip().partition(";")[0]
    if process.returncode != 0 or not job.isdigit():
        raise ToolkitError(_reason(said) or f"exit code {process.returncode}, {answer.strip()!r}")
    return job


def _answer(process: subprocess.Popen[str], stop: Interruption) -> tuple[str, str]:
    """What sbatch writes to stdout and stderr; it is killed when its time is up."""
    started = time.monotonic()
    while True:
        try:
            return process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            late = now > started + ANSWER_SECONDS
            if late or (stop.name and now > stop.at + LAST_SECONDS):
                stop.unsure = True
                process.kill()
                process.communicate()
                raise SlurmFailure(
                    f"`sbatch` gave no answer in {now - started:.0f} s: the cluster's controller "
                    "is down or busy; try again later"
                ) from None


def _reason(said: str) -> str:
    """What sbatch says is wrong, in one line."""
    lines = [line.removeprefix("sbatch: ").strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return "; ".join(dict.fromkeys(errors or lines))[:400]
