"""A study file: its product, its further runs, its exclusions, and what is wrong with one."""

import re

import pytest
from run_jobs import ROOT

from toolkit.campaigns.study import read_study
from toolkit.errors import UsageError

GOOD = """
[study]
max_parallel = 8

[all]
samples = 50
backend = "synthetic"

[cross]
temperature = [0.2, 1]
task = ["humaneval", "tasks/sums.toml"]

[[cross.model]]
name = "a small one"
model = "small"

[[cross.model]]
name = "large"
model = "large"
gpus = 2
time = 90

[[exclude]]
model = "large"
task = "sums"

[[exclude]]
model = "a small one"
temperature = [1, 0.2]
task = "humaneval"

[[run]]
name = "greedy"
model = "large"
temperature = 0
samples = 1
"""


def read(tmp_path, text):
    path = tmp_path / "my-study.toml"
    path.write_text(text)
    return read_study(path)


def test_a_product_with_exclusions_and_further_runs(tmp_path):
    study = read(tmp_path, GOOD)
    assert [run.name for run in study.runs] == [
        "temperature_0.2-humaneval-large",
        "temperature_0.2-sums-a-small-one",
        "temperature_1-humaneval-large",
        "temperature_1-sums-a-small-one",
        "greedy",
    ]
    assert study.runs[2].flags == {
        "samples": 50,
        "backend": "synthetic",
        "temperature": 1.0,
        "task": "humaneval",
        "model": "large",
        "gres": "gpu:2",
        "time": "90",
    }
    assert study.runs[-1].flags["samples"] == 1
    assert study.runs[-1].flags["temperature"] == 0.0
    assert study.settings.max_parallel == 8
    assert str(study.directory) == "campaigns/my-study"


def test_a_value_may_be_a_list_and_a_run_may_have_a_preset_and_a_directory(tmp_path):
    study = read(
        tmp_path,
        '[all]\npreset = "smoke"\n[cross]\nstop = [["a", "b"], []]\nadaptive = [true, false]\n'
        '[[run]]\nname = "x"\nrun = "runs/x"\npreset = "other"\n',
    )
    assert study.runs[0].name == "stop_a-b-adaptive"
    assert study.runs[0].flags == {"stop": ("a", "b"), "adaptive": True}
    assert study.runs[3].name == "stop_-no_adaptive"
    assert [run.preset for run in study.runs] == ["smoke"] * 4 + ["other"]
    assert study.runs[-1].path == "runs/x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "plans no run"),
        ("[cross\n", "not TOML"),
        ("[crss]\n", "unknown table [crss]; valid: cross"),
        ("[study]\nmax_paralel = 1\n", "[study] max_paralel: unknown key; valid: max_parallel"),
        ("[study]\nmax_parallel = 0\n", "max_parallel = 0: expected a whole number, 1 or more"),
        ("[study]\nmax_parallel = 1.5\n", "expected a whole number"),
        ("[study]\nmax_gpu_hours = 1\n", "give max_parallel too"),
        ("[cross]\ntemprature = [1]\n", "temprature: unknown flag; valid: temperature"),
        ("[all]\ntemprature = 1\n[[run]]\nname = 'x'\n", "run]] 1 temprature: unknown flag"),
        ("[cross]\ntemperature = 1\n", "[cross] temperature: give a list of values"),
        ("[cross]\ntemperature = []\n", "give a list of values"),
        ("[cross]\ntemperature = ['hot']\n", "temperature = 'hot': expected float"),
        ("[[cross.model]]\nmodel = 'x'\n", "value 1: a table needs a `name`"),
        ("[[cross.a]]\nname='x'\n[[cross.a]]\nname='x'\n", "two values would be named x"),
        ("[[cross.a]]\nname='x'\nsamples=1\n[cross]\nsamples=[2]\n", "a and samples both set"),
        ("[[run]]\nsamples = 1\n", "[[run]] 1: needs a `name`"),
        ("[[run]]\nname='x'\n[[run]]\nname='x'\n", "two runs are named x"),
        ("[[run]]\nname='x'\nrun='r'\n[[run]]\nname='y'\nrun='r'\n", "both have the directory r"),
        ("[run]\nname='x'\n", "[run]: write [[run]]"),
        ("[[run]]\nname='x'\ngpus='many'\n", "--gpus many"),
        ("[cross]\ntop_p=[1]\n[[exclude]]\ntop_k=1\n", "no axis top_k in [cross]; valid: top_p"),
        (
            "[cross]\ntop_p=[0.5]\n[[exclude]]\ntop_p=0.6\n",
            "top_p = 0.6: no such value; valid: 0.5",
        ),
        ("[cross]\ntop_p=[1]\n[[exclude]]\n", "[[exclude]] 1: names no value"),
        (
            "[cross]\ntop_p=[1]\n[[exclude]]\ntop_p=1\n[[exclude]]\ntop_p=[1]\n[[run]]\nname='x'\n",
            None,
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, says):
    if says is None:
        assert [run.name for run in read(tmp_path, text).runs] == ["x"]
        return
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "my-study.toml" in str(error.value) or "--gpus" in str(error.value)


def test_an_exclusion_that_no_run_has_is_refused(tmp_path):
    text = "[cross]\ntop_p=[0.5, 1]\nsamples=[2]\n[[exclude]]\ntop_p=1\nsamples=2\n"
    assert len(read(tmp_path, text).runs) == 1
    with pytest.raises(UsageError, match="cannot be read"):
        read_study(tmp_path / "no.toml")


def test_the_studies_of_the_page_are_some(tmp_path):
    page = (ROOT / "docs/campaigns.md").read_text()
    small, large = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names = [run.name for run in read(tmp_path, small).runs]
    assert names == ["limit_4-easy", "limit_8-easy", "limit_8-hard"]
    study = read(tmp_path, large)
    assert len(study.runs) == 9
    assert study.runs[1].flags["gres"] == "gpu:4"
    assert study.settings.max_gpu_hours == 200
