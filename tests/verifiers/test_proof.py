"""Proofs: what is taken as one, what a real prover says of it, and tricks to get a false one through.

Debian's metamath is used; its tests are skipped where it is absent. Coq: `test_coq.py`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from proofs import judge, problem_of
from run_jobs import job
from shared_data import shared

from toolkit.errors import UsageError
from toolkit.problems.minif2f import read_minif2f_metamath
from toolkit.problems.task import read_task
from toolkit.verifiers import lean, metamath
from toolkit.verifiers.base import check_node, open_verifier
from toolkit.verifiers.judge_files import METAMATH_DATABASE, METAMATH_VARIABLE, settings_of_files
from toolkit.verifiers.judges import choice_of, judge_of
from toolkit.verifiers.prover import Refused

SET_MM = Path(os.environ.get(METAMATH_VARIABLE, METAMATH_DATABASE))
needs_metamath = pytest.mark.skipif(
    not (shutil.which("metamath") and SET_MM.is_file()),
    reason="metamath and set.mm are not installed: bash tests/install_apt.sh",
)
SYLLOGISM = """${
  two.1 $e |- ( ph -> ps ) $.
  two.2 $e |- ( ps -> ch ) $.
  $( Two steps. $)
  two $p |- ( ph -> ch ) $= ? $.
$}
"""
OTHER = SYLLOGISM.replace("two", "other").replace("( ph -> ch )", "( ch -> ph )")
FRESH = "some $p |- ( A = B -> A = B ) $= ? $.\n"
"""To be proved by a detour over a set variable that the statement has not."""
RIGHT = "wph wps wch two.1 two.2 syl"


@needs_metamath
def test_a_right_proof_passes_in_each_form_in_which_models_write_it():
    forms = [
        RIGHT,
        RIGHT.replace(" ", "\n  "),
        f"<think>syl?</think>It is syl.\n```\n{RIGHT}\n```",
        f"```\n{SYLLOGISM.replace('?', RIGHT)}```",
        f"{RIGHT} $.\n$( and a comment $)",
        "( syl ) ABCDEF",
    ]
    verdicts = judge([problem_of(SYLLOGISM)] * len(forms), forms)
    assert [v and v.outcome for v in verdicts] == ["passed"] * len(forms)
    assert all(v.seconds < 60 for v in verdicts)


WRONG = {
    "wph wps wch two.2 two.1 syl": "wrong_answer",
    "wph wps wch two.1 two.2": "wrong_answer",
    "wph wps wch two.1 two.2 syl syl": "wrong_answer",
    "wph wps wch two.1 two.2 nosuchtheorem": "wrong_answer",
    "All proofs in the database were verified in 0.00 s.": "wrong_answer",
    "?": "wrong_answer",
    "wph wps wch ? two.2 syl": "wrong_answer",
    "( syl ) ABCDE?": "wrong_answer",
    "two": "wrong_answer",
    "bad": "wrong_answer",
    "( bad ) A": "wrong_answer",
    "bad $a |- ( ph -> ch )": "syntax",
    "$( a comment $) wph wps wch two.1 two.2 syl": "syntax",
    "$} bad $a |- ( ph -> ch )": "syntax",
    "$[ /usr/share/metamath/databases/set.mm $] syl": "syntax",
    "$d ph ps": "syntax",
    "wph\x0cwps wch two.1 two.2 sÿl": "syntax",
    "wph wps \ud800": "syntax",
}


@needs_metamath
def test_what_is_no_proof_fails():
    verdicts = judge([problem_of(SYLLOGISM)] * len(WRONG), list(WRONG))
    assert {t: v.kind for t, v in zip(WRONG, verdicts, strict=True)} == WRONG
    assert all(v.outcome == "failed" and 0 < len(v.detail) <= 200 for v in verdicts)
    assert "gap" in verdicts[5].detail


@needs_metamath
def test_the_proof_of_another_statement_fails():
    right, other = judge([problem_of(SYLLOGISM), problem_of(OTHER, "t/other")], [RIGHT, RIGHT])
    assert (right.outcome, other.outcome) == ("passed", "failed")
    renamed = RIGHT.replace("two", "other")
    (other,) = judge([problem_of(OTHER, "t/other")], [renamed])
    assert other.outcome == "failed"


@needs_metamath
def test_a_statement_that_the_database_has_does_not_prove_itself():
    """The answer `syl` to the statement syl: the database's own one is not in its reach."""
    own = SYLLOGISM.replace("two", "syl")
    cited, proved = judge([problem_of(own)] * 2, ["wph wps wch syl.1 syl.2 syl", "( syl ) ABCDEF"])
    assert (cited.outcome, proved.outcome) == ("failed", "failed")
    (longer,) = judge([problem_of(own)], ["wph wps wch syl.1 wps wch wi wph syl.2 a1i mpd"])
    assert longer.outcome == "passed"


