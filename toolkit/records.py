"""The nouns of the toolkit, as frozen dataclasses. This module imports nothing of the toolkit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Outcome = Literal["passed", "failed", "timed_out", "error"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
"""`error`: the judge could not decide. It is our fault, and never a failure of the model."""

FailureKind = Literal[
    "",
    "syntax",
    "wrong_answer",
    "exception",
    "no_function",
    "time",
    "memory",
    "exit",
    "refused",
    "no_answer",
]
FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)
"""What happened to an answer that did not pass; "" if it passed or could not be decided.

syntax: the text cannot be compiled. wrong_answer: a test's assertion failed. exception: an
exception that is no assertion of a test. no_function: the function asked for does not exist. time,
memory: a limit was reached. exit: the process ended before the tests did. refused: the sandbox
refused a call. no_answer: the completion holds no answer.
"""

FinishReason = Literal["stop", "length", "abort"]
FINISH_REASONS: tuple[str, ...] = get_args(FinishReason)

PromptStyle = Literal["chat", "completion", "verbatim", "solution"]
"""How a completion was asked for.

`verbatim`: it was made elsewhere and is used unchanged, where the prompt ends. `solution`: it was
made elsewhere and is a whole answer.
"""

NO_ANSWER = "no answer"
"""The detail of a sample whose completion holds no answer. Such a sample has failed."""

THOUGHT: Final = "<think>"
"""Opens a reasoning model's thought, which is no part of its answer.

Some chat templates write it themselves: DeepSeek-R1's and QwQ's prompts end with it. A completion
then begins within the thought and never holds this tag. If it is cut before `THOUGHT_END`, its text
alone does not tell. So sampling records what the template does (`EngineFacts.opens_thought`), and
such a completion is read with this tag before it.
"""
THOUGHT_END: Final = "</think>"


def after_thoughts(text: str) -> str | None:
    """The text after a reasoning model's last thought; None if one is begun and does not end."""
    said = text.rpartition(THOUGHT_END)[2]
    return None if THOUGHT in said else said


Setting = str | int | float | bool
"""The value of one of a judge's settings."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked about one problem, phrased by its task or by its verifier.

    messages: (role, text) of each message of a chat, before the model's chat template. text: what
    a base model continues. stop: the strings at which its completion goes beyond the answer.
    """

    messages: tuple[tuple[str, str], ...]
    text: str
    stop: tuple[str, ...] = ()

    def stop_strings(self, style: str, asked: tuple[str, ...] | None) -> tuple[str, ...]:
        """The strings `asked` for. None: the prompt's own in completion style, else none."""
        if asked is not None:
            return asked
        return self.stop if style == "completion" else ()

    def chat(self) -> list[dict[str, str]]:
        """The messages in the form of chat interfaces: {role, content} each."""
        return [{"role": role, "content": text} for role, text in self.messages]


@dataclass(frozen=True, slots=True)
class Problem:
    """One question of a benchmark.

    kind: the verifier that judges its answers. reference: a JSON object with what that verifier
    needs to judge them; nobody else reads it. solution: a correct completion, "" if none is known.
    phrased: what a model is asked, as the task phrases it; None: as the verifier does.
    """

    task_id: str
    prompt: str
    kind: str
    reference: str
    solution: str = ""
    phrased: Prompt | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to draw: of this problem, with this seed, from this prompt."""

    task_id: str
    seed: int
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Examples:
    """Completions whose verdicts are known. They test a judge, and they can replace a model.

    A wrong one, such as `return None`, may be right for some problem by luck. It cannot happen that
    all of them are right.
    """

    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeedRange:
    """The samples `seed_start <= seed < seed_stop` of one problem."""

    task_id: str
    seed_start: int
    seed_stop: int

    def __len__(self) -> int:
        return self.seed_stop - self.seed_start


@dataclass(frozen=True, slots=True)
class Slice:
    """The unit of sampling work. It becomes exactly one shard, `samples/<name>.parquet`."""

    name: str
    ranges: tuple[SeedRange, ...]

    def __len__(self) -> int:
        return sum(len(r) for r in self.ranges)

    def sample_keys(self) -> Iterator[tuple[str, int]]:
        """(task_id, seed) of each of its samples, range by range."""
        for seeds in self.ranges:
            for seed in range(seeds.seed_start, seeds.seed_stop):
                yield seeds.task_id, seed


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of one problem under one seed. The text is the model's, unchanged.

    n_tokens: tokens of the completion; None of a sample that was made elsewhere. logprob: the mean
    log-probability of these tokens, in nats; None where it was not asked for, or there is no token.
    prompt_tokens: tokens of its prompt, chat template included. cached_tokens: those of them that
    the engine's prefix cache held already. Either is None if the backend does not know it.
    computed_tokens: tokens of the completion that were computed for this sample, where samples of
    a problem share what they have in common. None: they do not.
    """

    task_id: str
    seed: int
    completion: str
    n_tokens: int | None
    finish_reason: FinishReason
    logprob: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    computed_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How full an engine is, as it says itself. A field is None if it does not say.

    kv_cache: the largest share of its KV cache in use since the last question, 0 to 1.
    preemptions: how many sequences it has stopped for lack of KV cache and begun again, since its
    start.
    """

    kv_cache: float | None = None
    preemptions: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verifier takes from a completion and judges: a program, a number, a proof.

    `digest` is `answer_digest(text)`. Equal answers to a problem share one verdict under a judge.
    """

    task_id: str
    digest: int
    text: str


