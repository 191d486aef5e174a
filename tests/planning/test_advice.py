"""jobs/plan.py on a pilot: its advice agrees with itself, and launch takes what it suggests."""

import json
import shlex

import pytest
from run_here import here

from toolkit.planning.advice import advice_text
from toolkit.runs.run import open_run

pytestmark = pytest.mark.slow

SMOKE = ("--preset", "smoke", "--launcher", "inline")
PILOT = 164 * 50
"""Samples of the pilot."""


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    run = tmp_path_factory.mktemp("plan") / "pilot"
    done = here("launch", *SMOKE, "--limit", 164, "--samples", 50, "--run", run)
    assert done.code == 0, done.all()
    return run


def plan(pilot, *flags):
    done = here("plan", "--pilot", pilot, "--json", *flags)
    assert done.code == 0, done.all()
    return json.loads(done.out)


def dry_run(command):
    """What launch says to a suggested command, as it is typed, with --dry-run."""
    words = shlex.split(command)
    assert words[:2] == ["python", "jobs/launch.py"]
    return here("launch", *words[2:], "--launcher", "inline", "--dry-run")


RATE = ("--tokens-per-second", 4000, "--usd-per-gpu-hour", 1.8)


def test_a_target_has_a_k_and_costs_with_intervals(pilot):
    found = plan(pilot, "--target", 0.92, *RATE)
    k, fixed, adaptive = found["k"], *(found["designs"][d] for d in ("fixed", "adaptive"))
    assert k["lo"] <= k["estimate"]
    assert fixed["k"] == adaptive["k"] == k["estimate"] > 50
    cost = fixed["cost"]
    assert cost["samples"] == 164 * k["estimate"]
    assert cost["fresh"] == cost["samples"] - PILOT
    assert cost["gpu_hours"] == pytest.approx(cost["tokens"] / 4000 / 3600)
    assert cost["usd"] == pytest.approx(1.8 * cost["gpu_hours"])
    assert 0 < adaptive["cost"]["fresh"] < cost["fresh"] / 2
    assert adaptive["cost"]["samples"] == pytest.approx(adaptive["cost"]["fresh"] + PILOT)
    assert fixed["cost_lo"]["tokens"] <= cost["tokens"]


def test_launch_accepts_each_suggestion_and_plans_its_fresh_samples(pilot):
    """A pilot of 50 refuses the default --stop-min of 20 here: a rule looks where samples end."""
    found = plan(pilot, "--samples", 120, "--stop-min", 20)
    assert found["stopping"] == {"r": 5, "min": 50}
    fixed, adaptive = (found["designs"][d]["command"] for d in ("fixed", "adaptive"))
    done = dry_run(fixed)
    assert done.code == 0, done.all()
    assert f"{164 * 70:,}" in done.out or str(164 * 70) in done.out
    done = dry_run(adaptive)
    assert done.code == 0, done.all()
    assert "looked for after 50, 75, 112, 120 samples" in done.out
    shown = advice_text(found)
    assert f"fixed: {fixed}" in shown
    assert f"adaptive: {adaptive}" in shown
    assert f"the pilot has {PILOT:,} samples" in shown


def test_these_problems_are_those_of_the_report(pilot):
    """Up to k_max it is the unbiased curve: once the plan had a law's mean in its place."""
    found = plan(pilot, "--samples", 20)["designs"]["fixed"]
    fitted = json.loads((pilot / "results" / "fit.json").read_text())
    assert found["these_problems"] == pytest.approx(fitted["pass_at_k"]["20"], abs=1e-12)


def test_what_the_pilot_has_costs_nothing(pilot):
    found = plan(pilot, "--samples", 40)
    for design in found["designs"].values():
        assert design["cost"]["fresh"] == design["cost"]["tokens"] == 0
        assert design["command"] is None
        assert design["cost"]["samples"] == PILOT
    assert "fixed: nothing is missing" in advice_text(found)


