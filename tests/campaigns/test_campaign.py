"""A study on this machine, from its file to its comparison, through the command itself."""

import json
import sys

import pytest
from run_jobs import files

from toolkit.campaigns.record import RECORD, read_record
from toolkit.campaigns.study import read_study
from toolkit.campaigns.submit import read_queue
from toolkit.commands.campaign import main
from toolkit.errors import CorruptShard, ToolkitError, UsageError

STUDY = """
[all]
preset = "smoke"
launcher = "inline"
limit = 2
samples = 4

[[cross.model]]
name = "easy"
synthetic_a = 2.0

[[cross.model]]
name = "hard"
synthetic_b = 2.0
"""
MORE = '\n[[run]]\nname = "seeded"\nbase_seed = 7\nsamples = 4\n'


@pytest.fixture
def campaign(tmp_path, monkeypatch, capsys):
    """Calls the command in a folder with a study file; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def call(text, *flags):
        (tmp_path / "study.toml").write_text(text)
        monkeypatch.setattr(sys, "argv", ["campaign.py", "study.toml", *flags])
        code = main()
        return code, capsys.readouterr().out

    return call


def status(campaign, text):
    code, said = campaign(text, "--status", "--json")
    told = json.loads(said)
    assert (code == 0) == told["complete"]
    return told, {row["name"]: row["state"] for row in told["rows"]}


@pytest.mark.slow
def test_a_study_fails_goes_on_grows_and_loses_runs(campaign, tmp_path):
    code, said = campaign(STUDY, "--dry-run")
    assert code == 0
    assert "easy         8" in said
    assert "all         16" in said
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "campaigns").exists()
    assert status(campaign, STUDY)[1] == {"easy": "new", "hard": "new"}
    # A run that fails does not end the others, and the next call does it.
    (easy,) = (line.split()[-2] for line in said.splitlines() if line.startswith("easy "))
    (tmp_path / "runs").mkdir()
    (tmp_path / easy).write_text("in the way")
    code, said = campaign(STUDY)
    assert code == 1
    assert "Not fitted yet: easy." in said
    assert status(campaign, STUDY)[1] == {"easy": "new", "hard": "done"}
    (tmp_path / easy).unlink()
    code, said = campaign(STUDY)
    assert code == 0, said
    report = tmp_path / "campaigns/study/comparison/comparison.json"
    assert list(json.loads(report.read_text())["tasks"]["humaneval"]["runs"]) == ["easy", "hard"]
    told, states = status(campaign, STUDY)
    assert states == {"easy": "done", "hard": "done"}
    assert (told["total"]["samples"], told["total"]["evaluated"]) == (16, 16)
    # Nothing that is done is touched; a run of another model takes the place of one.
    before = files(tmp_path / "runs")
    changed = STUDY.replace('[[cross.model]]\nname = "hard"\nsynthetic_b = 2.0\n', "") + MORE
    assert status(campaign, changed)[1] == {"easy": "done", "seeded": "new", "hard": "left"}
    code, said = campaign(changed)
    assert code == 0, said
    assert "left       hard: no longer in study.toml" in said
    after = files(tmp_path / "runs")
    assert {p: after[p] for p in before if "latest" not in p.parts} == {
        p: data for p, data in before.items() if "latest" not in p.parts
    }
    found = json.loads(report.read_text())["tasks"]["humaneval"]
    assert list(found["runs"]) == ["easy", "seeded"]
    assert len(found["pairs"]) == 1
    # What a name stands for has changed: it is another run.
    other = changed.replace("base_seed = 7", "base_seed = 8")
    assert status(campaign, other)[1] == {"easy": "done", "seeded": "changed", "hard": "left"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[[run]]\nname = 'x'\ntemperature = 11\n", "run x: --temperature 11.0: must be"),
        ("[[run]]\nname = 'x'\nproblems = 'no.jsonl'\n", "run x: "),
        ("[[run]]\nname = 'x'\npreset = 'smok'\n", "run x: --preset smok: no such preset"),
        ("[[run]]\nname = 'x'\nsynthetic_a = 2\n", "easy and x are the same run"),
        ("[[run]]\nname = 'x'\nbackend = 'vllm'\nmodel = './no'\n", "run x: --model ./no"),
        ("[[run]]\nname = 'x'\nlauncher = 'local'\nbase_seed = 1\n", "one launcher for all"),
        ("[[run]]\nname = 'x'\nmodle = 'a'\n", "modle: unknown flag; valid: model"),
    ],
)
def test_one_wrong_run_and_nothing_is_written(campaign, tmp_path, more, says):
    with pytest.raises(UsageError) as error:
        campaign(STUDY + more)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study.toml"]


def test_a_damaged_record_says_what_to_do(campaign, tmp_path):
    campaign(STUDY, "--dry-run")
    record = tmp_path / "campaigns/study" / RECORD
    record.parent.mkdir(parents=True)
    record.write_text('{"id": "x", "runs": {"easy"')
    with pytest.raises(CorruptShard, match=r"delete it, and start `python jobs/campaign.py` again"):
        campaign(STUDY, "--status")
    with pytest.raises(UsageError, match="is for --status"):
        campaign(STUDY, "--json")
    record.unlink()
    study = read_study(tmp_path / "study.toml")
    assert not read_queue(read_record(study.directory), None).jobs
    with pytest.raises(ToolkitError, match="no run of the study is fitted yet"):
        campaign(STUDY, "--compare")
