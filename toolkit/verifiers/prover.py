"""What a prover is to the judge of proofs: what it needs, what it executes, what it says."""

from dataclasses import dataclass, field
from typing import Protocol

from toolkit.records import FailureKind, Problem
from toolkit.sandbox.confine import Limits


class Refused(Exception):
    """An answer that is not given to the prover: it holds more than a proof, or a gap."""

    def __init__(self, why: str, kind: FailureKind = "wrong_answer") -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed for one answer; see `toolkit.sandbox.exec_program`."""

    argv: tuple[str, ...]
    files: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)


class Prover(Protocol):
    """A program that decides proofs, ready on this node. It is made with what it needs there."""

    readable: tuple[str, ...]
    """What it reads beside the system."""
    limits: Limits

    def program(self, problem: Problem, proof: str) -> Program:
        """What decides the proof. Raises `Refused`; `UsageError` for a problem that is no statement
        of this prover's.
        """

    def objection(self, output: str) -> str:
        """What the prover has against the proof, by what it wrote; "" if the proof is right."""
