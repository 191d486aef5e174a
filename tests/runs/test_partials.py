"""Interrupted slices: whatever happens to a run and its partial files, no sample is lost or doubled."""

import contextlib
import random
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.backends import open_backend
from toolkit.config import Config, Engine, ProblemSet, Quantity, Sampling
from toolkit.errors import EngineFailure, ToolkitError
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.records import Load, Sample
from toolkit.runs import partials
from toolkit.runs.feed import read_feed
from toolkit.runs.partials import (
    brought_samples,
    discard_stale_partials,
    list_partials,
    partial_path,
    read_partials,
    write_partial,
)
from toolkit.runs.run import open_run
from toolkit.runs.shard_facts import EngineStart, Origin, ShardFacts, TokenCounts, read_facts
from toolkit.runs.shards import read_shard, verify_shards
from toolkit.runs.usage import read_spent
from toolkit.stages import sampler as sampling
from toolkit.stages.sampler import Sampler
from toolkit.verifiers.base import examples_of, prompts_of

CONFIG = Config(
    sampling=Sampling(backend="synthetic"),
    problem_set=ProblemSet(limit=3),
    quantity=Quantity(samples=10, slice_samples=8, slice_seeds=3),
)


class Slow:
    """Finishes two samples a step, in random order; after `steps` it is stopped or dies."""

    def __init__(self, run, in_flight=7, steps=10**6, dies=False, seed=0):
        self.inner = open_backend(CONFIG, examples_of(run.problems()))
        self.max_in_flight, self.left, self.dies = in_flight, steps, dies
        self.waiting, self.drawn, self.random = [], [], random.Random(seed)

    def submit(self, request):
        self.inner.submit(request)
        self.waiting += self.inner.step()

    def step(self):
        self.left -= 1
        if self.left < 0 and self.dies:
            raise EngineFailure("the engine died")
        self.random.shuffle(self.waiting)
        finished = [self.waiting.pop() for _ in range(min(2, len(self.waiting)))]
        self.drawn += [(s.task_id, s.seed) for s in finished]
        return finished

    def stopped(self):
        return self.left <= 0 and not self.dies

    def load(self):
        return Load(0.5, 0)


