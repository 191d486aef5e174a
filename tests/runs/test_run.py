import json
from dataclasses import replace

import polars as pl
import pytest

from toolkit.errors import CorruptShard, RunMismatch, ToolkitError, UsageError
from toolkit.files import replace_file
from toolkit.problems.humaneval import python_problem
from toolkit.records import EngineFacts, Prompt, Sample, Verdict
from toolkit.runs import rounds
from toolkit.runs.history import point_latest
from toolkit.runs.rounds import freeze_round
from toolkit.runs.run import create_or_open, open_run, run_name
from toolkit.runs.shard_facts import ShardFacts, read_facts
from toolkit.runs.shards import read_shard, write_shard
from toolkit.runs.slices import plan_round
from toolkit.runs.tables import read_frame, read_json
from toolkit.runs.verdicts import read_verdicts, write_verdicts
from toolkit.stats.stopping import StoppingRule
from toolkit.verifiers.base import prompts_of
from toolkit.verifiers.judges import choice_of, judge_of

PROBLEMS = [
    python_problem("a", "def f():\n", "def check(c): pass", "f"),
    python_problem("b", "p", "t", "e"),
]
PASS = Verdict("a", 1, "passed", "", "", (), 0.1)
USUAL, PATIENT, OTHER = (judge_of(choice_of("python_tests", t)) for t in (None, 9.0, 1.0))
IDENTITY = {"model": "org/Tiny-Model_1", "prompt_style": "chat", "temperature": 0.7}


@pytest.fixture
def run(tmp_path):
    run = create_or_open(tmp_path / "run", IDENTITY, problems=PROBLEMS)
    freeze_round(run.path, 0, plan_round(0, {"a": 3, "b": 2}, {}, slice_samples=4, slice_seeds=2))
    return run


def samples_of(slice_):
    return [
        Sample(task_id, seed, f"text {task_id} {seed}", 3, "stop")
        for task_id, seed in slice_.sample_keys()
    ]


def test_a_run_reads_back_what_was_frozen(run):
    again = open_run(run.path)
    assert again.problems() == PROBLEMS
    assert [s.name for s in again.slices()] == ["r000-s0000", "r000-s0001"]
    assert again.manifest()["identity"] == IDENTITY
    assert again.round_count() == 1


def test_a_rule_is_read_once_and_again_from_a_plan_that_was_replaced(run, monkeypatch):
    rule, read = StoppingRule(2, (4, 8)), []
    freeze_round(run.path, 1, [], rule)
    monkeypatch.setattr(rounds, "read_json", lambda path: read.append(path) or read_json(path))
    assert [run.stopping_rule() for _ in range(3)] == [rule] * 3
    plan = run.path / "rounds" / "r001.json"
    assert read == [plan]
    replace_file(plan, plan.read_bytes().replace(b"8", b"9"))
    assert run.stopping_rule() == StoppingRule(2, (4, 9))
    replace_file(plan, b"{")
    with pytest.raises(CorruptShard, match=r"r001\.json"):
        run.stopping_rule()


def test_name_holds_model_problems_and_digest():
    name = run_name(IDENTITY, "humaneval")
    assert name.startswith("tiny-model-1-humaneval-")
    assert name != run_name(IDENTITY | {"temperature": 0.8}, "humaneval")


def test_another_configuration_is_refused_with_the_differing_keys(run):
    before = sorted(run.path.rglob("*"))
    with pytest.raises(RunMismatch, match=r"temperature \(run: 0.7, launch: 0.8\)"):
        create_or_open(run.path, IDENTITY | {"temperature": 0.8}, problems=PROBLEMS)
    assert sorted(run.path.rglob("*")) == before


def test_no_run_is_said_plainly(tmp_path):
    with pytest.raises(UsageError, match=r"no run here \(no manifest.json\)"):
        open_run(tmp_path)


def test_shard_round_trip_sorted_by_key(run):
    slice_ = run.slices()[0]
    write_shard(run, slice_, reversed(samples_of(slice_)), ShardFacts(engine=EngineFacts("test")))
    frame = read_shard(run, slice_)
    assert frame.select("task_id", "seed").rows() == sorted(
        (s.task_id, s.seed) for s in samples_of(slice_)
    )
    facts = read_facts(run.shard_path(slice_.name))
    assert facts.engine.engine == "test"
    assert facts.run == run.manifest()["digest"]
    assert facts.slice == slice_.name
    assert run.done() == {slice_.name}


@pytest.mark.parametrize("change", ["missing", "doubled", "foreign"])
def test_a_shard_is_never_written_incomplete(run, change):
    slice_ = run.slices()[0]
    samples = samples_of(slice_)
    match change:
        case "missing":
            samples.pop()
        case "doubled":
            samples[-1] = samples[0]
        case "foreign":
            samples[0] = Sample("a", 99, "", 0, "stop")
    with pytest.raises(ToolkitError, match="not those planned"):
        write_shard(run, slice_, samples, ShardFacts())
    assert not list(run.samples_dir.iterdir())


