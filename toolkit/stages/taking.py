"""Takes the answers from the completions of a run, with the run's own verifier.

A shard's map says which answer each of its samples gives. The texts of the answers are taken again
when they are judged: a map holds digests only.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from toolkit.errors import CorruptShard, UsageError
from toolkit.records import THOUGHT, Answer, Problem, PromptStyle, Slice, answer_digest
from toolkit.runs.answers import Chosen, distinct_answers, map_is_current, map_path, write_map
from toolkit.runs.damage import damaged_maps
from toolkit.runs.judge import judge_choice
from toolkit.runs.run import Run
from toolkit.runs.shard_facts import read_facts
from toolkit.runs.shards import read_shard
from toolkit.runs.tables import UNREADABLE
from toolkit.verifiers.base import Verifier, open_verifier

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taking:
    """Takes the answers from a run's completions, with the run's verifier."""

    run: Run
    verifier: Verifier
    problems: Mapping[str, Problem]
    style: PromptStyle

    @classmethod
    def of(cls, run: Run, verifier: Verifier) -> "Taking":
        """By this verifier, which is the run's own."""
        problems = {p.task_id: p for p in run.problems()}
        return cls(run, verifier, problems, run.prompt_style())

    def map_slices(self, slices: Sequence[Slice], first: int, step: int) -> set[str]:
        """Write the maps of these slices that are not current: first every `step`th from `first`.

        So array tasks that start together make different maps. When they come to the other slices,
        those have maps. A damaged shard is named in the log. Returns the slices of such shards.
        """
        corrupt = set()
        others = (s for i, s in enumerate(slices) if i % step != first)
        for each in (*slices[first::step], *others):
            try:
                self.map_answers(each)
            except CorruptShard as error:
                log.error("%s", error)
                corrupt.add(each.name)
        return corrupt

    def map_answers(self, each: Slice) -> None:
        """Write the map of a shard, unless there is a current one.

        A map names the shard and the extraction that it was made from. If the shard has been
        replaced, or the extraction is older, the map is made again.
        """
        if map_is_current(self.run, each.name, self.verifier.extraction):
            return
        samples = read_shard(self.run, each)
        thinking = self.begins_in_thought(each)
        digests: dict[tuple[str, str], int | None] = {}
        columns = (samples[name].to_list() for name in ("task_id", "completion"))
        keys = list(zip(*columns, strict=True))
        for key in keys:
            if key not in digests:
                text = self.extract(*key, thinking=thinking)
                digests[key] = None if text is None else answer_digest(text)
        column = pl.Series("answer", [digests[key] for key in keys], dtype=pl.UInt64)
        write_map(self.run, each.name, samples.with_columns(column), self.verifier.extraction)

    def distinct(self, present: Sequence[Slice], chosen: Chosen) -> pl.DataFrame:
        """See `distinct_answers`. Maps that cannot be read are made anew."""
        try:
            return distinct_answers(self.run, present, chosen)
        except UNREADABLE:
            broken = {path.stem for path, _ in damaged_maps(self.run)}
            for each in present:
                if each.name in broken:
                    path = map_path(self.run, each.name)
                    log.warning("%s: cannot be read, so it is made anew", path)
                    path.unlink(missing_ok=True)
                    self.map_answers(each)
            return distinct_answers(self.run, present, chosen)

    def answers(
        self, present: Sequence[Slice], todo: pl.DataFrame, corrupt: set[str]
    ) -> Iterator[Answer]:
        """Yield the answers to judge, shard by shard. Each is extracted when the judge asks for it.

        A damaged shard is named in the log, added to `corrupt`, and left out.
        """
        by_name = {s.name: s for s in present}
        for (name,), rows in todo.group_by("slice", maintain_order=True):
            try:
                shard = read_shard(self.run, by_name[str(name)])
            except CorruptShard as error:
                log.error("%s", error)
                corrupt.add(str(name))
                continue
            samples = shard.join(rows, on=["task_id", "seed"])
            thinking = self.begins_in_thought(by_name[str(name)])
            for row in samples.select("task_id", "answer", "completion").iter_rows():
                task_id, digest, completion = row
                text = self.extract(task_id, completion, thinking=thinking)
                if text is not None:
                    yield Answer(task_id, digest, text)

    def begins_in_thought(self, each: Slice) -> bool:
        """Whether the completions of a shard begin in a thought that their prompts have opened."""
        return bool(read_facts(self.run.shard_path(each.name)).engine.opens_thought)

    def extract(self, task_id: str, completion: str, *, thinking: bool) -> str | None:
        """The answer in a completion; None for none. thinking: see `begins_in_thought`."""
        completion = THOUGHT + completion if thinking else completion
        return self.verifier.extract(self.problems[task_id], completion, self.style)


def taker(run: Run, verifier: Verifier) -> Verifier:
    """The verifier that takes the run's answers: its own.

    Raises `UsageError` if the one that judges them takes other answers.
    """
    own = open_verifier(judge_choice(run))
    if own.extraction != verifier.extraction:
        raise UsageError(
            f"the judge takes answers by {verifier.extraction!r}, the run by {own.extraction!r}; "
            "give a task that takes the same answers"
        )
    return own
