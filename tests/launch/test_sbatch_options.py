"""`--slurm`: for which stage an option is, and what is refused before anything is written."""

import pytest
from run_jobs import job

from toolkit.errors import UsageError
from toolkit.launch.sbatch_options import check_jobs, job_options, options_of, sampling_gres
from toolkit.resolve import resolve


def test_an_option_is_for_all_stages_or_for_one():
    items = ("evaluate.nice=2", "nice=1", "fit.mail-type=END", "next.nice=3", "sample.exclusive")
    assert options_of(items, "sample") == {"nice": "1", "exclusive": True}
    assert options_of(items, "evaluate") == {"nice": "2"}
    assert options_of(items, "fit") == {"nice": "1", "mail-type": "END"}
    assert options_of(items, "next") == {"nice": "3", "mail-type": "END"}


def test_of_one_option_the_last_value_counts():
    assert options_of(("nice=1", "nice=2"), "fit") == {"nice": "2"}
    assert options_of(("fit.nice=3", "nice=1"), "fit") == {"nice": "3"}


def test_a_key_is_read_as_sbatch_spells_it():
    items = ("mail_type=END", "--gres-flags=enforce-binding", "exclusive=user", "no-requeue")
    assert options_of(items, "fit") == {
        "mail-type": "END",
        "gres-flags": "enforce-binding",
        "exclusive": "user",
        "no-requeue": True,
    }


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("dependency=afterok:1", "dependency cannot be set by --slurm: the stages of a launch"),
        ("sample.array=0-3", "array cannot be set by --slurm: give --array"),
        ("--output=x", "output cannot be set by --slurm: status reads the logs"),
        ("job_name=x", "job-name cannot be set by --slurm: status and cancel find jobs"),
        ("signal=TERM@9", "signal cannot be set by --slurm: by its signal"),
        ("depend=afterok:1", "dependency cannot be set"),
        ("wrap=true", "wrap cannot be set"),
        ("nodes=2", "nodes cannot be set by --slurm: an array task is one process on one node"),
        ("test-only", "test-only cannot be set by --slurm: give --dry-run"),
        ("train.nice=1", "no stage train; valid: sample, alongside, evaluate, fit, next"),
        ("partition", "partition needs a value; write --slurm partition=VALUE"),
        ("fit.qos=", "qos needs a value; write --slurm fit.qos=VALUE"),
        ("hold=1", "hold takes no value; write --slurm hold"),
        ("p=gpu", "write it as key=value or stage.key=value, the key being a long option"),
        ("=3", "write it as key=value"),
        ("comment=a\n#SBATCH --array=0-9", "write it as key=value"),
        ("fit.time=soon", "fit.time soon: not a time"),
        ("mem=lots", "mem lots: not an amount of memory"),
        ("gpus=x y", "gpus x y: give a number"),
    ],
)
def test_what_sbatch_or_the_toolkit_could_not_use_is_refused(item, says):
    with pytest.raises(UsageError, match=f"^--slurm .*{says}"):
        check_jobs(resolve({"slurm": (item,)}))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"time": "soon"}, "--time soon: not a time"),
        ({"eval_mem": "4.5G"}, "--eval-mem 4.5G: not an amount of memory"),
        ({"container": "apptainer exec 'a"}, "--container .*: not a command of the shell"),
    ],
)
def test_what_sbatch_would_refuse_is_refused_by_flag(flags, says):
    with pytest.raises(UsageError, match=says):
        check_jobs(resolve(flags))


def test_the_toolkits_own_options_give_way():
    config = resolve(
        {
            "gres": "gpu:1",
            "slurm": ("sample.gpus=a100:2", "mem-per-cpu=4G", "evaluate.cpus-per-gpu=4"),
        }
    )
    sample, evaluate = (job_options(config, stage) for stage in ("sample", "evaluate"))
    assert not sample.keys() & {"gres", "mem"}
    assert sample["gpus"] == "a100:2"
    assert sampling_gres(config) == "gpu:a100:2"
    assert "cpus-per-task" in sample
    assert "cpus-per-task" not in evaluate
    refused = job_options(resolve({"slurm": ("no-requeue",)}), "sample")
    assert refused["no-requeue"] is True
    assert "requeue" not in refused


def test_the_gpus_asked_for_hold_the_model():
    says = (
        r"--tensor-parallel-size 4: an array task asks for 1 GPU \(gpu:1\), and its engines use 4; "
    )
    with pytest.raises(UsageError, match=says):
        check_jobs(resolve({"tensor_parallel_size": 4, "gres": "gpu:1"}))
    for flags in (
        {},  # as many as hold the model
        {"gres": "gpu:a100:4"},
        {"gres": "gpu:1", "slurm": ("sample.gpus-per-node=4",)},
        {"gres": ""},  # on a CPU
        {"gres": "gpu:1", "backend": "synthetic"},
        {"gres": "gpu:1", "launcher": "local"},
    ):
        check_jobs(resolve({"tensor_parallel_size": 4, **flags}))
    with pytest.raises(UsageError, match=r"asks for 2 GPUs \(gpu:2\), .*; give --gpus 4$"):
        check_jobs(resolve({"tensor_parallel_size": 4, "slurm": ("gpus=2",)}))
    assert sampling_gres(resolve({"tensor_parallel_size": 4})) == "gpu:4"


def test_all_gpus_asked_for_have_an_engine():
    node = {"engines_per_task": 4, "tensor_parallel_size": 2}
    assert sampling_gres(resolve(node)) == "gpu:8"
    for flags in (
        {},
        {"gres": "gpu:h100:8"},
        {"gres": ""},
        {"gres": "gpu:1", "backend": "synthetic"},
    ):
        check_jobs(resolve(node | flags))
    with pytest.raises(UsageError) as few:
        check_jobs(resolve(node | {"gres": "gpu:h100:4"}))
    assert str(few.value) == (
        "--engines-per-task 4 with --tensor-parallel-size 2: an array task asks for 4 GPUs "
        "(gpu:h100:4), and its engines use 8; give --gpus 8"
    )
    with pytest.raises(UsageError) as idle:
        check_jobs(resolve({"gres": "gpu:4"}))
    assert str(idle.value) == (
        "--tensor-parallel-size 1: an array task asks for 4 GPUs (gpu:4), and its engines use 1; "
        "give --gpus 1, or --engines-per-task 4 to use them all"
    )
    check_jobs(resolve({"gres": "gpu:4", "engines_per_task": 4}))
    with pytest.raises(UsageError, match=r"one server .*-per-task 1, .*--max-parallel-requests"):
        resolve({"engines_per_task": 2, "backend": "openai"})
    with pytest.raises(UsageError, match="--engines-per-task 0: must be 1 or more"):
        resolve({"engines_per_task": 0})


@pytest.mark.slow
def test_what_is_refused_leaves_nothing(tmp_path):
    flags = ("--preset", "smoke", "--launcher", "inline", "--run", "run", "--slurm")
    done = job("launch.py", *flags, "fit.dependency=afterok:7", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "launch.py: --slurm fit.dependency=afterok:7: dependency cannot be set by --slurm: the "
        "stages of a launch depend on one another\n"
    )
    assert not list(tmp_path.iterdir())
