"""What the sample browser holds of a run: counts, answers by mass, texts, and what it left out."""

import base64
import json
import re
import zlib

import pytest
from made_runs import PASSED, judge_samples, made_run
from run_here import here
from run_jobs import ROOT

from toolkit.problems.humaneval import python_problem
from toolkit.records import JudgeChoice, Problem, Sample
from toolkit.report import browse_data as module
from toolkit.report.browse_data import browse_data
from toolkit.report.browse_page import browse_page
from toolkit.report.browse_question import reference_fields
from toolkit.runs.outcomes import count_outcomes
from toolkit.runs.run import open_run
from toolkit.runs.second_judge import freeze_second_judge
from toolkit.stages.browse import browse_run
from toolkit.verifiers.judges import judge_of, judge_of_run
from toolkit.verifiers.python_program import extract_program

OLD = ROOT / "tests" / "data" / "runs-0.1.0" / "adaptive"
WRONG = ("failed", "wrong_answer", "test line 2: assert f(2) == 4", ())
DOUBTED = ("passed", "", "", ("frames",))


def problem(name, prompt="def f(n):\n    '''Twice n.'''\n"):
    return python_problem(
        name, prompt, "def check(f):\n    assert f(2) == 4\n", "f", "    return 2\n"
    )


def verdict(text):
    """By a word in the text."""
    if "right" in text:
        return DOUBTED if "doubt" in text else PASSED
    return None if "later" in text else WRONG


def sampled(texts, name="a", tokens=7):
    ends = {True: "length", False: "stop"}
    return [Sample(name, i, text, tokens, ends["cut" in text]) for i, text in enumerate(texts)]


@pytest.fixture
def run(tmp_path):
    texts = ["right 1", "wrong 1", "wrong 1 cut", "right 1", "right doubt", "later", "nothing"]
    return made_run(
        tmp_path / "run",
        [problem("a"), problem("b")],
        sampled(texts),
        verdict,
        answer_of=lambda text: None if text == "nothing" else text.removesuffix(" cut"),
    )


def judges_of(run):
    return {"python_tests": judge_of_run(run)}


def read(run, **limits):
    data = browse_data(run, "a title", judges_of(run), **limits)
    return data.head, data.problems, list(data.blocks)


def test_the_index_has_the_counts_of_the_report(run):
    head, (row, empty), _ = read(run)
    count = count_outcomes(run, judge_of_run(run)).row(0, named=True)
    assert (row["n"], row["c"], row["suspect"]) == (count["n"], count["c"], count["suspect"])
    assert (row["n"], row["c"], row["suspect"], row["samples"]) == (6, 3, 1, 7)
    assert row["kinds"] == {"wrong_answer": 2, "no_answer": 1}
    assert row["ends"] == [6, 1, 0]
    assert (row["answers"], row["tokens"]) == (5, 7.0)
    assert row["hint"] == "def f(n): '''Twice n.'''"
    assert (empty["n"], empty["samples"], empty["answers"], empty["tokens"]) == (0, 0, 0, None)
    assert (head["samples"], head["texts_left_out"], head["most_answers"]) == (7, 0, None)


def test_a_block_has_the_answers_by_mass_with_their_samples(run):
    _, _, (block, empty) = read(run)
    assert [a["samples"] for a in block["answers"]] == [2, 2, 1, 1, 1]
    assert block["seeds"] == [0, 3, 1, 2, 4, 5, 6]
    assert block["ends"] == "sssl" + "sss"
    assert [block["texts"][i] for i in block["text"]] == (
        ["right 1", "right 1", "wrong 1", "wrong 1 cut", "right doubt", "later", "nothing"]
    )
    by = [a["by"][0] for a in block["answers"]]
    assert by[0] == ["passed", "", "", []]
    assert by[1] == [*WRONG[:3], []]
    assert by[2] == ["passed", "", "", ["frames"]]
    assert by[3] is None
    assert by[4] == ["failed", "no_answer", "no answer", []]
    assert block["answers"][4]["key"] == "none"
    assert re.fullmatch(r"[0-9a-f]{16}", block["answers"][0]["key"])
    assert ["entry_point", "f"] in block["reference"]
    assert (empty["answers"], empty["prompt"]) == ([], block["prompt"])


def test_a_run_without_verdicts_shows_its_samples_as_not_judged(tmp_path):
    samples = sampled(["x", "y", "x"], tokens=None)
    run = made_run(tmp_path / "run", [problem("a")], samples)
    head, (row,), (block,) = read(run)
    assert (row["n"], row["samples"], row["answers"], row["tokens"]) == (0, 3, 2, None)
    assert [(a["samples"], a["by"], a["key"]) for a in block["answers"]] == (
        [(2, [], "seed-0"), (1, [], "seed-1")]
    )
    assert "tokens" not in block
    assert head["other_judges"] == []