@needs_metamath
def test_a_proof_may_use_variables_that_its_statement_has_not():
    """eqrdv needs `x` to be distinct from A and from B."""
    detour = "cA cB wceq vx cA cB cA cB wceq vx cv cA wcel vx cv cB wcel wb cA cB vx cv eleq2 a1i"
    identity = "cA cB wceq id"
    through_x = "cA cB wceq vx cA cB cA cB vx cv eleq2 eqrdv"
    verdicts = judge([problem_of(FRESH)] * 3, [identity, through_x, detour])
    assert [v.outcome for v in verdicts] == ["passed", "passed", "failed"]
    # A variable of the statement is not fresh: nothing makes it distinct from another.
    own = problem_of(FRESH.replace("A = B ->", "x e. A ->").replace("A = B )", "A = A )"))
    program = metamath.Metamath("").program(own, through_x)
    text = program.files["answer.mm"].rpartition("${")[2]
    assert "$d B x $." in text
    assert "$d A x $." not in text


@pytest.mark.slow
@needs_metamath
def test_verdicts_are_those_of_metamath_on_the_whole_database(tmp_path):
    """The published proofs of MiniF2F's validation split: some name theorems that came later."""
    found = read_minif2f_metamath(shared("minif2f/metamath.jsonl.gz"), "valid")
    problems = [p for p in found if p.solution]
    names = [json.loads(p.reference)["name"] for p in problems]
    whole = [SET_MM.read_text()]
    whole += [metamath.read_statement(p).replace("?", p.solution) for p in problems]
    (tmp_path / "whole.mm").write_text("\n".join(whole))
    commands = ["set scroll continuous", "read whole.mm", *(f"verify proof {n}" for n in names)]
    said = subprocess.run(
        ["metamath", *commands, "exit"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    parts = said.split("MM> verify proof ")[1:]
    right = ["?" not in part for part in parts]
    verdicts = judge(problems, [p.solution for p in problems])
    assert [v.outcome == "passed" for v in verdicts] == right
    assert len(problems) == 45
    assert 0 < sum(right) < 45


@needs_metamath
def test_the_worked_examples_of_the_built_in_task_are_proofs():
    shots = read_task("minif2f-metamath").phrasing.shots
    problems = [problem_of(shot["question"], f"t/{n}") for n, shot in enumerate(shots)]
    verdicts = judge(problems, [shot["answer"] for shot in shots], style="completion")
    assert [v.outcome for v in verdicts] == ["passed"] * 5


def test_minif2f_is_asked_as_the_field_does():
    problem = read_task("minif2f-metamath").problems(shared("minif2f/metamath.jsonl.gz"))[0]
    assert problem.phrased.text.count("Statement:\n${") == 6
    assert problem.phrased.text.endswith("$= ? $.\n  $}\n\nProof:\n")
    problem = read_task("minif2f").problems(shared("minif2f/lean4_prover15.jsonl.gz"))[0]
    assert problem.phrased.text.endswith(":= by\n")
    assert "Write a lean4" in problem.phrased.stop


@pytest.mark.slow
@needs_metamath
def test_a_task_of_proofs_runs_from_the_doctor_to_its_report(tmp_path):
    row = {"task_id": "t/two", "question": "A syllogism.", "statement": SYLLOGISM}
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "solution": RIGHT}) + "\n")
    (tmp_path / "task.toml").write_text(
        'problems = "rows.jsonl"\n[prompt]\ntemplate = "{question} {statement}"\n'
        '[judge]\nkind = "proof"\nprover = "metamath"\n'
    )
    flags = ("--task", "task.toml", "--backend", "synthetic")
    done = job("doctor.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the only known solution passes" in done.stdout
    flags += ("--launcher", "inline", "--samples", "8", "--run", "run", "--replicates", "100")
    done = job("launch.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fitted = json.loads((tmp_path / "run/results/fit.json").read_text())
    assert fitted["judge"]["settings"]["prover"] == "metamath"


@needs_metamath
def test_a_problem_without_a_place_for_a_proof_is_named():
    with pytest.raises(UsageError, match=r"t/two: the statement must hold `\$= \? \$\.` once"):
        judge([problem_of("two $p |- ph $= $.")], [RIGHT])


@needs_metamath
def test_another_database_is_another_judge(tmp_path, monkeypatch):
    choice = choice_of("proof", settings=settings_of_files("proof", {}, Path("task.toml")))
    judge_there = judge_of(choice)
    check_node(judge_there)
    other = tmp_path / "other.mm"
    other.write_text("$c |- $.\n")
    monkeypatch.setenv(METAMATH_VARIABLE, str(other))
    with pytest.raises(UsageError, match="is not the database that the run was launched with"):
        check_node(judge_there)
    changed = choice_of("proof", settings=settings_of_files("proof", {}, Path("task.toml")))
    assert judge_of(changed).digest != judge_there.digest


@pytest.mark.parametrize("prover", ["metamath", "coq", "lean"])
def test_a_prover_that_is_absent_is_one_line(prover, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"^judge proof: .* not installed on this node") as caught:
        check_node(judge_of(choice_of("proof", settings={"prover": prover})))
    assert "\n" not in str(caught.value)


def test_a_database_in_several_files_is_refused():
    with pytest.raises(UsageError, match=r"a.mm: includes other files"):
        metamath.read_database("$[ b.mm $]", "a.mm")


def test_a_theorem_of_the_database_with_a_gap_is_no_part_of_it():
    text = "$c |- x $. a $p |- x $= ? $. ${ b $p |- x $= a $. $} c $a |- x $."
    database = metamath.read_database(text, "a.mm")
    assert sorted(database.part_of) == ["b", "c"]
    assert "$p" not in database.used({"a", "b", "c"})
    assert database.used({"a"}) == ""


@pytest.mark.parametrize("prover", ["metamath", "coq", "lean"])
@pytest.mark.parametrize("text", ["", "<think>", "$.", "```\n```", "Proof. Qed.", "\ud800", "((("])
def test_extraction_never_raises(prover, text):
    verifier = open_verifier(choice_of("proof", settings={"prover": prover}))
    for style in ("chat", "completion", "verbatim"):
        found = verifier.extract(problem_of(SYLLOGISM), text, style)
        assert found is None or found


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        ("  sorry", "gap"),
        ("  exact absurd (by sorry) h", "gap"),
        ("  simp\naxiom bad : False", "axiom"),
        ("  simp\n  theorem b : True := trivial", "theorem"),
        ('  simp\n#eval "x"', "#eval"),
        ("  native_decide", "native_decide"),
        ("  simp\n@[simp] def x := 1", r"@\["),
    ],
)
def test_what_may_not_stand_in_a_proof_in_lean(proof, says):
    with pytest.raises(Refused, match=says):
        lean.check_proof(proof)


def test_ordinary_tactics_may_stand_in_a_proof_in_lean():
    lean.check_proof("  rw [Nat.sub_def, h.end_eq]\n  nlinarith [sq_nonneg (a - b), admits]\n")


def test_a_proof_in_lean_is_what_follows_the_statement():
    said = "```lean\nimport Mathlib\n\ntheorem t : 1 = 1 := by\n  rfl\n```"
    verifier = open_verifier(choice_of("proof", settings={"prover": "lean"}))
    assert verifier.extract(problem_of("theorem t"), said, "chat") == "  rfl"
    assert verifier.extract(problem_of("theorem t"), "rfl", "verbatim") == "  rfl"
