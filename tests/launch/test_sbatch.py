"""What Slurm is given: sbatch scripts as golden text, and how flags become parameters.

After a wanted change: `python tests/launch/test_sbatch.py` writes the scripts anew; read the difference.
"""

import re
import sys
from pathlib import Path

import pytest
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.launch.parameters import sbatch_script, slurm_parameters
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
    "gres": "gpu:a100:1",
    "setup": ("module load cuda", "source env/bin/activate"),
    "slurm": ("nice=100", "exclude=node7"),
}
STAGES = {"sample": 10, "evaluate": 2, "fit": 1}


def script(stage):
    text = sbatch_script(resolve(FLAGS), Path("/runs/run/slurm"), stage, STAGES[stage])
    return text.replace(sys.executable, "PYTHON")


@pytest.mark.parametrize("stage", STAGES)
def test_the_script_is_the_golden_one(stage):
    assert script(stage) == (GOLDEN / f"{stage}.sh").read_text()


def test_a_script_is_shown_also_where_slurm_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert script("sample") == (GOLDEN / "sample.sh").read_text()


def test_only_sampling_asks_for_what_only_it_needs():
    assert "gpu:a100:1" in script("sample")
    for stage in ("evaluate", "fit"):
        assert not re.search("gpu:|a100|--partition=gpu|qos", script(stage))
        assert "--partition=cpu" in script(stage)


def test_arrays_are_split_evenly_and_share_max_parallel():
    tasks = [[f"s{i}"] for i in range(2500)]
    arrays = split_arrays(tasks, 1000)
    assert [len(a) for a in arrays] == [834, 833, 833]
    assert sorted(name for array in arrays for (name,) in array) == sorted(n for (n,) in tasks)
    assert split_arrays(tasks[:1000], 1000) == [tasks[:1000]]
    found = slurm_parameters(resolve(FLAGS).resources, "sample", 834, None, arrays=3)
    assert found["array_parallelism"] == 1


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(UsageError, match="--slurm nice: write it as key=value"):
        slurm_parameters(resolve(FLAGS | {"slurm": ("nice",)}).resources, "fit", 1, None, arrays=1)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in STAGES:
        (GOLDEN / f"{each}.sh").write_text(script(each))
