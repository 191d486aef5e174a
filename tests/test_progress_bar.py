"""What a user sees on a terminal: bars in its width, one line at Ctrl-C; and no bar in a log."""

import re

import pytest
from run_jobs import SMOKE, job
from terminal import INTERRUPT, job_on_terminal

from toolkit.progress_bar import time_left
from toolkit.stages.progress import SamplingProgress

SLOW = ("--preset", "smoke", "--limit", "4", "--samples", "400", "--synthetic-rate", "20")


def bars(text, what):
    """The lines of a bar as they were shown, one after the other."""
    return [line for line in re.split(r"[\r\n]+", text) if line.startswith(f"{what} ")]


@pytest.mark.slow
def test_bars_fit_the_terminal_and_end_full(tmp_path):
    flags = (*SMOKE[:4], "--limit", "8", "--samples", "40", "--run", "a")
    code, shown = job_on_terminal("launch.py", *flags, cwd=tmp_path, columns=64)
    assert code == 0, shown
    for what, total in (("sampled", "320 samples"), ("judged", r"\d+ answers")):
        lines = bars(shown, what)
        assert re.search(rf"100%\|█+\| (\d+)/{total}", lines[-1]), lines
        assert max(map(len, lines)) <= 64
        assert "inf" not in "".join(lines)
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_log_has_no_bar(tmp_path):
    done = job("launch.py", *SMOKE, "--run", "a", cwd=tmp_path)
    assert done.returncode == 0
    assert "%|" not in done.stderr
    assert "8/8 samples, " in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "after"), [("inline", r"sampled +\d+%.* [1-9]\d*/1600"), ("local", "sampled +0%")]
)
def test_ctrl_c_is_one_line_and_says_what_is_kept(launcher, after, tmp_path):
    flags = (*SLOW, "--launcher", launcher, "--run", "a")
    code, shown = job_on_terminal("launch.py", *flags, cwd=tmp_path, keys=INTERRUPT, after=after)
    assert code == 1, shown
    assert "Traceback" not in shown
    assert bars(shown, "sampled")
    last = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("launch.py: ")]
    assert len(last) == 1
    assert "finished samples are kept" in last[0]


def test_time_left_is_in_words():
    assert [time_left(t) for t in (None, 5, 600, 7200)] == [
        "",
        "5 s left",
        "10.0 min left",
        "2.0 h left",
    ]


def test_the_time_left_is_that_of_the_tokens_to_come():
    progress = SamplingProgress(planned_samples=70)
    progress.started -= 10
    one, other = progress.engine(), progress.engine()
    one.in_flight, other.in_flight = 4, 3
    assert progress.note() == "7 in flight, 0 tokens/s"
    one.samples, one.tokens, other.samples, other.tokens = 6, 700, 4, 300
    assert progress.note() == "7 in flight, 100 tokens/s, 60 s left"