def answer_digest(text: str) -> int:
    """64-bit BLAKE2b of an answer's text.

    Among 10^6 answers to a problem, two have the same digest with probability 3e-8.
    """
    return _digest64(text.encode("utf-8", "surrogatepass"))


def _digest64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


PLACES: Final = frozenset({"folder"})
"""Settings that say where a judge's files are on a node. Their digest, another setting, decides."""


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """How a run is judged, as the run records it: a verifier and its settings.

    Only settings that differ from their defaults are recorded. The version is not: it is that of
    the code that judges.
    """

    verifier: str
    settings: tuple[tuple[str, Setting], ...] = ()

    @classmethod
    def of(
        cls, verifier: str, settings: Mapping[str, Setting], defaults: Mapping[str, Setting]
    ) -> "JudgeChoice":
        """The choice with these settings, without those at their default."""
        changed = {k: v for k, v in settings.items() if v != defaults.get(k)}
        return cls(verifier, tuple(sorted(changed.items())))

    @property
    def decisive(self) -> dict[str, Setting]:
        """The settings that decide verdicts: all but the places of files."""
        return {k: v for k, v in self.settings if k not in PLACES}

    def placed_as(self, other: "JudgeChoice") -> "JudgeChoice":
        """This choice with the places of the other one, if both are of the same files."""
        own, others = dict(self.settings), dict(other.settings)
        if self.verifier != other.verifier or own.get("digest") != others.get("digest"):
            return self
        places = {k: v for k, v in others.items() if k in PLACES}
        return JudgeChoice(self.verifier, tuple(sorted({**self.decisive, **places}.items())))


@dataclass(frozen=True, slots=True)
class Judge:
    """How answers are decided: a choice, the version of its verifier, and the defaults.

    `digest` is part of a verdict's key.
    """

    choice: JudgeChoice
    version: int
    defaults: tuple[tuple[str, Setting], ...] = ()

    @property
    def verifier(self) -> str:
        """The kind of verifier."""
        return self.choice.verifier

    @property
    def settings(self) -> dict[str, Setting]:
        """All settings, including those at their default."""
        return {**dict(self.defaults), **dict(self.choice.settings)}

    @property
    def digest(self) -> int:
        """64-bit digest of verifier, version, and the settings that differ from their defaults."""
        return judge_digest(self.choice, self.version)

    def older_digests(self) -> list[int]:
        """The digests of the same choice under all earlier versions of its verifier."""
        return [judge_digest(self.choice, version) for version in range(1, self.version)]

    def line(self) -> str:
        """One line for people: `python_tests, version 1, timeout 3.0`."""
        return judge_line(self.verifier, self.version, self.settings)


def judge_line(verifier: str, version: int, settings: Mapping[str, Setting]) -> str:
    """One line for people: `python_tests, version 1, timeout 3.0`."""
    shown = "".join(f", {name} {value}" for name, value in settings.items())
    return f"{verifier}, version {version}{shown}"


def judge_digest(choice: JudgeChoice, version: int) -> int:
    """64-bit BLAKE2b of a judge as canonical JSON, without the places of its files."""
    key = [choice.verifier, version, choice.decisive]
    return _digest64(json.dumps(key, sort_keys=True, separators=(",", ":")).encode())


DETAIL_CHARACTERS = 200
"""Of a verdict's detail."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of an answer under a judge. `answer` is the answer's digest.

    kind: what happened if it did not pass. detail: the same as text, never empty on a failure, and
    no longer than `DETAIL_CHARACTERS`. suspect: why a passed answer is in doubt, () for no doubt.
    seconds: the time it used, as the time limit counts it: CPU time plus time asleep. canonical: a
    form that equal answers share, whatever the reference, in at most 200 characters; "" for the
    answer's own text.
    """

    task_id: str
    answer: int
    outcome: Outcome
    kind: FailureKind
    detail: str
    suspect: tuple[str, ...]
    seconds: float
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine is, as the shards record it. A field is None if the backend does not know.

    engine: its kind and version. device: the name of one of its devices, or the URL of a server.
    max_model_len: the most tokens of a prompt and its completion together. tensor_parallel_size:
    how many GPUs the engine uses. served_model: the server's name of the model. replay_file: the
    file with the recorded completions. model_commit: the commit of a model of the Hugging Face hub.
    opens_thought: whether the chat template opens the model's thought, so that a completion begins
    within it. engine_seed: of the engine's own random stream, if no sample had a seed of its own.
    shape: what a decoding step of the model reads, as JSON (`toolkit.stats.roofline.Shape`).
    """

    engine: str | None = None
    device: str | None = None
    dtype: str | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int | None = None
    served_model: str | None = None
    replay_file: str | None = None
    model_commit: str | None = None
    opens_thought: bool | None = None
    engine_seed: int | None = None
    shape: str | None = None
