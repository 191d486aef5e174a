"""The size of a slice where nobody says: the usual one, larger in a very large round."""

import pytest

from toolkit.launch.describe import describe_plan
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.slice_size import slice_size
from toolkit.resolve import resolve

LARGE = 100_000_000
FLAGS = {"backend": "synthetic", "limit": 1}


def size(new, **flags):
    return slice_size(resolve(FLAGS | flags), new, None)


def test_ordinary_rounds_have_the_usual_size():
    assert size(1) == size(164_000) == size(20_480_000) == 2048


def test_ten_thousand_samples_of_ten_thousand_problems_are_under_ten_thousand_slices():
    assert size(LARGE) == 79 * 128
    assert 9_800 < LARGE / size(LARGE) < 10_000
    assert size(LARGE, slice_seeds=100) == 10_000


def test_each_engine_has_eight_slices_or_more():
    assert size(LARGE, array=1000, engines_per_task=2) == LARGE // 16_000


@pytest.mark.parametrize(("time", "expected"), [("4:00:00", 3600), ("2:00:00", 2048)])
def test_a_larger_slice_takes_a_quarter_of_the_time_limit_at_most(time, expected):
    """Long thoughts: 4,000 tokens a sample at 4,000 tokens/s are assumed."""
    long = {"max_tokens": 32_768, "max_model_len": 40_000}
    assert size(LARGE, time=time, **long) == expected
    assert size(LARGE, time="UNLIMITED", **long) == 79 * 128


def test_a_size_that_is_given_holds():
    assert size(LARGE, slice_samples=125) == 125
    assert size(LARGE, slice_samples=50_000) == 50_000


def test_the_same_flags_extend_a_run_whose_size_was_recorded(tmp_path):
    """Versions before recorded 2048 where nothing was given."""
    first = plan_launch(resolve(FLAGS | {"samples": 3000, "slice_samples": 2048}), tmp_path)
    assert [len(s) for s in first.new] == [2048, 952]
    freeze_launch(first)
    more = plan_launch(resolve(FLAGS | {"samples": 6000}), tmp_path)
    assert more.path == first.path
    assert more.exists
    assert [len(s) for s in more.new] == [2048, 952]
    same = plan_launch(resolve(FLAGS | {"samples": 3000}), tmp_path)
    assert not same.new
    assert same.missing == first.missing


def test_far_too_many_slices_are_named_and_the_remedy_works(tmp_path):
    flags = FLAGS | {"samples": 20_001, "slice_samples": 1}
    plan = plan_launch(resolve(flags), tmp_path)
    (line,) = [s for s in describe_plan(plan, "local", [[]]).splitlines() if "warning" in s]
    assert line == (
        "warning    20,001 new slices of 1 become 40,002 files in two directories: "
        "give --slice-samples 0, which takes a size that fits"
    )
    mended = plan_launch(resolve(flags | {"slice_samples": 0}), tmp_path)
    assert len(mended.new) == 10
    assert "warning" not in describe_plan(mended, "local", [[]])
