"""The doctor on every problem of every data set at hand: nothing is wrong that is not named here."""

from pathlib import Path

import pytest
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.launch.doctor_judge import examine_judge
from toolkit.stages.task import load_task
from toolkit.verifiers.base import check_node
from toolkit.verifiers.judges import judge_of

NO_REFERENCE = {"no reference"}
SEVERAL_BOXES = {f"math/{n}" for n in (414, 2703, 2716, 2912, 4860)}
"""Their solutions box several answers, and the last one counts."""
DATA: dict[str, tuple[str, set[str]]] = {
    "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz": ("humaneval+", set()),
    "humanevalplus/HumanEvalPlus.jsonl.gz": ("humaneval+", set()),
    "humanevalplus/HumanEvalPlus-Mini.jsonl.gz": ("humaneval+", set()),
    "mbpp/mbpp.jsonl.gz": ("mbpp", set()),
    "mbpp/mbpp_sanitized_humaneval_form.jsonl.gz": ("mbpp", set()),
    "mbppplus/MbppPlus-OriginFmt.jsonl.gz": ("mbpp+", set()),
    "gsm8k/test.jsonl.gz": ("gsm8k", set()),
    "math/test.jsonl.gz": ("math", SEVERAL_BOXES),
    "math/math500.jsonl.gz": ("math500", set()),
    "minif2f/metamath.jsonl.gz": ("minif2f-metamath", NO_REFERENCE),
    "stdin-google/problems.jsonl.gz": ("google", NO_REFERENCE),
    "stdin-apps/apps5.jsonl.gz": ("apps", set()),
}
"""File -> its task, and what of it is no green: problems, or that there is no reference."""
_LONG = pytest.mark.timeout(7200)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name.startswith("stdin-apps") else (pytest.mark.repeats, _LONG)
        )
        for name in DATA
    ],
)
def test_every_problem_is_judged_and_every_exception_is_known(tmp_path: Path, name: str) -> None:
    task, expected = DATA[name]
    if task in ("google", "apps"):  # formats without a task of their own
        task_file = tmp_path / f"{task}.toml"
        task_file.write_text(f'format = "{task}"\n[judge]\nkind = "stdin"\n')
        task = str(task_file)
    _, problems, choice = load_task(task, str(shared(name)), limit=None, task_ids=None)
    judge = judge_of(choice)
    try:
        check_node(judge)
    except UsageError as lacking:
        pytest.skip(str(lacking))
    found = list(examine_judge(problems, judge, "strongest", 2))
    named = {f.found.partition(":")[0] for f in found if f.subject == "problem"}
    unknown = {"no reference" for f in found if f.found.startswith("no reference")}
    assert named | unknown == expected
    wrong = next(f for f in found if f.subject == "wrong ones")
    assert wrong.grade == "ok"
    assert int(wrong.found.split("; ")[1].split()[0]) >= len(problems)
