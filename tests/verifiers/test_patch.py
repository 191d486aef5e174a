"""Patches: where they stand in a completion, and the published problems they answer."""

import gzip
import json

import polars as pl
import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.launch.doctor_judge import examine_judge
from toolkit.problems.swe_bench import read_swe_bench
from toolkit.problems.task import read_task
from toolkit.verifiers.base import open_verifier, prompts_of
from toolkit.verifiers.judges import choice_of_task, harness_of, judge_of
from toolkit.verifiers.patch import patch_in

DIFF = "diff --git a/x.md b/x.md\n--- a/x.md\n+++ b/x.md\n@@ -1,3 +1,3 @@\n-a\n+b\n ```\n \n"
OTHER = "--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n"
ROW = {"instance_id": "psf__requests-2317", "problem_statement": "It fails.\n", "patch": DIFF}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"I see.\n\n```diff\n{DIFF}```\nDone.", DIFF),
        (f"<patch>\n{DIFF}</patch>", DIFF),
        (f"<diff>{DIFF}</diff>", DIFF),
        (f"<patch>\n```diff\n{DIFF}```\n</patch>", DIFF),
        (f"<patch>\n{DIFF}", DIFF),
        (f"```patch\n{DIFF}```", DIFF),
        (f"```\n{DIFF}```", DIFF),
        (f"~~~diff\n{DIFF}~~~", DIFF),
        (f"```diff\n{OTHER}```\nNo, better:\n```diff\n{DIFF}```", DIFF),
        (f"```diff\n{DIFF}```\n```python\nprint('--- a')\n```", DIFF),
        (f"<patch>\n{DIFF}</patch>\n```diff\n{OTHER}```", DIFF),
        (f"Here it is:\n{DIFF}", DIFF),
        (DIFF.removesuffix("\n"), DIFF),
        (f"```diff\n{DIFF}", DIFF),
        ("```diff\n+ a\n- b\n```", None),
        ("<patch></patch>", None),
        ("--- a\nno header", None),
        ("", None),
    ],
)
def test_the_last_patch_is_the_answer_whole_and_with_a_line_end(text, found):
    assert patch_in(text) == found


@pytest.mark.parametrize(
    "text", ["```" * 300_000, "```" + "a" * 900_000 + "`", "<patch>" * 150_000, "--- \n" * 200_000]
)
def test_a_hostile_text_comes_to_its_end(text):
    assert patch_in(text) is None


def verifier():
    return open_verifier(choice_of_task(read_task("swe-bench-lite")))


def problems(folder, *rows, name="rows.jsonl"):
    path = folder / name
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_swe_bench(path)


def test_what_is_asked_names_repository_commit_and_issue(tmp_path):
    (bare,) = problems(tmp_path, ROW)
    assert bare.task_id == "psf__requests-2317"
    assert bare.prompt == "Repository: psf/requests\n\n<issue>\nIt fails.\n</issue>"
    full = {**ROW, "repo": "psf/requests", "base_commit": "091991b", "text": None}
    (published,) = problems(tmp_path, full, name="rows.parquet")
    assert "Base commit: 091991b\n" in published.prompt
    prompt = prompts_of([published])[published.task_id]
    assert prompt.messages[0][1].startswith(published.prompt)
    assert "```diff" in prompt.messages[0][1]
    assert prompt.text.endswith("<patch>\n")
    assert prompt.stop == ("</patch>",)
    assert verifier().extract(published, f"{DIFF}</patch>\nMore", "completion") == DIFF
    assert verifier().extract(published, f"<think>\n{DIFF}", "chat") is None


def test_a_row_with_a_prompt_of_its_own_is_asked_by_that(tmp_path):
    (oracle,) = problems(tmp_path, {**ROW, "text": "Code, issue, what to answer."})
    assert prompts_of([oracle])[oracle.task_id].messages == (("user", oracle.prompt),)
    assert oracle.prompt == "Code, issue, what to answer."


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**ROW, "instance_id": "requests-2317"}, "is no owner__name-number"),
        ({**ROW, "problem_statement": ""}, "field 'problem_statement' is empty"),
        ({**ROW, "patch": 3}, "field 'patch' is int, not a string"),
        ({"problem_statement": "x"}, "field 'instance_id' is missing"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, row, says):
    with pytest.raises(UsageError, match=f"rows.jsonl, line 1: .*{says}"):
        problems(tmp_path, row)
    with pytest.raises(UsageError, match="line 2: field 'task_id': an earlier row has"):
        problems(tmp_path, ROW, ROW)


def test_the_doctor_judges_nothing_and_says_so(tmp_path):
    found = problems(tmp_path, ROW)
    judge = judge_of(choice_of_task(read_task("swe-bench-lite")))
    assert harness_of(judge) == "SWE-bench's harness"
    told = {finding.subject: finding for finding in examine_judge(found, judge, "strongest", 1)}
    assert told["judge"].grade == "warn"
    assert told["judge"].found.startswith("no reference can be judged here: SWE-bench's harness")
    assert told["answers"].found == "found in the only known solution, not judged"
    assert told.keys() == {"judge", "answers"}
    broken = problems(tmp_path, {**ROW, "patch": "no patch"})
    told = {finding.subject: finding for finding in examine_judge(broken, judge, "strongest", 1)}
    assert told["answers"].grade == told["problem"].grade == "fail"
    with pytest.raises(UsageError, match="--export-predictions DIR"):
        verifier().judging(found, judge, workers=1, isolation="strongest")


def test_the_published_patches_come_through_unchanged():
    path = shared("swebench-lite/instances.jsonl.gz")
    found = {p.task_id: p for p in read_swe_bench(path)}
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    assert len(found) == len(rows) == 300
    for row in rows:
        problem = found[row["instance_id"]]
        taken = verifier().extract(problem, problem.solution, "chat")
        assert taken == row["patch"].removesuffix("\n") + "\n"
        assert patch_in(f"<patch>\n{taken}</patch>") == taken
