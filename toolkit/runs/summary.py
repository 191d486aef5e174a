"""All that status shows of a run's samples and verdicts: read once, then taken from the cache.

The shards' own facts are kept shard by shard. What became of the samples is kept as a whole: it is
worked out again as soon as a map, a verdict, the judge or the stopping rule is another one.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import polars as pl

from toolkit.records import Judge, Slice
from toolkit.runs.damage import naming_damage
from toolkit.runs.outcomes import COUNT_COLUMNS, counts_of, in_order, judged_groups
from toolkit.runs.run import Run
from toolkit.runs.shard_cache import ShardCache, open_cache
from toolkit.runs.shard_facts import ShardFacts
from toolkit.runs.shards import looks_whole
from toolkit.runs.taxonomy import Taxonomy, endings_of, taxonomy_of


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of a run's samples under one judge.

    counts: as `count_outcomes` gives them. outdated: as `outdated_samples` gives them.
    """

    counts: pl.DataFrame
    taxonomy: Taxonomy
    outdated: int

    def json(self, key: str) -> str:
        """For the cache. `of_json` takes it with the same key."""
        counts = self.counts.to_dict(as_series=False)
        known = {"counts": counts, "taxonomy": asdict(self.taxonomy), "outdated": self.outdated}
        return json.dumps({"key": key} | known)

    @classmethod
    def of_json(cls, text: str, key: str) -> "Outcomes | None":
        """What `json` has made. None if there is nothing, or if the key was another one."""
        known = json.loads(text or "{}")
        if known.get("key") != key:
            return None
        counts = pl.DataFrame(known["counts"], schema=COUNT_COLUMNS)
        return cls(counts, Taxonomy(**known["taxonomy"]), known["outdated"])


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run's files say. shards: the facts of each, without the readings of its feed."""

    shards: list[ShardFacts]
    outcomes: Outcomes


@naming_damage
def read_summary(run: Run, judge: Judge, slices: Sequence[Slice]) -> Summary:
    """Read what is new since the last time, and keep it (see `toolkit.runs.shard_cache`).

    slices: the run's plan. Raises `CorruptShard` for a file that cannot be read.
    """
    # Before the listing: a file that comes later changes these times.
    folders = [f.stat().st_mtime_ns for f in (run.answers_dir, run.verdicts_dir) if f.is_dir()]
    cache = open_cache(run)
    shards = cache.shards()
    maps = _whole_maps(cache)
    present = [s for s in slices if s.name in shards and s.name in maps]
    key = _key(cache, judge, [maps[s.name] for s in present], folders)
    outcomes = Outcomes.of_json(cache.outcomes, key)
    if outcomes is None:
        outcomes = _work_out(run, judge, present)
        cache.outcomes, cache.changed = outcomes.json(key), True
    cache.save()
    return Summary(list(shards.values()), outcomes)


def _work_out(run: Run, judge: Judge, present: Sequence[Slice]) -> Outcomes:
    """What became of the samples of these slices."""
    counts, endings, outdated, rule = [], [], 0, run.stopping_rule()
    for each in judged_groups(run, judge, present):
        counts.append(counts_of(run, each, rule))
        endings.append(endings_of(each.answers))
        outdated += each.outdated
    return Outcomes(in_order(run, counts), taxonomy_of(endings), outdated)


def _whole_maps(cache: ShardCache) -> dict[str, str]:
    """Slice -> path of its map, without those that are truncated."""
    found = {}
    for path in cache.files_in(cache.run.answers_dir):
        known = path in cache.stamps
        if cache.note(path) and (known or looks_whole(cache.run.path / path)):
            found[path.partition("/")[2].removesuffix(".parquet")] = path
        else:
            cache.forget(path)
    return found


def _key(cache: ShardCache, judge: Judge, maps: Sequence[str], folders: Sequence[int]) -> str:
    """A digest of all that the outcomes depend on, and of their form.

    folders: when a map or a verdict was last added, removed or replaced.
    """
    run = cache.run
    rule = run.stopping_rule()
    verdicts = [path for path in cache.files_in(run.verdicts_dir) if cache.note(path)]
    shards = [f"{run.samples_dir.name}/{path.partition('/')[2]}" for path in maps]
    files = [(path, cache.stamps[path]) for path in (*shards, *maps, *verdicts)]
    columns = [*COUNT_COLUMNS, *(each.name for each in fields(Taxonomy))]
    parts = [judge.digest, rule.document() if rule else None, columns, folders, files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