ERROR = ("error", "", "the worker has ended", ())


def test_an_answer_that_could_not_be_decided_is_no_failure_and_not_unjudged(tmp_path):
    texts = ["right 1", "broken", "broken", "later", "solved at last"]
    says = {"broken": ERROR, "solved at last": ERROR, "right 1": PASSED}
    run = made_run(tmp_path / "run", [problem("a")], sampled(texts), says.get)
    judge_samples(
        run, run.slices(), judge_of_run(run), {"solved at last": PASSED}.get, lambda text: text
    )
    second = freeze_second_judge(run, "humaneval+", run.problems(), JudgeChoice("python_tests"))
    judge_samples(run, run.slices(), judge_of(second.choice), lambda text: ERROR, lambda text: text)
    path, _ = browse_run(run, judge_of_run(run))
    index, (block,) = opened(path)
    (row,) = index["problems"]
    assert (row["samples"], row["n"], row["c"], row["kinds"]) == (5, 2, 2, {"error": 2})
    assert row["beside"] == [[0, 0]]
    by_text = {block["texts"][block["text"][i]]: a for i, a in firsts(block)}
    assert by_text["broken"]["by"][0] == [*ERROR[:3], []]
    assert by_text["solved at last"]["by"][0] == ["passed", "", "", []]
    assert by_text["later"]["by"] == [None, [*ERROR[:3], []]]


def firsts(block):
    """(Its first sample, the answer) of each answer."""
    at = 0
    for answer in block["answers"]:
        yield at, answer
        at += answer["samples"]


def judged_of(block, answer):
    """What the page shows as judged."""
    text, part, start, end = answer["judged"]
    units = block["texts"][text].encode("utf-16-le")[2 * start : 2 * end]
    return block["parts"][part] + units.decode("utf-16-le")


def test_what_was_judged_stands_beside_the_completion_where_it_is_something_else(tmp_path):
    asked = problem("a", "import math\n\ndef f(n):\n    '''Twice n.'''\n")
    whole = "def f(n):\n    return 2 * n  # \U0001f600 as it was asked\n"
    texts = [
        f"\U0001f600 Sure!\n```python\n{whole}```\nThat is it.",
        "    return 2 * n\n",
        whole.replace("2", "3"),
    ]
    answers = {text: extract_program(asked.prompt, "f", text, "chat") for text in texts}
    run = made_run(
        tmp_path / "run", [asked], sampled(texts), verdict, answer_of=answers.get, style="chat"
    )
    path, _ = browse_run(run, judge_of_run(run))
    _, (block,) = opened(path)
    shown = {block["texts"][block["text"][i]]: a for i, a in firsts(block)}
    assert {text: judged_of(block, shown[text]) for text in texts} == answers
    assert all(len(part) < 60 for part in block["parts"])  # no program stands there twice
    # What is no text of the completion, such as answers of another extraction, is not shown.
    other = made_run(
        tmp_path / "other", [asked], sampled(texts), verdict, answer_of=lambda text: text[::-1]
    )
    _, (block,) = opened(browse_run(other, judge_of_run(other))[0])
    assert not any("judged" in answer for answer in block["answers"])


def test_another_judge_stands_beside_the_own_one(run):
    problems = run.problems()
    second = freeze_second_judge(run, "humaneval+", problems, JudgeChoice("python_tests"))
    judge = judge_of(second.choice)
    stricter = {"right 1": WRONG, "wrong 1": WRONG, "right doubt": PASSED}
    judge_samples(run, run.slices(), judge, stricter.get, lambda text: text)
    path, _ = browse_run(run, judge_of_run(run))
    index, blocks = opened(path)
    assert [j["name"] for j in index["head"]["judges"]] == ["python_tests", "humaneval+"]
    assert index["problems"][0]["beside"] == [[4, 1]]
    outcomes = {a["key"]: [v and v[0] for v in a["by"]] for a in blocks[0]["answers"]}
    assert sorted(map(tuple, outcomes.values()), key=str).count(("passed", "failed")) == 1


def opened(path):
    """The index and the blocks in a page."""
    found = re.findall(r'<script type="text/plain" id="[\w-]+">([^<]*)<', path.read_text())
    values = [json.loads(zlib.decompress(base64.b64decode(text), -15)) for text in found]
    return values[0], values[1:]


def test_where_there_is_no_room_the_most_frequent_texts_of_all_answers_are_kept(tmp_path):
    texts = [*["right long " + "x" * 90] * 3, "right " + "y" * 90, "wrong " + "z" * 90]
    run = made_run(
        tmp_path / "run", [problem("a")], sampled(texts), verdict, answer_of=lambda t: t[:5]
    )
    head, _, (block,) = read(run, text_bytes=250)
    assert head["texts_left_out"] == 1
    assert block["texts"] == sorted({texts[0], texts[4]})
    assert block["text"] == [0, 0, 0, -1, 1]