def test_corrupt_truncated_foreign_and_misplaced_shards_are_named(run, tmp_path):
    first, second = run.slices()
    write_shard(run, first, samples_of(first), ShardFacts())
    path = run.shard_path(first.name)
    good = path.read_bytes()
    for bad in (b"", b"not parquet", good[: len(good) // 2]):
        path.write_bytes(bad)
        with pytest.raises(CorruptShard, match=r"r000-s0000\.parquet: cannot be read"):
            read_shard(run, first)
    pl.DataFrame({"x": [1]}).write_parquet(path)
    with pytest.raises(CorruptShard, match="has unexpected columns"):
        read_shard(run, first)
    run.shard_path(second.name).write_bytes(good)
    with pytest.raises(CorruptShard, match="not the samples that its slice plans"):
        read_shard(run, second)
    other = create_or_open(tmp_path / "other", IDENTITY | {"base_seed": 1}, problems=PROBLEMS)
    freeze_round(other.path, 0, [first])
    other.shard_path(first.name).write_bytes(good)
    with pytest.raises(CorruptShard, match="belongs to another run"):
        read_shard(other, first)


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("samples", "jobs/launch.py --resume --run {run}` moves it to quarantine/"),
        ("verdicts", "`python jobs/evaluate.py {run}` moves it to quarantine/ and judges"),
        ("answers", "`python jobs/evaluate.py {run}` makes it anew"),
        ("results", "`python jobs/fit.py {run}` makes it anew"),
        (".", "restore it from a copy, or launch with a new directory as --run"),
    ],
)
def test_a_damaged_file_is_named_with_what_helps_for_its_kind(run, folder, says):
    path = run.path / folder / "damaged.parquet"
    path.write_bytes(b"")
    with pytest.raises(CorruptShard) as caught:
        read_frame(path)
    assert f"{path}: cannot be read" in str(caught.value)
    assert says.format(run=run.path) in str(caught.value)


def test_two_launches_cannot_plan_the_same_round(run):
    with pytest.raises(ToolkitError, match="another launch has just planned this round"):
        freeze_round(run.path, 0, [])
    assert len(run.slices()) == 2


def test_verdicts_by_judge_and_a_decided_one_beats_an_error(run):
    write_verdicts(
        run,
        [
            Verdict("a", 1, "error", "", "worker lost", (), 0.1),
            Verdict("a", 2, "failed", "exception", "x", (), 0.1),
        ],
        USUAL,
    )
    write_verdicts(run, [PASS], USUAL)
    write_verdicts(run, [Verdict("a", 2, "timed_out", "time", "t", (), 9.0)], PATIENT)
    write_verdicts(run, [], USUAL)
    rows = read_verdicts(run, USUAL).sort("answer").select("answer", "outcome").rows()
    assert rows == [(1, "passed"), (2, "failed")]
    assert read_verdicts(run, PATIENT)["outcome"].to_list() == ["timed_out"]
    assert read_verdicts(run, OTHER).is_empty()


def test_a_repeated_batch_of_verdicts_is_one_file(run):
    for _ in range(2):
        write_verdicts(run, [PASS], USUAL)
    assert len(list(run.verdicts_dir.iterdir())) == 1


def test_kinds_and_suspicions_are_kept(run):
    wrong = Verdict("a", 2, "failed", "wrong_answer", "line 3: assert f(1) == 2", (), 0.1)
    suspect = Verdict("a", 3, "passed", "", "", ("equality", "frames"), 0.1)
    write_verdicts(run, [PASS, wrong, suspect], USUAL)
    found = read_verdicts(run, USUAL).sort("answer")
    assert found["kind"].to_list() == ["", "wrong_answer", ""]
    assert found["suspect"].to_list() == [[], [], ["equality", "frames"]]
    (path,) = run.verdicts_dir.iterdir()
    assert pl.read_parquet_schema(path)["suspect"] == pl.List(pl.String())


def test_verdicts_of_before_there_were_kinds_are_read(run):
    write_verdicts(run, [PASS], USUAL)
    (path,) = run.verdicts_dir.iterdir()
    pl.read_parquet(path).drop("kind", "suspect", "canonical").write_parquet(path)
    write_verdicts(run, [Verdict("a", 2, "failed", "exit", "x", ("gc",), 0.1)], USUAL)
    found = read_verdicts(run, USUAL).sort("answer")
    assert found["kind"].to_list() == ["", "exit"]
    assert found["suspect"].to_list() == [[], ["gc"]]
    pl.read_parquet(path).drop("seconds").write_parquet(path)
    with pytest.raises(CorruptShard, match="has unexpected columns"):
        read_verdicts(run, USUAL)


def test_canonical_forms_are_kept_and_older_verdicts_have_none(run):
    write_verdicts(run, [PASS], USUAL)
    (path,) = run.verdicts_dir.iterdir()
    pl.read_parquet(path).drop("canonical").write_parquet(path)
    half = Verdict("a", 2, "failed", "wrong_answer", "x", (), 0.1, r"\frac{1}{2}")
    write_verdicts(run, [half], USUAL)
    found = read_verdicts(run, USUAL).sort("answer")
    assert found["canonical"].to_list() == ["", r"\frac{1}{2}"]
    assert found["kind"].to_list() == ["", "wrong_answer"]


def test_latest_follows_the_last_launch(run, tmp_path):
    other = create_or_open(tmp_path / "other", IDENTITY | {"base_seed": 1}, problems=PROBLEMS)
    for each in (run, other):
        point_latest(each)
        assert (tmp_path / "latest").resolve() == each.path.resolve()


def test_a_foreign_format_is_refused(run):
    manifest = run.path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    with pytest.raises(UsageError, match="has format 99, but this version reads only 1 and 2"):
        open_run(run.path)


def test_the_prompts_of_a_task_are_frozen_with_its_problems(tmp_path):
    asked = Prompt((("system", "be brief"), ("user", "2 + 2?")), "Q: 2 + 2?\nA:", ("Q:",))
    plain = python_problem("t/0", "def f():", "", "f")
    phrased = replace(plain, task_id="t/1", phrased=asked)
    for name, problems in (("plain", [plain]), ("mixed", [plain, phrased])):
        run = create_or_open(tmp_path / name, {"backend": "x"}, problems=problems)
        assert run.problems() == problems
    assert prompts_of([plain, phrased])["t/1"] == asked