def go_on(run, backend, killed=False, facts=None):
    """One attempt at all that is missing. True if it came to the end."""
    discard_stale_partials(run)
    pending = [s for s in run.slices() if s.name not in run.done()]
    partials = read_partials(run, pending)
    sampler = Sampler(run, pending, prompts_of(run.problems()), backend, facts, partials)
    if killed:  # nothing is written at the end
        sampler._leave = lambda: sampler._writer.settle(0, 60)
    with contextlib.suppress(EngineFailure):
        return sampler.sample(backend.stopped)
    return False


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run without samples, and the samples of an undisturbed one."""
    folder = tmp_path_factory.mktemp("template")
    plan = plan_launch(CONFIG, folder, folder / "run")
    run = freeze_launch(plan)
    calm = open_run(shutil.copytree(run.path, folder / "calm"))
    assert go_on(calm, Slow(calm))
    return run, drawn_in(calm)


@pytest.fixture
def run(template, tmp_path):
    return open_run(shutil.copytree(template[0].path, tmp_path / "run"))


def drawn_in(run):
    frames = [read_shard(run, slice_) for slice_ in run.slices()]
    return pl.concat(frames).sort("task_id", "seed")


def truncate(path, other):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path, other):
    path.write_bytes(b"")


def scribble(path, other):
    data = bytearray(path.read_bytes())
    for at in random.Random(len(data)).sample(range(len(data)), 20):
        data[at] ^= 0x55
    path.write_bytes(data)


def swap(path, other):
    path.write_bytes(other.read_bytes())


def delete(path, other):
    path.unlink()


def another_table(path, other):
    pl.DataFrame({"task_id": ["HumanEval/0"]}).write_parquet(path)


def directory(path, other):
    path.unlink()
    path.mkdir()


def doubled(path, other):
    """Rows that the digest confirms, as another version of the toolkit might write them."""
    rewrite(path, lambda rows: [*rows, rows[0]])


def unplanned(path, other):
    rewrite(path, lambda rows: [*rows[1:], replace(rows[0], seed=10**6)])


def rewrite(path, change):
    run = open_run(path.parents[1])
    slice_ = next(s for s in run.slices() if s.name == path.stem)
    rows = change([Sample(*row) for row in pl.read_parquet(path).iter_rows()])
    tokens = TokenCounts(output=sum(r.n_tokens for r in rows))
    write_partial(run, slice_, rows, replace(read_facts(path), tokens=tokens, earlier=()))


DAMAGES = (
    truncate,
    empty,
    scribble,
    swap,
    delete,
    another_table,
    directory,
    doubled,
    unplanned,
)
ATTEMPTS = st.lists(
    st.fixed_dictionaries(
        {
            "steps": st.integers(0, 14),
            "in_flight": st.integers(1, 30),
            "end": st.sampled_from(["stop", "die", "kill"]),
            "often": st.booleans(),
            "keeps_stale": st.booleans(),
            "damage": st.sampled_from([None, None, *DAMAGES]),
            "seed": st.integers(0, 99),
        }
    ),
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(attempts=ATTEMPTS)
def test_whatever_interrupts_and_damages_a_run_its_samples_are_those_of_a_calm_one(
    template, attempts
):
    """Stops, dead engines and kill -9 at any step, with any damage to partial files between."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        run = open_run(shutil.copytree(template[0].path, Path(folder) / "run"))
        for number, attempt in enumerate(attempts):
            often = 0.0 if attempt["often"] else 1e9
            patched.setattr(sampling, "REPORT_SECONDS", often)
            patched.setattr(sampling, "KEEP_SECONDS", often)
            if attempt["keeps_stale"]:  # as a crash between shard and deletion does
                patched.setattr(sampling, "discard_partial", lambda *_: None)
            dies = attempt["end"] == "die"
            backend = Slow(run, attempt["in_flight"], attempt["steps"], dies, attempt["seed"])
            ended = go_on(run, backend, attempt["end"] == "kill")
            assert not ended or run.done() == {s.name for s in run.slices()}
            files = sorted(p for p in run.partial_dir.glob("*.parquet") if p.is_file())
            if attempt["damage"] and files:
                attempt["damage"](files[number % len(files)], files[-1])
        assert go_on(run, Slow(run))
        assert drawn_in(run).equals(template[1])
        assert not list(verify_shards(run))
        discard_stale_partials(run)
        assert not any(p.is_file() for p in run.path.glob("partial/*"))
        facts = [read_facts(run.shard_path(s.name)) for s in run.slices()]
        assert sum(f.tokens.output for f in facts) == template[1]["n_tokens"].sum()


def test_a_sample_that_was_kept_is_not_drawn_again(run):
    drawn = []
    for steps in (3, 4, 5, 10**6):
        backend = Slow(run, steps=steps)
        go_on(run, backend)
        drawn += backend.drawn
    assert len(drawn) == len(set(drawn)) == 30
    assert not list(run.partial_dir.iterdir())


