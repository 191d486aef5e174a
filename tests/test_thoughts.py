"""A reasoning model's thoughts are no answer, also where only the prompt holds the opening tag."""

import json

import pytest

from toolkit.config import Evaluation
from toolkit.errors import UsageError
from toolkit.records import after_thoughts
from toolkit.runs.outcomes import sample_outcomes
from toolkit.stages.evaluate import evaluate_run
from toolkit.stages.ingest import ingest
from toolkit.verifiers.answers import take
from toolkit.verifiers.judges import judge_of_run

TASK = 'problems = "sums.jsonl"\n[prompt]\ntemplate = "{question}"\n[judge]\nkind = "number"\n'
BODY = "```python\ndef add(x, y):\n    return x + y\n```"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "5"),
        ("<think>4</think>5", "5"),
        ("4</think>5", "5"),
        ("<think>4</think>5<think>6</think>7", "7"),
        ("<think>4", None),
        ("<think>4</think>5<think>6", None),
    ],
)
def test_thoughts_are_no_answer(text, said):
    assert after_thoughts(text) == said
    assert take("whole", text) == said


@pytest.mark.parametrize(
    ("prompt", "within"),
    [
        ("<｜User｜>2 + 2?<｜Assistant｜><think>\n", True),  # DeepSeek-R1, QwQ
        ("<|im_start|>assistant\n", False),  # Qwen3: the model itself writes the tag
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),  # Qwen3, enable_thinking=false
    ],
)
def test_a_template_that_ends_within_a_thought(prompt, within):
    assert (after_thoughts(prompt) is None) is within


def outcomes(tmp_path, problem, completions, task, **how):
    """Kind of failure of each completion, "" for a pass, as a run of ingested samples has them."""
    (tmp_path / "sums.jsonl").write_text(json.dumps(problem) + "\n")
    (tmp_path / "sums.toml").write_text(TASK)
    rows = [{"task_id": problem["task_id"], "completion": text} for text in completions]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ingest(tmp_path / "s.jsonl", tmp_path / "run", style="chat", **task, **how)
    assert evaluate_run(run, Evaluation(), workers=1).complete
    assert evaluate_run(run, Evaluation(), workers=1).judged == 0
    return sample_outcomes(run, judge_of_run(run))["kind"].to_list()


CUT, ENDED = "17 + 25, that is 42", "17 + 25, is it 41?</think>It is 42."


@pytest.mark.parametrize("opens", [True, False])
def test_a_thought_that_the_prompt_has_opened_and_nothing_closes_is_no_answer(tmp_path, opens):
    problem = {"task_id": "sums/1", "question": "17 + 25?", "answer": 42}
    task = {"task": str(tmp_path / "sums.toml")}
    kinds = outcomes(tmp_path, problem, [CUT, ENDED], task, opens_thought=opens)
    assert kinds == ["no_answer" if opens else "", ""]


def test_a_program_within_a_thought_is_no_answer(tmp_path):
    problem = {
        "task_id": "own/1",
        "prompt": "def add(x, y):\n",
        "entry_point": "add",
        "test": "def check(f):\n    assert f(2, 3) == 5\n",
    }
    wrong = BODY.replace("+", "-")
    said = [f"<think>\n{wrong}\n</think>\n{BODY}", f"{BODY}\n</think>\n{wrong}", f"<think>\n{BODY}"]
    task = {"problems_source": str(tmp_path / "sums.jsonl")}
    assert outcomes(tmp_path, problem, said, task) == ["", "wrong_answer", "no_answer"]


def test_only_a_chat_opens_a_thought(tmp_path):
    row = {"task_id": "HumanEval/0", "completion": "    pass\n"}
    (tmp_path / "s.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=r"--opens-thought: .* read as verbatim.*--style chat"):
        ingest(tmp_path / "s.jsonl", tmp_path / "run", opens_thought=True)
    assert not (tmp_path / "run").exists()
