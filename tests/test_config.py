import argparse

import pytest

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.resolve import add_flags, resolve


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


def test_no_flag_means_the_defaults():
    assert resolve(parse()) == Config()


def test_flag_beats_preset_beats_default(tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text(
        "[sampling]\ntemperature = 1\ntop_p = 0.5\nstop = ['x']\n[quantity]\nsamples = 7\n"
    )
    config = resolve(parse("--top-p", "0.25"), preset)
    assert config.sampling.temperature == 1.0
    assert isinstance(config.sampling.temperature, float)
    assert config.sampling.top_p == 0.25
    assert config.sampling.stop == ("x",)
    assert config.quantity.samples == 7


def test_no_stop_strings_differ_from_the_default_ones():
    assert resolve(parse()).sampling.stop is None
    assert resolve(parse("--stop")).sampling.stop == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[sampling]\ntemprature = 1",
            r"\[sampling\] temprature: unknown key; valid: backend, base_seed",
        ),
        ("[smpling]\ntemperature = 1", r"unknown table \[smpling\]; valid: sampling"),
        ("temperature = 1", "unknown table"),
        ("[quantity]\nsamples = '7'", "samples = '7': expected int"),
        ("[quantity]\nsamples = true", "samples = True: expected int"),
        ("[sampling]\nstop = 'x'", "expected a list of str"),
        ("[sampling]\nstop = [1]", "expected a list of str"),
        ("[sampling", "not TOML"),
    ],
)
def test_a_bad_preset_is_refused_with_the_place(tmp_path, text, says):
    preset = tmp_path / "p.toml"
    preset.write_text(text)
    with pytest.raises(UsageError, match=says):
        resolve({}, preset)


def test_a_missing_preset_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        resolve({}, tmp_path / "none.toml")


@pytest.mark.parametrize(
    "argv",
    [
        ("--samples", "0"),
        ("--top-p", "0"),
        ("--top-p", "1.5"),
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--array", "0"),
        ("--timeout", "0"),
        ("--max-tokens", "4096"),
        ("--limit", "0"),
    ],
)
def test_values_no_launch_could_use_are_refused_by_flag(argv):
    with pytest.raises(UsageError, match=f"{argv[0]}|--max-model-len"):
        resolve(parse(*argv))


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (("--time", "90"), "time", "90"),
        (("--time", "1-12:30"), "time", "1-12:30"),
        (("--minutes", "90"), "time", "90"),
        (("--eval-minutes", "90"), "eval_time", "90"),
        (("--mem", "48000M"), "mem", "48000M"),
        (("--mem-gib", "48"), "mem", "48G"),
        (("--eval-mem-gib", "48"), "eval_mem", "48G"),
        (("--gpus", "a100:2"), "gres", "gpu:a100:2"),
        (("--gpus", "0"), "gres", ""),
        (
            ("--slurm", "a-b=1", "c-d=2", "--slurm", "fit.e-f=3"),
            "slurm",
            ("a-b=1", "c-d=2", "fit.e-f=3"),
        ),
    ],
)
def test_flags_as_sbatch_spells_them_and_their_old_names(argv, field, value):
    assert getattr(resolve(parse(*argv)).resources, field) == value


OLD = {"minutes": 90, "eval_minutes": 30, "mem_gib": 7, "eval_mem_gib": 3}


def test_old_presets_and_old_runs_are_read(tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text("[resources]\n" + "".join(f"{key} = {value}\n" for key, value in OLD.items()))
    recorded = {"resources": {"gres": "gpu:1", "slurm": None, **OLD}}
    for found in (resolve({}, preset), resolve({}, base=recorded)):
        r = found.resources
        assert (r.time, r.eval_time, r.mem, r.eval_mem) == ("90", "30", "7G", "3G")
    preset.write_text("[resources]\ntime = 90\nmem = 48000\ngpus = 2\n")
    r = resolve({"mem": "3G"}, preset, base=recorded).resources
    assert (r.time, r.mem, r.gres, r.eval_mem) == ("90", "3G", "gpu:2", "3G")


def test_a_choice_in_a_preset_is_checked(tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text("[sampling]\nbackend = 'magic'")
    with pytest.raises(UsageError, match="--backend magic: must be one of vllm"):
        resolve({}, preset)