def test_a_kill_costs_only_what_is_younger_than_the_last_partial_file(run, monkeypatch):
    monkeypatch.setattr(sampling, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(sampling, "KEEP_SECONDS", 0.0)
    killed = Slow(run, in_flight=30, steps=10)
    go_on(run, killed, killed=True)
    assert sum(each.samples for each in list_partials(run)) + 8 * len(run.done()) == 20


def test_the_shard_tells_of_all_attempts_at_it(run):
    """Whose tokens and GPU time are paid for."""
    first = ShardFacts(origin=Origin(host="a", slurm_restarts=0), start=EngineStart(0, 0.0, 50.0))
    then = ShardFacts(origin=Origin(host="b", slurm_restarts=1), start=EngineStart(0, 0.0, 70.0))
    go_on(run, Slow(run, in_flight=30, steps=3), facts=first)
    kept = {each.slice: each for each in list_partials(run)}
    assert sum(each.samples for each in kept.values()) == 6
    before = read_spent(run)
    assert (before.tasks, before.startup_seconds) == (1, 50.0)
    go_on(run, Slow(run), facts=then)
    found = {s.name: read_facts(run.shard_path(s.name)) for s in run.slices()}
    for name, facts in found.items():
        assert facts.origin.host == "b"
        assert [e.origin.host for e in facts.earlier] == ["a"] * (name in kept)
        assert facts.tokens.output == read_shard(run, slice_of(run, name))["n_tokens"].sum()
        *earlier, last = facts.attempts()
        assert sum(e.tokens.output for e in earlier) + last.tokens.output == facts.tokens.output
        assert all(e.times.ended <= last.times.started for e in earlier)
    spent = read_spent(run)
    assert (spent.tasks, spent.startup_seconds) == (2, 120.0)
    assert spent.tokens == sum(f.tokens.output for f in found.values())
    assert spent.prompt_tokens == sum(f.tokens.prompt for f in found.values()) > 0
    assert spent.preemptions == 0
    assert read_feed(run)["task"].n_unique() == 2


def slice_of(run, name):
    return next(s for s in run.slices() if s.name == name)


@pytest.mark.parametrize("damage", [truncate, empty, scribble, another_table, doubled, unplanned])
def test_a_bad_partial_file_is_set_aside_with_a_line(run, damage, caplog):
    go_on(run, Slow(run, in_flight=30, steps=3))
    path = partial_path(run, list_partials(run)[0].slice)
    damage(path, path)
    assert read_partials(run, run.slices()).keys().isdisjoint({path.stem})
    (line,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert line.startswith(f"{path}: ")
    assert line.endswith("; its slice is sampled anew")
    assert "\n" not in line
    assert [p.name.split(".partial-")[0] for p in run.path.glob("quarantine/*")] == [path.stem]
    assert not path.exists()


def test_a_partial_file_of_another_run_or_slice_is_set_aside(run, tmp_path, template):
    go_on(run, Slow(run, in_flight=30, steps=10))
    good, *_, last = (partial_path(run, each.slice) for each in list_partials(run))
    shutil.copy(good, last)
    other = freeze_launch(plan_launch(replace(CONFIG, engine=Engine()), tmp_path / "o"))
    assert last.stem not in read_partials(run, run.slices())
    other.partial_dir.mkdir()
    other.update_manifest({"digest": "another"})
    shutil.copy(good, partial_path(other, good.stem))
    assert not read_partials(other, other.slices())


def test_the_slower_of_two_writers_leaves_a_stale_file_at_most(run):
    go_on(run, Slow(run, in_flight=30, steps=3))
    slice_ = slice_of(run, list_partials(run)[0].slice)
    partial = read_partials(run, [slice_])[slice_.name]
    path, data = (found := partial_path(run, slice_.name)), found.read_bytes()
    assert go_on(run, Slow(run))
    shard = run.shard_path(slice_.name).read_bytes()
    write_partial(run, slice_, partial.samples, partial.facts)
    assert not path.exists()  # it sees the shard
    path.write_bytes(data)  # or it had looked before
    path.with_name(f".{path.name}.7-0").write_bytes(data)  # as a kill -9 of a writer leaves
    assert not list_partials(run)
    discard_stale_partials(run)
    assert not list(run.partial_dir.iterdir())
    assert run.shard_path(slice_.name).read_bytes() == shard


def test_a_partial_file_is_opened_once_until_it_changes(run, monkeypatch):
    go_on(run, Slow(run, in_flight=30, steps=3))
    first, opened = list_partials(run), []
    monkeypatch.setattr(
        partials, "read_facts", lambda path: opened.append(path) or read_facts(path)
    )
    assert list_partials(run) == first
    assert not opened
    go_on(run, Slow(run, in_flight=30, steps=1, seed=1))
    opened.clear()  # sampling has read them too
    later = dict_of(list_partials(run))
    changed = {path.stem for path in opened}
    assert changed
    assert changed == {name for name in later if later[name] != dict_of(first).get(name)}


def dict_of(listed):
    return {each.slice: each.samples for each in listed}


def test_a_file_that_cannot_be_written_says_so(run):
    run.partial_dir.write_text("no directory")
    slice_ = run.slices()[0]
    with pytest.raises(ToolkitError, match=r"cannot be written: .*; mend that, then run the same"):
        write_partial(run, slice_, [], ShardFacts())
    assert not read_partials(run, run.slices())


def test_whether_a_restart_brought_samples(run):
    mine = Origin(slurm_job="7", slurm_task="1", slurm_restarts=1)
    names = [s.name for s in run.slices()]
    go_on(run, Slow(run, in_flight=30, steps=3), facts=ShardFacts(origin=mine))
    assert brought_samples(run, names, mine, {1})
    assert not brought_samples(run, names, mine, {0, 2})
    assert not brought_samples(run, names, replace(mine, slurm_task="2"), {1})
    go_on(run, Slow(run), facts=ShardFacts(origin=replace(mine, slurm_restarts=2)))
    assert not list_partials(run)
    assert brought_samples(run, names, mine, {1})  # the shards tell of it
    assert brought_samples(run, names, mine, {2})
    assert not brought_samples(run, names, mine, {3})
