import dataclasses

import pytest

from toolkit.config import Config, ProblemSet, Quantity, Resources, Sampling
from toolkit.errors import RunMismatch, UsageError
from toolkit.launch.identity import model_identity, run_identity
from toolkit.launch.prepare import freeze_launch, plan_launch, tasks_of
from toolkit.problems.load import load_problems

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=3),
    quantity=Quantity(samples=10, slice_samples=6, slice_seeds=5),
)


def with_(config, section, **changes):
    return dataclasses.replace(
        config, **{section: dataclasses.replace(getattr(config, section), **changes)}
    )


def test_planning_reads_only(tmp_path):
    plan = plan_launch(CONFIG, tmp_path)
    assert plan.planned == plan.samples_missing == 30
    assert not list(tmp_path.iterdir())


def test_array_and_resources_are_not_identity(tmp_path):
    plan = plan_launch(CONFIG, tmp_path)
    freeze_launch(plan)
    other = plan_launch(with_(CONFIG, "resources", array=3, partition="gpu"), tmp_path)
    assert other.path == plan.path
    assert not other.new
    assert [s.name for s in other.missing] == [s.name for s in plan.missing]
    assert len(tasks_of(plan)) == 1
    assert len(tasks_of(other)) == 3


def test_more_samples_plan_only_the_new_seeds(tmp_path):
    first = plan_launch(CONFIG, tmp_path)
    freeze_launch(first)
    more = plan_launch(with_(CONFIG, "quantity", samples=25), tmp_path)
    assert more.path == first.path
    assert sum(map(len, more.new)) == 45
    assert min(r.seed_start for s in more.new for r in s.ranges) == 10
    run = freeze_launch(more)
    assert run.round_count() == 2
    fewer = plan_launch(CONFIG, tmp_path)
    assert not fewer.new
    assert fewer.planned == 75


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("sampling", {"base_seed": 1}),
        ("sampling", {"prompt_style": "completion"}),
        ("sampling", {"synthetic_a": 1.0}),
        ("problem_set", {"limit": 4}),
    ],
)
def test_what_is_computed_is_identity(tmp_path, section, changes):
    plan = plan_launch(CONFIG, tmp_path)
    run = freeze_launch(plan)
    other = with_(CONFIG, section, **changes)
    assert plan_launch(other, tmp_path).path != plan.path
    with pytest.raises(RunMismatch, match="made with another configuration"):
        plan_launch(other, tmp_path, run.path)


def test_every_sampling_knob_of_a_model_is_identity():
    problems = load_problems(limit=2)
    base = Config(sampling=Sampling(model="org/name"))
    known = run_identity(base, problems)
    others = {"model": "org/other", "revision": "v2", "temperature": 0.1, "top_p": 0.5}
    for knob, value in (others | {"max_tokens": 7, "stop": ("x",), "base_seed": 3}).items():
        assert run_identity(with_(base, "sampling", **{knob: value}), problems) != known, knob
    assert run_identity(dataclasses.replace(base, resources=Resources(array=7)), problems) == known


def test_a_local_model_may_move_but_not_change(tmp_path):
    one, two = tmp_path / "a" / "model", tmp_path / "b" / "model"
    for path in (one, two):
        path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(b"12")
    assert model_identity(str(one), "") == model_identity(str(two), "")
    (two / "model.safetensors").write_bytes(b"123")
    assert model_identity(str(one), "") != model_identity(str(two), "")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("/no/such", "no such directory"),
        ("./nothing", "no such directory"),
        ("name", "ORGANISATION/NAME"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused(model, says):
    with pytest.raises(UsageError, match=says):
        model_identity(model, "")


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has no config\.json"):
        model_identity(str(tmp_path), "")