def test_what_a_budget_buys_costs_no_more(pilot):
    spent = plan(pilot, "--budget-usd", 2, *RATE)["designs"]
    for design in spent.values():
        assert 1.9 < design["cost"]["usd"] <= 2
        assert design["pass_at_k"] is None or design["lo"] <= design["pass_at_k"] <= design["hi"]
    assert spent["adaptive"]["k"] > spent["fixed"]["k"]
    hours = plan(pilot, "--gpu-hours", 2 / 1.8, *RATE)["designs"]
    assert hours["fixed"]["k"] == spent["fixed"]["k"]


def test_samples_ask_for_the_coverage_there(pilot):
    found = plan(pilot, "--samples", 400)["designs"]["fixed"]
    assert found["k"] == 400
    back = plan(pilot, "--target", round(found["pass_at_k"], 6))["k"]
    assert back["estimate"] == pytest.approx(400, rel=0.01)


def test_tokens_of_a_sample_can_be_given(pilot):
    given = plan(pilot, "--samples", 100, "--tokens-per-sample", 300, *RATE)
    cost = given["designs"]["fixed"]["cost"]
    assert given["tokens_per_sample"] == 300
    assert cost["tokens"] == 300 * cost["fresh"] == 300 * 164 * 50


def test_an_ingested_pilot_asks_for_the_tokens_of_a_sample(pilot, tmp_path):
    source = tmp_path / "samples.jsonl"
    rows = [{"task_id": f"HumanEval/{i % 20}", "completion": "    return 1\n"} for i in range(80)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    run = tmp_path / "run"
    assert here("ingest", source, "--run", run).code == 0
    assert here("evaluate", run).code == 0
    assert here("fit", run, "--replicates", 100).code == 0
    done = here("plan", "--pilot", run, "--budget-usd", 1, *RATE)
    assert done.code == 2
    assert "nobody knows their tokens and what they cost; give --tokens-per-sample" in done.all()
    unknown = plan(run, "--samples", 40)
    assert "unknown: give --tokens-per-sample" in advice_text(unknown)
    flags = ("--samples", 40, "--tokens-per-sample", 100)
    document = plan(run, *flags, *RATE)
    found = document["designs"]["fixed"]
    assert found["command"] is None
    assert found["cost"]["fresh"] == 20 * 40
    assert found["cost"]["tokens"] == 20 * 40 * 100
    assert "no launch goes on with them" in advice_text(document)


def test_a_pilot_that_was_sampled_adaptively_keeps_its_rule(tmp_path):
    run = tmp_path / "run"
    rule = ("--adaptive", "--stop-r", 2, "--stop-min", 8, "--stop-cap", 20)
    done = here("launch", *SMOKE, "--limit", 12, *rule, "--run", run)
    assert done.code == 0, done.all()
    found = plan(run, "--samples", 60)
    assert found["stopping"] == {"r": 2, "min": 8}
    fixed, adaptive = (found["designs"][d] for d in ("fixed", "adaptive"))
    assert fixed["command"] is None
    assert fixed["cost"]["fresh"] == 12 * 60
    assert adaptive["command"].endswith("--adaptive --stop-r 2 --stop-min 8 --stop-cap 60")
    done = dry_run(adaptive["command"])
    assert done.code == 0, done.all()
    assert found["pilot_samples"] == sum(len(s) for s in open_run(run).slices())


def test_gpt4o_is_named_on_the_whole_of_humaneval(pilot):
    done = here("plan", "--pilot", pilot, "--target", 0.9999999)
    assert done.code == 0
    assert "is not reached at any k up to " in done.out
    assert "GPT-4o, one try (90.2%) is overtaken at k = " in done.out
    report = (pilot / "results/report.md").read_text()
    assert "GPT-4o, one try (90.2 %) at k = " in report
    assert "so its own 95 % interval is 84.6 % to 94.3 % (exact binomial)" in report


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
        (("--samples", 9, "--tokens-per-sample", 0), "--tokens-per-sample 0.0: must be over 0"),
        (("--budget-usd", 1e-9, *RATE), "does not pay for one more sample of every problem"),
        (("--pilot", "nowhere", "--target", 0.9), "nowhere: no run here"),
    ],
)
def test_bad_questions_are_refused_in_one_line(pilot, flags, says):
    done = here("plan", *(() if "--pilot" in flags else ("--pilot", pilot)), *flags)
    assert done.code == 2
    assert says in done.errors[-1]