def test_a_large_run_keeps_the_most_frequent_answers_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_SAMPLES", 9)
    monkeypatch.setattr(module, "MOST_ANSWERS", 2)
    texts = ["right 1"] * 4 + ["wrong 1"] * 3 + ["wrong 2"] * 2 + ["wrong 3"]
    run = made_run(tmp_path / "run", [problem("a")], sampled(texts), verdict)
    head, (row,), (block,) = read(run)
    assert (head["most_answers"], row["answers"], row["samples"]) == (2, 4, 10)
    assert [a["samples"] for a in block["answers"]] == [4, 3]
    assert (block["left_out"], len(block["seeds"])) == (2, 7)
    done = here("browse", run.path)
    assert done.code == 0
    assert "LEFT OUT: all but the 2 most frequent answers of each problem" in done.out


def test_the_same_run_gives_the_same_bytes_and_the_file_stays(run):
    path, _ = browse_run(run, judge_of_run(run))
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    browse_run(run, judge_of_run(run))
    assert path.stat().st_mtime_ns == written
    path.unlink()
    browse_run(run, judge_of_run(run))
    assert path.read_bytes() == before


def test_a_text_stands_in_the_file_as_base64_only(tmp_path):
    hostile = "</script><script>alert(1)</script>\u202e\x00 right"
    surrogate = Problem("b", "p", "number", '{"answer": "\\ud800 <b>"}')
    asked = [problem("a<&>"), problem("{{blocks}}")]
    run = made_run(tmp_path / "run", asked, sampled([hostile], "a<&>"), verdict)
    data = browse_data(run, "</title>{{script}}", judges_of(run))
    page = browse_page(data).decode()
    assert "alert(1)" not in page
    assert "<title>&lt;/title&gt;((script))</title>" in page
    assert page.count("<script") == 2 + len(asked)
    assert reference_fields(surrogate.reference) == [["answer", "\ud800 <b>"]]


def test_references_of_every_kind_are_told_in_words():
    tests = {"tests": [{"input": "1\n", "output": "2\n"}, {"input": "3", "output": "4"}]}
    shown = dict(reference_fields(json.dumps(tests)))["tests"]
    assert shown == "# 1: input\n1\n# 1: output\n2\n\n# 2: input\n3\n# 2: output\n4"
    assert reference_fields('{"answer": "5", "timeout": 0.0}') == [["answer", "5"]]
    assert reference_fields("no JSON") == [["reference", "no JSON"]]
    assert reference_fields('{"a": [1, "ü"]}') == [["a", '[\n 1,\n "ü"\n]']]
    ((_, text),) = reference_fields(json.dumps({"test": "x" * 300_000}))
    assert text.endswith("... and 100000 more characters")


def test_a_run_of_0_1_0_is_shown_and_its_judges_are_named(tmp_path):
    done = here("browse", OLD, "--output", tmp_path / "page.html")
    assert done.code == 0
    assert "NOT JUDGED by python_tests, version 2" in done.out
    index, blocks = opened(tmp_path / "page.html")
    assert index["head"]["samples"] == sum(len(block["seeds"]) for block in blocks) == 16
    assert not (OLD / "results" / "browse.html").exists()


def test_what_is_wrong_is_said_in_one_line(run, tmp_path):
    shard = next(run.samples_dir.glob("*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:40] + b"\0" * (len(whole) - 80) + whole[-40:])
    done = here("browse", run.path)
    assert done.code == 1
    assert len(done.errors) == 1
    assert str(shard) in done.errors[0]
    shard.write_bytes(whole)
    assert here("browse", run.path, "--output", tmp_path).errors == [
        f"browse.py: --output {tmp_path}: is a directory; give the name of a file"
    ]
    taken = tmp_path / "file"
    taken.write_text("")
    done = here("browse", run.path, "--output", taken / "page.html")
    assert done.code == 1
    assert "cannot be written" in done.errors[0]
    (run.path / "problems.parquet").unlink()
    assert "problems.parquet: missing" in here("browse", run.path).errors[0]


@pytest.mark.slow
def test_fit_writes_the_page_unless_told_otherwise(run, monkeypatch):
    page = run.results_dir / "browse.html"
    assert here("fit", run.path, "--replicates", "100", "--no-forecast", "--no-browse").code == 1
    assert not page.exists()
    done = here("fit", run.path, "--replicates", "100", "--no-forecast")
    assert page.is_file()
    assert "browse.html" in done.out
    page.unlink()
    monkeypatch.setattr("toolkit.stages.browse.MOST_SAMPLES", 5)
    done = here("fit", run.path, "--replicates", "100", "--no-forecast")
    assert not page.exists()
    assert f"`python jobs/browse.py {open_run(run.path).path}`" in done.log[-1]
