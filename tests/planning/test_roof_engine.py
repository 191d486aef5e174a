"""The simulated engine by its roof: hand arithmetic, its speed in an array, and the script's flags."""

import json
import runpy
import sys
from dataclasses import asdict

import numpy as np
import pytest
from llama_8b import LLAMA_8B
from run_jobs import ROOT

from toolkit.errors import UsageError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.planning.roof_engine import RoofEngine
from toolkit.planning.simulation import draw_lengths, play
from toolkit.records import EngineFacts, Sample
from toolkit.resolve import resolve
from toolkit.runs.roof import read_roof
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts, Times, TokenCounts
from toolkit.runs.shards import write_shard
from toolkit.runs.slices import plan_round
from toolkit.stats.roofline import Roof, Shape, card_of

SHAPE = Shape(7_504_658_432, 131_072)
MIXTURE = Shape(1e9, 65_536, experts=4e10, expert_share=0.25)
H100 = card_of("H100")


def steps(engine, *rows):
    return engine.step_seconds(*np.array(rows, dtype=float).T)


def test_steps_by_hand():
    engine = RoofEngine(SHAPE, H100, 256, share=0.5)
    full, prefill, alone = steps(engine, (256, 256 * 400, 0), (256, 256 * 400, 1000), (1, 200, 0))
    # 15.01 GB / 3.35 TB/s = 4.480 ms is more than 3.842 TFLOP / 989 TF; 13.42 GB are 4.006 ms.
    assert full == pytest.approx(2 * (4.4804e-3 + 4.0063e-3), rel=1e-3)
    # 1,256 tokens are multiplied: 18.85 TFLOP / 989 TF = 19.06 ms.
    assert prefill == pytest.approx(2 * (19.062e-3 + 4.0063e-3), rel=1e-3)
    assert alone == pytest.approx(2 * (4.4804e-3 + 7.825e-6), rel=1e-3)


@pytest.mark.parametrize("shape", [SHAPE, MIXTURE])
@pytest.mark.parametrize("running", [1, 7, 256])
def test_without_prefill_a_step_is_that_of_the_roof(shape, running):
    (found,) = steps(RoofEngine(shape, H100, 256, share=1.0), (running, running * 300, 0))
    assert found == pytest.approx(Roof(shape, H100, running, 300).step_seconds)


def test_a_full_batch_has_the_speed_that_the_engine_tells():
    lengths = draw_lengths([str(i) for i in range(40)], 100, np.random.default_rng(0))
    every = np.concatenate(list(lengths.values())).astype(float)
    engine = RoofEngine(SHAPE, H100, 64, uncached=0)
    slices = plan_round(0, dict.fromkeys(lengths, 100), {}, slice_samples=100, slice_seeds=100)
    life = play(slices, lengths, engine, 1.0, 0.0)
    told = float(engine.line(every).split()[0].replace(",", ""))
    assert 64 * life.full.sum() / life.busy(life.seconds) == pytest.approx(told, rel=0.03)


def simulated(*flags):
    sys.argv = ["simulate.py", "--preset", "smoke", "--sizes", "4", "--repeats", "1", *flags]
    return runpy.run_path(str(ROOT / "analysis/simulate.py"))["main"]()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    return tmp_path


def make_run(folder, shape):
    flags = {"backend": "synthetic", "limit": 1, "samples": 2, "slice_samples": 2}
    run = freeze_launch(plan_launch(resolve(flags), folder, folder / "run"))
    (slice_,) = run.slices()
    engine = EngineFacts(
        device="NVIDIA H200",
        tensor_parallel_size=1,
        shape=shape and json.dumps(asdict(shape)),
    )
    facts = ShardFacts(
        Origin(host="n1"),
        engine=engine,
        start=EngineStart(max_num_seqs=32),
        times=Times(0.0, 10.0),
        tokens=TokenCounts(20_000, 400, 0),
    )
    rows = [Sample(*key, "x", 1, "stop") for key in slice_.sample_keys()]
    write_shard(run, slice_, rows, facts)
    return run


@pytest.mark.slow
def test_the_script_takes_the_roof_of_a_card_and_of_a_run(here, capsys):
    assert simulated("--card", "NVIDIA H100 80GB HBM3", "--shape-of", "config.json") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("engine: ")]
    assert "tokens/s, 65% of the roof of " in line
    assert "(H100, " in line
    run = make_run(here, SHAPE)
    assert simulated("--like", "run", "--out", "like") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("engine: ")]
    assert f" {read_roof(run).share:.0%} of the roof of " in line
    assert "(H200, " in line
    assert (here / "like.png").stat().st_size > 4000


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--card", "H100"), "--card and --shape-of: give both"),
        (("--card", "RTX", "--shape-of", "config.json"), "--card RTX: not known; known: A10, "),
        (("--card", "H100", "--shape-of", "none"), "--shape-of none: cannot be read"),
        (("--card", "H100", "--shape-of", "list.json"), "is no config.json of a model"),
        (("--card", "H100", "--shape-of", "mamba.json"), "has no roof here; give --tokens"),
        (("--like", "run"), "do not tell the card and the model's shape"),
        (("--like", "run", "--tokens-per-second", "4000"), "give one of them"),
        (("--share-of-roof", "0.5"), "of which roof?"),
        (("--like", "run", "--share-of-roof", "1.5"), "--share-of-roof 1.5: must be over 0"),
    ],
)
def test_a_speed_that_cannot_be_told_is_refused(here, flags, says):
    (here / "list.json").write_text("[]")
    (here / "mamba.json").write_text(json.dumps(LLAMA_8B | {"model_type": "mamba"}))
    read_roof(make_run(here, None))  # it keeps a cache in the run
    before = sorted(here.rglob("*"))
    with pytest.raises(UsageError) as caught:
        simulated(*flags)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(here.rglob("*")) == before
