"""jobs/plan.py on a pilot: its advice agrees with itself and with the forecast."""

import json

import pytest
from run_jobs import job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    flags = ("--preset", "smoke", "--launcher", "inline", "--limit", 164, "--samples", 50)
    done = job("launch.py", *flags, "--run", "pilot", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def plan(folder, *flags):
    done = job("plan.py", "--pilot", "pilot", "--json", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RATE = ("--tokens-per-second", 4000, "--usd-per-gpu-hour", 1.8)


def test_a_target_has_a_k_and_costs_with_intervals(pilot):
    found = plan(pilot, "--target", 0.92, *RATE)
    k, fixed, adaptive = found["k"], *(found["designs"][d] for d in ("fixed", "adaptive"))
    assert k["lo"] <= k["estimate"]
    assert fixed["k"] == adaptive["k"] == k["estimate"] > 50
    cost = fixed["cost"]
    assert cost["samples"] == 164 * k["estimate"]
    assert cost["gpu_hours"] == pytest.approx(cost["tokens"] / 4000 / 3600)
    assert cost["usd"] == pytest.approx(1.8 * cost["gpu_hours"])
    assert adaptive["cost"]["samples"] < cost["samples"] / 2
    assert fixed["cost_lo"]["tokens"] <= cost["tokens"]


def test_what_a_budget_buys_costs_no_more(pilot):
    spent = plan(pilot, "--budget-usd", 2, *RATE)["designs"]
    for design in spent.values():
        assert 1.9 < design["cost"]["usd"] <= 2
        assert design["lo"] <= design["pass_at_k"] <= design["hi"]
    assert spent["adaptive"]["k"] > spent["fixed"]["k"]
    hours = plan(pilot, "--gpu-hours", 2 / 1.8, *RATE)["designs"]
    assert hours["fixed"]["k"] == spent["fixed"]["k"]


def test_samples_ask_for_the_coverage_there(pilot):
    found = plan(pilot, "--samples", 1000)["designs"]["fixed"]
    assert found["k"] == 1000
    back = plan(pilot, "--target", round(found["pass_at_k"], 6))["k"]
    assert back["estimate"] == pytest.approx(1000, rel=0.01)


def test_gpt4o_is_named_on_the_whole_of_humaneval(pilot):
    done = job("plan.py", "--pilot", "pilot", "--target", 0.999, cwd=pilot)
    assert done.returncode == 0
    assert "is not reached at any k up to 10,000,000" in done.stdout
    assert "GPT-4o, one try (90.2%) is overtaken at k = " in done.stdout
    report = (pilot / "pilot/results/report.md").read_text()
    assert "GPT-4o, one try (90.2 %) at k = " in report


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "one of the arguments --target --samples --budget-usd --gpu-hours is required"),
        (("--target", 1.5), "--target 1.5: a coverage"),
        (("--samples", 0), "--samples 0: must be over 0"),
        (
            ("--budget-usd", 1, "--tokens-per-second", -1),
            "--tokens-per-second -1.0: must be over 0",
        ),
        (("--budget-usd", 1e-9, *RATE), "does not pay for one sample of every problem"),
        (("--pilot", "nowhere", "--target", 0.9), "nowhere: no run here"),
    ],
)
def test_bad_questions_are_refused_in_one_line(pilot, flags, says):
    done = job("plan.py", *(() if "--pilot" in flags else ("--pilot", "pilot")), *flags, cwd=pilot)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
