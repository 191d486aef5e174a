"""Time, memory and GPUs as sbatch reads them; the tables are compared with a real sbatch too."""

import subprocess

import pytest

from toolkit.errors import UsageError
from toolkit.launch.amounts import (
    gpus_of,
    gres_items,
    mebibytes_of,
    memory_in_words,
    minutes_of,
    time_in_words,
)
from toolkit.resolve import gres_of_gpus

TIMES = {
    "120": 120,
    "0": None,
    "1:30": 2,
    "02:00": 2,
    "90:90": 92,
    "2:00:00": 120,
    "200:00:00": 12000,
    "0:0:30": 1,
    "1-0": 1440,
    "1-": 1440,
    "1-12": 2160,
    "1-25": 2940,
    "1-12:30": 2190,
    "1-12:30:45": 2191,
    "UNLIMITED": None,
    "infinite": None,
}
MEMORY = {
    "4800M": 4800,
    "4G": 4096,
    "4g": 4096,
    "4GB": 4096,
    "1T": 1024**2,
    "500K": 1,
    "48000": 48000,
    "0": 0,
}
NO_TIMES = ("abc", "1.5", "", " 5", "10:", "1-:3", "2-3:4:5:6", "2h")
NO_MEMORY = ("abc", "4.5G", "4Gi", "4Gxyz", "", "-5", "1P")


@pytest.mark.parametrize(("text", "minutes"), TIMES.items())
def test_a_time_in_every_form(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(("text", "mebibytes"), MEMORY.items())
def test_memory_in_every_form(text, mebibytes):
    assert mebibytes_of(text) == mebibytes


@pytest.mark.parametrize("text", NO_TIMES)
def test_no_time(text):
    with pytest.raises(UsageError, match=r"^--eval-time .*: not a time; give "):
        minutes_of(text, "--eval-time")


@pytest.mark.parametrize("text", NO_MEMORY)
def test_no_memory(text):
    with pytest.raises(UsageError, match=r"^--mem .*: not an amount of memory; give "):
        mebibytes_of(text)


def test_a_small_number_was_not_meant_in_mb():
    with pytest.raises(UsageError, match="--mem 48: sbatch reads this as MB; write 48G or 48M"):
        mebibytes_of("48")


def test_gpus_become_a_generic_resource_and_are_counted():
    for text, gres, count in (
        ("2", "gpu:2", 2),
        ("a100:4", "gpu:a100:4", 4),
        ("1g.10gb:2", "gpu:1g.10gb:2", 2),
        ("a100:1,h100:2", "gpu:a100:1,gpu:h100:2", 3),
        ("0", "", None),
    ):
        assert gres_of_gpus(text) == gres
        assert gpus_of(gres) == count
    for text in ("", "all", "a100:", "two words", "-1", ":2"):
        with pytest.raises(UsageError, match=r"--gpus .*: give a number, or a type and a number"):
            gres_of_gpus(text)


def test_generic_resources_in_every_form():
    assert gres_items("gpu:a100:2,nvme:3,foo") == [("gpu:a100", 2), ("nvme", 3), ("foo", 1)]
    assert gres_items("gres:gpu:1,gpu:a100=2") == [("gpu", 1), ("gpu:a100", 2)]
    assert gres_items("") == []
    assert gpus_of("shard:2") is None
    assert gpus_of("gpu") == 1


def test_amounts_in_words():
    assert [time_in_words(t) for t in ("1-0:30", "UNLIMITED")] == ["1470 min", "no time limit"]
    assert [memory_in_words(m) for m in ("48G", "3000", "0")] == [
        "48 GiB",
        "2.93 GiB",
        "all memory of the node",
    ]


@pytest.mark.slow
@pytest.mark.slurm
def test_a_real_sbatch_reads_them_in_the_same_way(cluster):
    def read(*flags):
        """What squeue shows of a held job with these flags; None where sbatch refuses it."""
        held = ("sbatch", "--hold", "--parsable", "--output=/dev/null", "--wrap=true", *flags)
        done = subprocess.run(held, env=cluster, capture_output=True, text=True)
        if done.returncode:
            return None
        job = done.stdout.strip()
        ask = ("squeue", "--noheader", f"--jobs={job}", "--format=%l %m")
        try:
            answer = subprocess.run(ask, env=cluster, capture_output=True, text=True, check=True)
            return answer.stdout.split()
        finally:
            subprocess.run(("scancel", job), env=cluster, check=True)

    for text, minutes in TIMES.items():
        limit = read(f"--time={text}")[0]
        # squeue shows a time limit as days-hours:minutes:seconds, without what is zero in front.
        parts = limit.replace("-", ":").split(":")[:-1]
        shown = sum(int(p) * f for p, f in zip(reversed(parts), (1, 60, 1440), strict=False))
        assert (limit, minutes) == ("UNLIMITED", None) or shown == minutes, text
    for text, mebibytes in MEMORY.items():
        assert mebibytes_of(read(f"--mem={text}")[1]) == mebibytes, text
    assert [read(f"--time={text}") for text in NO_TIMES] == [None] * len(NO_TIMES)
    assert [read(f"--mem={text}") for text in NO_MEMORY] == [None] * len(NO_MEMORY)
