"""The simulated array: what must hold whatever the constants, and the size that it chose."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from run_jobs import ROOT, job

from toolkit.planning.simulation import (
    KV_BYTES,
    REACHED_BANDWIDTH,
    WEIGHT_BYTES,
    Cluster,
    EngineModel,
    draw_lengths,
    largest_within,
    play,
    simulate,
    sweep,
)
from toolkit.resolve import resolve
from toolkit.runs.slices import plan_round

IDS = [f"HumanEval/{i}" for i in range(164)]
CALM = Cluster(tasks=1, startup_seconds=0, speed_spread=0, preemptions=0, write_seconds=0)


def planned(samples, size, ids=IDS):
    return plan_round(0, dict.fromkeys(ids, samples), {}, slice_samples=size, slice_seeds=size)


def drawn(samples=200, seed=0):
    return draw_lengths(IDS, samples, np.random.default_rng(seed))


def run(slices, lengths, cluster, engine=None, seed=1):
    return simulate(slices, lengths, engine or EngineModel(), cluster, np.random.default_rng(seed))


def test_lengths_are_as_documented():
    lengths = np.concatenate(list(drawn(1000).values()))
    assert lengths.min() >= 1
    assert lengths.max() == 1024
    assert 0.004 < (lengths == 1024).mean() < 0.007
    means = [n[n < 1024].mean() for n in drawn(1000).values()]
    assert np.mean(means) == pytest.approx(125, rel=0.1)
    assert np.std(means) / np.mean(means) == pytest.approx(0.47, abs=0.1)


def test_one_task_is_the_sum_of_its_steps():
    """Samples of one length run in rounds of a full batch: the closed form."""
    length, batch, rounds = 50, 8, 5
    engine = EngineModel(batch=batch, per_sequence=1e-4, uncached=0, prompt=30)
    lengths = {"a": np.full(batch * rounds, length)}
    outcome = run(planned(batch * rounds, 16, ["a"]), lengths, CALM, engine)
    held = sum(batch * (30 + j) for j in range(length))
    step_sum = length * (WEIGHT_BYTES / (REACHED_BANDWIDTH * engine.bandwidth) + batch * 1e-4)
    step_sum += held * KV_BYTES / (REACHED_BANDWIDTH * engine.bandwidth)
    first_prompt = float(
        engine.step_seconds(np.zeros(1), np.zeros(1), np.full(1, 30.0))[0]
        - engine.step_seconds(*np.zeros((3, 1)))[0]
    )
    assert outcome.wall == pytest.approx(rounds * step_sum + first_prompt)
    assert outcome.idle_share == pytest.approx(0, abs=1e-9)
    assert outcome.lost_seconds == 0


def test_a_calibrated_engine_has_its_speed():
    lengths = drawn(400)
    every = np.concatenate(list(lengths.values())).astype(float)
    engine = EngineModel().calibrated(4000, every)
    life = play(planned(400, 400), lengths, engine, 1.0, 0.0)
    full = np.flatnonzero(life.full)
    made = 256 * len(full)
    assert made / life.busy(life.seconds) == pytest.approx(4000, rel=0.02)
    assert EngineModel().calibrated(1e9, every).per_sequence == 0


@pytest.mark.parametrize("preemptions", [0, 1, 3])
def test_every_slice_ends_once_and_every_sample_is_in_one(preemptions):
    slices, lengths = planned(200, 125), drawn()
    outcome = run(slices, lengths, Cluster(preemptions=preemptions))
    assert outcome.done.keys() == {s.name for s in slices}
    assert max(outcome.done.values()) == pytest.approx(outcome.wall)
    life = play(slices, lengths, EngineModel(), 1.0, 0.1)
    assert (life.last - life.first).sum() == sum(n.sum() for n in lengths.values())
    running = np.zeros(life.last.max() + 1)
    np.add.at(running, life.first, 1)
    np.add.at(running, life.last, -1)
    assert np.cumsum(running).max() == 256


@pytest.mark.parametrize("size", [50, 200, 1000])
def test_what_is_lost_is_what_the_open_slices_had(size):
    slices, lengths = planned(200, size), drawn()
    life = play(slices, lengths, EngineModel(), 1.0, 0.0)
    tokens = life.last - life.first
    steps = life.last.max() + 1
    running = np.cumsum(np.bincount(life.first, minlength=steps) - np.bincount(life.last))
    for at in np.linspace(0.1, 1.0, 7) * life.seconds:
        step = int(np.searchsorted(life.clock, at, side="right")) - 1
        made = running[:step].sum()
        kept = tokens[(life.ends <= at)[life.owner]].sum()
        assert at - life.lost(at) == pytest.approx(at * kept / made)


@pytest.mark.parametrize("seed", range(5))
def test_a_preemption_costs_a_pause_a_start_and_what_was_lost(seed):
    slices, lengths = planned(200, 125), drawn()
    calm, struck = (
        run(slices, lengths, Cluster(tasks=1, preemptions=n), seed=seed) for n in (0, 1)
    )
    # The shards that were written stay; only what had none is sampled again.
    kept = [n for n, at in calm.done.items() if struck.done[n] == at]
    assert kept
    assert len(kept) < len(slices)
    later = struck.wall - calm.wall
    assert later == pytest.approx(60 + 90 + struck.lost_seconds, abs=10)
    assert struck.gpu_seconds - calm.gpu_seconds == pytest.approx(later - 60)


def test_smaller_slices_lose_less():
    sizes, draw = [(50, 50), (400, 200), (2000, 200)], partial(draw_lengths, IDS, 200)
    outcomes = sweep(IDS, 200, sizes, EngineModel(), Cluster(), draw, 8)
    lost = [np.mean([o.lost_seconds for o in found]) for found in outcomes.values()]
    assert lost == sorted(lost)
    assert lost[0] > 0


def test_the_largest_size_within_a_percent():
    walls = {
        10: np.array([100.0]),
        50: np.array([99.5]),
        90: np.array([100.4]),
        95: np.array([102]),
    }
    assert largest_within(walls) == 90


@pytest.mark.slow
def test_the_presets_slices_are_near_the_simulated_best():
    config = resolve({}, ROOT / "jobs/presets/llama-8b-a100.toml")
    own = config.quantity.slice_samples
    every = np.concatenate(list(drawn(1000).values())).astype(float)
    outcomes = sweep(
        IDS,
        config.quantity.samples,
        [(n, min(n, 125)) for n in (32, 64, own, 500, 2000)],
        EngineModel(config.engine.max_num_seqs).calibrated(4000, every),
        Cluster(tasks=config.resources.array),
        partial(draw_lengths, IDS, config.quantity.samples),
        12,
    )
    walls = {size: np.mean([o.wall for o in found]) for size, found in outcomes.items()}
    assert walls[own] <= 1.02 * min(walls.values())
    assert walls[2000] > 1.02 * min(walls.values())


@pytest.mark.slow
def test_the_script_takes_the_lengths_of_a_run(tmp_path):
    flags = ("--preset", "smoke", "--launcher", "inline", "--limit", "8", "--run", "run")
    assert job("launch.py", *flags, cwd=tmp_path).returncode == 0
    simulate_flags = ("--preset", "smoke", "--sizes", "4", "16", "--repeats", "2")
    done = subprocess.run(
        [sys.executable, ROOT / "analysis/simulate.py", *simulate_flags, "--lengths", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "the largest within 1 % of the least wall time" in done.stdout
    assert (tmp_path / "simulate.png").stat().st_size > 4000
