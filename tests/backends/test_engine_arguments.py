"""Arguments of vLLM's engine: from flags and presets, checked against what a version has."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from toolkit.backends.engine_arguments import arguments_of, speculation_of
from toolkit.errors import UsageError
from toolkit.launch.identity import run_identity
from toolkit.passed_on import CHANGE_SAMPLES, OWN_FLAGS, engine_arguments
from toolkit.resolve import read_site, resolve
from toolkit.runs.history import versions
from toolkit.runs.run import identity_digest
from toolkit.stages.task import load_task

PRESETS = Path(__file__).resolve().parents[2] / "toolkit" / "presets"
METHODS = ("ngram", "ngram_gpu", "suffix", "eagle")


@pytest.fixture(scope="module")
def known():
    """The arguments of the installed vLLM, read from its source: importing it takes long."""
    package = importlib.util.find_spec("vllm")
    if package is None:
        pytest.skip("no vLLM is installed")
    source = Path(package.origin).with_name("engine") / "arg_utils.py"
    classes = [n for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.ClassDef)]
    (found,) = [c for c in classes if c.name == "EngineArgs"]
    return {n.target.id for n in found.body if isinstance(n, ast.AnnAssign)}


def given(known, on_cpu=False, **flags):
    return arguments_of(resolve(flags), known, METHODS, 0, on_cpu=on_cpu)


def test_the_installed_vllm_has_every_argument_that_is_set(known):
    flags = {"store_logprob": True, "speculation": "ngram", "max_num_batched_tokens": 8192}
    for on_cpu in (True, False):
        assert given(known, on_cpu, **flags).keys() <= known


def test_the_installed_vllm_has_what_other_flags_set_and_most_that_changes_samples(known):
    assert OWN_FLAGS.keys() <= known
    # The others belong to other versions.
    assert {"quantization", "kv_cache_dtype", "hf_overrides", "load_format"} <= known
    assert len(known & set(CHANGE_SAMPLES)) > len(CHANGE_SAMPLES) // 2


def test_an_argument_of_the_user_reaches_the_engine_over_ours(known):
    asked = ["kv_cache_dtype=fp8", "enable_prefix_caching=false", 'compilation_config={"level": 0}']
    found = given(known, engine_arg=asked)
    assert found["kv_cache_dtype"] == "fp8"
    assert found["enable_prefix_caching"] is False
    assert found["compilation_config"] == {"level": 0}


def test_an_unknown_argument_is_refused_with_the_nearest(known):
    with pytest.raises(
        UsageError, match=r"--engine-arg kv_cache_dtyp: .*nearest is kv_cache_dtype"
    ):
        given(known, engine_arg=["kv_cache_dtyp=fp8"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fp8", "must be key=value"),
        ("dtype=float16", "give --dtype itself"),
        ("seed=3", "--base-seed"),
        ("hf_token=x", "HF_TOKEN"),
    ],
)
def test_what_another_flag_sets_is_refused_before_the_launch(text, says):
    with pytest.raises(UsageError, match=says):
        resolve({"engine_arg": [text]})


def test_an_older_vllm_gets_only_what_it_has():
    known = {"revision", "dtype", "seed", "max_num_seqs"}
    found = given(known, store_logprob=True)
    assert "disable_log_stats" not in found
    assert "logprobs_mode" not in found


def test_speculation_is_what_the_installed_vllm_can():
    assert speculation_of("off", METHODS, on_cpu=False) is None
    assert speculation_of("ngram", METHODS, on_cpu=False)["method"] == "ngram_gpu"
    assert speculation_of("ngram", METHODS, on_cpu=True)["method"] == "ngram"
    assert speculation_of("ngram", ["ngram"], on_cpu=False)["method"] == "ngram"
    assert speculation_of("suffix", METHODS, on_cpu=False) == {"method": "suffix"}
    with pytest.raises(UsageError, match=r"--speculation suffix: .* only ngram;"):
        speculation_of("suffix", ["ngram", "eagle"], on_cpu=False)


def test_a_preset_has_them_as_a_table(tmp_path):
    preset = tmp_path / "p.toml"
    preset.write_text(
        '[engine]\nmax_num_seqs = 8\n[engine.args]\nkv_cache_dtype = "fp8"\nx = [1]\n'
    )
    engine = resolve({}, preset).engine
    assert engine.max_num_seqs == 8
    assert engine_arguments(engine) == {"kv_cache_dtype": "fp8", "x": [1]}


def test_a_site_file_has_only_what_leaves_the_samples_alone(tmp_path):
    site = tmp_path / "site.toml"
    site.write_text("[engine.args]\nenforce_eager = true\n")
    assert read_site(site)["engine"]["engine_arg"] == ("enforce_eager=true",)
    site.write_text('[engine.args]\nquantization = "fp8"\n')
    with pytest.raises(UsageError, match=r"\[engine.args\] quantization: changes what is sampled"):
        read_site(site)


def test_no_preset_has_a_batch_that_the_installed_vllm_captures_no_graph_for(known):
    package = Path(importlib.util.find_spec("vllm").origin).parent
    source = (package / "config" / "vllm.py").read_text()
    # The default of vLLM: 1,024 on Blackwell, `usual` elsewhere.
    found = re.search(r"default_max_graph_size = \(\s*\d+ if .*? else (\d+)\s*\)", source, re.S)
    usual = int(found[1])
    for preset in sorted(PRESETS.glob("*.toml")):
        engine = resolve({}, preset).engine
        asked = engine_arguments(engine).get("compilation_config", {})
        most = asked.get("max_cudagraph_capture_size", usual)
        assert engine.max_num_seqs <= most, preset.name


def test_a_launch_records_the_version_of_vllm(known):
    package = Path(importlib.util.find_spec("vllm").origin).parent
    (folder,) = package.parent.glob("vllm*.dist-info")
    installed = re.search(r"^Version: (\S+)", (folder / "METADATA").read_text(), re.M)
    assert versions()["vllm"] == installed[1]


def test_only_what_changes_the_samples_is_identity():
    problems = load_task(limit=1).problems
    plain = run_identity(resolve({}), problems)
    assert "engine_args" not in plain
    for same in (
        {"seeded": False},
        {"speculation": "ngram"},
        {"share_prefixes": True},
        {"engine_arg": ["enforce_eager=true", "block_size=16"]},
    ):
        assert run_identity(resolve(same), problems) == plain
    fp8 = run_identity(resolve({"engine_arg": ["kv_cache_dtype=fp8", "x=1"]}), problems)
    assert fp8 == plain | {"engine_args": {"kv_cache_dtype": "fp8"}}
    assert identity_digest(fp8) != identity_digest(plain)
    again = resolve({"engine_arg": ["quantization=fp8", "kv_cache_dtype=fp8"]})
    turned = resolve({"engine_arg": ["kv_cache_dtype=fp8", "quantization=fp8"]})
    assert run_identity(again, problems) == run_identity(turned, problems)
