"""How a run was sampled and judged, as a report says it."""

from dataclasses import dataclass

from toolkit.records import Judge, Setting, judge_line


@dataclass(frozen=True, slots=True)
class SamplingFacts:
    """How the run was sampled; null where its backend has no such setting."""

    model: str
    backend: str | None
    prompt_style: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class JudgeFacts:
    """How the run was judged: the kind of verifier, its version, and all its settings."""

    verifier: str
    version: int
    settings: dict[str, Setting]

    @classmethod
    def of(cls, judge: Judge) -> "JudgeFacts":
        """What a report says of a judge."""
        return cls(judge.verifier, judge.version, judge.settings)

    def line(self) -> str:
        """For people: `python_tests, version 1, timeout 3.0`."""
        return judge_line(self.verifier, self.version, self.settings)
