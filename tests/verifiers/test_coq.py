"""Proofs in Coq, decided by the real `coqc`: right ones, wrong ones, and ways to cheat.

`make interop` installs it.
"""

import json
import shutil

import pytest
from proofs import judge

from toolkit.records import Problem

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("coqc"), reason="coqc is not installed: make interop"),
]
COQ = {
    "header": "Require Import Lia.",
    "name": "t",
    "statement": "Theorem t : forall n : nat, n + 0 = n.",
}
COQ_PROOFS = {
    "intros. lia.": "passed",
    "Proof.\n(* by (* the *) tactic *) intros n.\n lia.\nQed.": "passed",
    "induction n.\n- reflexivity.\n- simpl. rewrite IHn. reflexivity.": "passed",
    "intros. idtac.": "failed",
    "admit.": "failed",
    "Admitted.": "failed",
    "intros. exact (bad n). Qed. Axiom bad : forall n, n + 0 = n.": "failed",
    "Abort. Axiom t : forall n : nat, n + 0 = n. Goal True. trivial.": "failed",
    'idtac "Closed under the global context".': "failed",
    "assert (n_ok : 1 = 1). { reflexivity. } exact (fun n => eq_sym (plus_n_O n)).": "passed",
    "{ intros. lia. } Unset Guard Checking.": "failed",
    "{ intros. lia.}Admitted.": "failed",
    "{ Admitted.": "failed",
    "(* Abort. *": "failed",
}


def test_proofs_in_coq():
    problem = Problem("t/coq", "t", "proof", json.dumps(COQ))
    verdicts = judge([problem] * len(COQ_PROOFS), list(COQ_PROOFS), "coq")
    found = {t: v.outcome for t, v in zip(COQ_PROOFS, verdicts, strict=True)}
    assert found == COQ_PROOFS


def test_an_axiom_before_the_statement_is_found_in_coq():
    """The statement's own file has it: only `Print Assumptions` shows that the proof needs it."""
    header = "Axiom bad : forall n : nat, n + 0 = n."
    problem = Problem("t/coq", "t", "proof", json.dumps({**COQ, "header": header}))
    rests, without = judge([problem] * 2, ["exact bad.", "intros. induction n; auto."], "coq")
    assert (rests.outcome, without.outcome) == ("failed", "passed")
    assert "bad" in rests.detail
