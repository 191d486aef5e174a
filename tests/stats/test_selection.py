"""Votes and best-of-k against all subsets, one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.stats import selection
from toolkit.stats.passk import pass_at_k
from toolkit.stats.selection import NO_ANSWER, Ballot, best_of, majority, oracle, weighted_vote


def random():
    return np.random.default_rng(0)


def by_hand(ballot, k, weigh):
    """The mean over all subsets of the winner's correctness, as the words say it."""
    found = []
    for subset in itertools.combinations(range(len(ballot)), k):
        worth = weigh(ballot, subset)
        if not worth:
            found.append(0.0)
            continue
        best = max(worth.values())
        tied = [name for name, value in worth.items() if value == best]
        found.append(np.mean([correctness(ballot, name) for name in tied]))
    return np.mean(found)


def correctness(ballot, group):
    if isinstance(group, tuple):  # one sample, by its index
        return ballot.passed[group[0]]
    return ballot.passed[ballot.groups == group].mean()


def votes_of(ballot, subset):
    groups = [int(g) for g in ballot.groups[list(subset)] if g != NO_ANSWER]
    return {g: groups.count(g) for g in groups}


def weights_of(ballot, subset):
    found = {}
    for i in subset:
        if ballot.groups[i] != NO_ANSWER:
            group = int(ballot.groups[i])
            found[group] = found.get(group, 0.0) + ballot.scores[i]
    return found


def best_sample(ballot, subset):
    return {(i,): ballot.scores[i] for i in subset if ballot.groups[i] != NO_ANSWER}


@st.composite
def ballots(draw):
    n = draw(st.integers(1, 7))
    groups = draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n))
    right = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    scores = draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0]), min_size=n, max_size=n))
    passed = [r if g != NO_ANSWER else 0 for r, g in zip(right, groups, strict=True)]
    return Ballot(np.array(groups), np.array(passed, dtype=float), np.array(scores))


@settings(max_examples=60)
@given(ballots())
def test_each_selector_is_the_mean_over_all_subsets(ballot):
    ks = np.arange(1, len(ballot) + 1)
    found = {
        votes_of: majority(ballot, ks, random()),
        weights_of: weighted_vote(ballot, ks, random()),
    }
    for weigh, chosen in found.items():
        exact = [by_hand(ballot, k, weigh) for k in ks]
        assert chosen.right == pytest.approx(exact, abs=1e-12)
        assert not chosen.error.any()
    exact = [by_hand(ballot, k, best_sample) for k in ks]
    assert best_of(ballot, ks) == pytest.approx(exact, abs=1e-12)


@settings(max_examples=30)
@given(ballots())
def test_no_selector_beats_the_oracle_and_one_try_has_nothing_to_choose(ballot):
    if any(len({*ballot.passed[ballot.groups == g]}) > 1 for g in ballot.groups):
        return  # a group of both kinds counts by its share, which the oracle does not know
    ks = np.arange(1, len(ballot) + 1)
    ceiling = oracle(ballot, ks)
    for values in (best_of(ballot, ks), majority(ballot, ks, random()).right):
        assert (values <= ceiling + 1e-12).all()
        assert values[0] == pytest.approx(ballot.passed.mean(), abs=1e-12)


def test_random_subsets_agree_with_the_exact_value(monkeypatch):
    draw = np.random.default_rng(3)
    groups = draw.choice(12, size=60, p=np.arange(1, 13) / 78)
    ballot = Ballot(groups, (groups >= 10).astype(float), draw.random(60))
    ks = np.array([1, 5, 20, 60])
    exact = majority(ballot, ks, random())
    monkeypatch.setattr(selection, "EXACT_SAMPLES", 10)
    drawn = majority(ballot, ks, random())
    assert (np.abs(drawn.right - exact.right) <= 4 * drawn.error + 1e-12).all()
    assert 0 < drawn.error[1] < 0.02
    assert drawn.error[3] == 0  # there is one subset


def test_a_large_majority_is_exact():
    """100 samples, 60 of them right: k = 100 is sure, and one more than half wins below."""
    ballot = Ballot(np.repeat([0, 1], [60, 40]), np.repeat([1.0, 0.0], [60, 40]))
    ks = np.array([1, 2, 3, 99, 100])
    found = majority(ballot, ks, random()).right
    shares = [0.6, 0.6, 1 - (40 * 39 * 38 + 3 * 60 * 40 * 39) / (100 * 99 * 98), 1, 1]
    assert found == pytest.approx(shares, abs=1e-12)


def test_where_nobody_answers_nobody_wins():
    ballot = Ballot(np.full(4, NO_ANSWER), np.zeros(4), np.full(4, np.nan))
    ks = np.array([1, 4])
    for values in (
        majority(ballot, ks, random()).right,
        weighted_vote(ballot, ks, random()).right,
        best_of(ballot, ks),
    ):
        assert values.tolist() == [0, 0]


def test_the_oracle_is_pass_at_k():
    ballot = Ballot(np.array([0, 0, 1, 2]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert oracle(ballot, np.array([1, 3])).tolist() == pass_at_k(4, 2, [1, 3]).tolist()


def test_scores_are_needed_and_weights_are_not_negative():
    ballot = Ballot(np.array([0]), np.array([1.0]))
    for choose in (
        lambda: best_of(ballot, np.array([1])),
        lambda: weighted_vote(ballot, np.array([1]), random()),
    ):
        with pytest.raises(UsageError, match="scores"):
            choose()
    negative = Ballot(ballot.groups, ballot.passed, np.array([-1.0]))
    with pytest.raises(UsageError, match="0 or more"):
        weighted_vote(negative, np.array([1]), random())
