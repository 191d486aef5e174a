"""Answers that are proofs of a formal statement, decided by a prover in the sandbox.

The setting `prover` names it: metamath, coq or lean. The prover's module says what a reference is,
what an answer may hold, and what counts as proved. The setting `digest` is that of the database
that metamath reads (`toolkit.verifiers.judge_files`); whoever makes the judge's choice sets it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from toolkit.errors import UsageError
from toolkit.records import (
    Answer,
    Examples,
    Judge,
    Problem,
    Prompt,
    PromptStyle,
    Setting,
    Verdict,
    after_thoughts,
)
from toolkit.sandbox.confine import IsolationLevel
from toolkit.sandbox.runner import Errand, Result, Runner
from toolkit.verifiers import coq, lean, metamath
from toolkit.verifiers.answers import ANSWERS_VERSION, before_stop, fenced_blocks
from toolkit.verifiers.errand_judging import ErrandJudging, failed
from toolkit.verifiers.exec_errand import FUNCTION, program_errand, unfinished
from toolkit.verifiers.prover import Prover, Refused

PROVERS: Final[Mapping[str, Callable[[str], str]]] = {
    "metamath": metamath.proof_in,
    "coq": coq.proof_in,
    "lean": lean.proof_in,
}
"""Prover -> what takes the proof from the text of a completion."""
_PROOF_VERSION: Final = 1
"""Raised with every change of what is taken from a completion. Answers are then extracted again."""
_MOST_CHARACTERS: Final = 200_000
"""Of a completion's end, where a proof is looked for."""
_WRONG: Final[Mapping[str, tuple[str, ...]]] = {
    "metamath": ("?", "idi", "( ) A", "idi bad $a |- F. $."),
    "coq": ("admit.", "idtac.", "Admitted.\nAxiom bad : False."),
    "lean": ("  sorry", "  skip", "  done\naxiom bad : False"),
}
_ASKED: Final = "Prove this statement. Answer with the proof alone, in a block between ```."


class Proof:
    """The verifier of proofs. settings: prover, timeout (seconds a proof), digest."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._prover = str(settings["prover"])
        if self._prover not in PROVERS:
            raise UsageError(f"prover = {self._prover!r}: unknown; valid: {', '.join(PROVERS)}")
        self.extraction = f"proof {self._prover} {ANSWERS_VERSION}.{_PROOF_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`."""
        asked = f"{_ASKED}\n\n{problem.prompt}"
        return Prompt(messages=(("user", asked),), text=problem.prompt)

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`: the last block of code, else the text; of it the proof alone."""
        said = after_thoughts(completion)
        if said is None:
            return None
        said = before_stop(said, style, problem.phrased or self.prompt(problem))
        said = said[-_MOST_CHARACTERS:]
        blocks = fenced_blocks(said) if style != "completion" else []
        return PROVERS[self._prover](blocks[-1] if blocks else said) or None

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`."""
        return Examples((problem.solution,) if problem.solution else (), _WRONG[self._prover])

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> "ProofJudging":
        """See `Verifier.judging`. Raises `UsageError` where `check_prover` does."""
        prover = _open(judge)
        runner = Runner(
            FUNCTION,
            workers=workers,
            limits=prover.limits,
            isolation=isolation,
            readable=prover.readable,
        )
        return ProofJudging(runner, prover, float(judge.settings["timeout"]))


def check_prover(judge: Judge) -> None:
    """Raise `UsageError` if this node lacks the judge's prover, or what that reads."""
    match judge.settings["prover"]:
        case "metamath":
            metamath.check_metamath(str(judge.settings["digest"]))
        case "coq":
            coq.check_coq()
        case _:
            lean.check_lean()


def _open(judge: Judge) -> Prover:
    match judge.settings["prover"]:
        case "metamath":
            return metamath.Metamath(str(judge.settings["digest"]))
        case "coq":
            return coq.Coq()
        case _:
            return lean.Lean()


class ProofJudging(ErrandJudging):
    """See `Judging`. timeout: of a proof, in seconds."""

    def __init__(self, runner: Runner, prover: Prover, timeout: float) -> None:
        super().__init__(runner, timeout)
        self._prover = prover

    def judge(self, pairs: Iterable[tuple[Problem, Answer]]) -> Iterator[Verdict]:
        """See `Judging.judge`. What is no proof at all needs no process."""
        refused: deque[Verdict] = deque()
        return self._verdicts(self._errands(pairs, refused), refused, self._verdict)

    def _errands(
        self, pairs: Iterable[tuple[Problem, Answer]], refused: deque[Verdict]
    ) -> Iterator[Errand]:
        for problem, answer in pairs:
            try:
                program = self._prover.program(problem, answer.text)
            except Refused as why:
                refused.append(failed(answer, why.kind, str(why)))
            else:
                yield program_errand(answer, program, self._timeout)

    def _verdict(self, result: Result) -> Verdict:
        answer = cast(Answer, result.key)  # as `program_errand` made it
        if verdict := unfinished(answer, result):
            return verdict
        objection = self._prover.objection(result.output.decode("utf-8", "replace"))
        if result.end != "done":
            objection = objection or result.detail
        if objection:
            return failed(answer, "wrong_answer", objection, result.seconds)
        return Verdict(answer.task_id, answer.digest, "passed", "", "", (), result.seconds)
