"""The doctor on the options of vLLM's engine, by the list of the vLLM that is installed."""

import importlib.util
import re

import pytest

from toolkit.backends.installed_vllm import installed_vllm, is_installed
from toolkit.launch.doctor_engine import examine_engine
from toolkit.resolve import resolve

VLLM = {"backend": "vllm", "model": "org/model"}


def lines(**flags):
    return [finding.line() for finding in examine_engine(resolve(VLLM | flags))]


@pytest.mark.slow
@pytest.mark.vllm
def test_the_installed_vllm_says_what_it_has():
    found = installed_vllm()
    assert re.match(r"\d+\.\d+", found.version)
    assert {"kv_cache_dtype", "speculative_config", "max_num_seqs"} <= found.arguments
    assert "ngram" in found.speculation
    assert lines(engine_arg=["kv_cache_dtype=fp8"], speculation="ngram") == [
        f"ok    engine        vLLM {found.version} has --engine-arg kv_cache_dtype, "
        "--speculation ngram"
    ]
    (line,) = lines(engine_arg=["enforce_eager=true", "kv_cache_dtyp=fp8"])
    assert line == (
        "fail  engine        --engine-arg kv_cache_dtyp: the installed vLLM has no such argument; "
        "the nearest is kv_cache_dtype"
    )


def test_without_vllm_the_doctor_says_who_checks(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name)
    )
    assert not is_installed()
    (line,) = lines(speculation="suffix")
    assert line.startswith(
        "warn  engine        --speculation suffix: not checked, no vLLM is here; "
    )
    assert "each array task checks them when its engine starts" in line


def test_a_container_has_a_vllm_of_its_own():
    (line,) = lines(engine_arg=["x=1"], container="apptainer exec --nv vllm.sif")
    assert line.startswith("warn  engine        --engine-arg x: not checked, vLLM is in the contai")


def test_nothing_is_said_where_nothing_is_asked():
    assert lines() == []
    assert lines(engine_arg=["x=1"], backend="synthetic") == []
