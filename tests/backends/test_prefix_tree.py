"""Rows that stand for many samples: what each sample draws is its own, and their law is exact."""

import itertools

import numpy as np
import pytest
from scipy import stats

from toolkit.backends.prefix_tree import Row, positions, stream_of, uniforms

FIRST = np.array([0.5, 0.3, 0.2])
NEXT = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
END = 2
"""A language of three words. Its second word depends on the first one, and the third on the second.
Word 2 ends a text. Three words are the longest text."""


def chances(text):
    """The distribution of the word after these."""
    return NEXT[text[-1]] if text else FIRST


def texts():
    """Each text of the language -> its probability."""
    found = {}
    for words in itertools.product(range(3), repeat=3):
        text = words[: words.index(END) + 1] if END in words else words
        found[text] = np.prod([chances(text[:i])[w] for i, w in enumerate(text)])
    return found


def seeds(n, task=0):
    """The samples of a task: their numbers and their streams."""
    return np.arange(n), np.array([stream_of(task, i) for i in range(n)], np.uint64)


def draw_together(numbers, streams):
    """The texts of samples that share what they have in common; and how many words were computed."""
    rows, ended, computed = [Row("t", numbers, streams)], {}, 0
    while rows:
        row = rows.pop()
        while True:
            computed += 1
            cumulated = np.cumsum(chances(row.prefix + row.tokens))
            _, drawn = positions([row])
            row.take(np.searchsorted(cumulated / cumulated[-1], drawn, side="right"))
            if row.tokens[-1] == END or len(row.prefix + row.tokens) == 3:
                break
        for branch in row.split():
            if branch.prefix[-1] == END or len(branch.prefix) == 3:
                ended |= dict.fromkeys(branch.seeds.tolist(), tuple(branch.prefix))
            else:
                rows.append(branch)
        ended |= dict.fromkeys(row.seeds.tolist(), tuple(row.prefix + row.tokens))
    return ended, computed


def test_each_sample_is_what_it_is_alone():
    numbers, streams = seeds(3_000)
    together, computed = draw_together(numbers, streams)
    alone = {}
    for i in range(3_000):
        alone |= draw_together(numbers[i : i + 1], streams[i : i + 1])[0]
    assert together == alone
    assert set(together.values()) == set(texts())
    # Every inner word of the language once, not three words of each of 3,000 samples.
    prefixes = {text[:i] for text in texts() for i in range(len(text))}
    assert computed == len(prefixes)


def test_two_samples_of_a_row_have_the_law_of_two_independent_ones():
    numbers, streams = seeds(200_000)
    (found, _) = draw_together(numbers, streams)
    language = texts()
    order = {text: i for i, text in enumerate(language)}
    seen = np.array([order[found[i]] for i in range(200_000)])
    table = np.zeros((len(order), len(order)))
    np.add.at(table, (seen[::2], seen[1::2]), 1)
    chance = np.array(list(language.values()))
    expected = np.outer(chance, chance) * 100_000
    assert stats.chisquare(table.ravel(), expected.ravel()).pvalue > 0.01
    assert expected.min() > 0.5


def test_numbers_of_a_stream_and_between_streams_are_uniform_and_unrelated():
    streams = seeds(2_000)[1]
    drawn = np.stack([uniforms(streams, t) for t in range(50)])
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 0.01
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for a, b in ((drawn[:-1], drawn[1:]), (drawn[:, :-1], drawn[:, 1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)
    assert len(np.unique(drawn)) == drawn.size


def test_numbers_are_those_of_splitmix64():
    """The first three of the state 1234567, as its authors' C code gives them."""
    state = np.array([1234567], np.uint64)
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for position, word in enumerate(words):
        assert uniforms(state, position)[0] == (word >> 11) * 2.0**-53


@pytest.mark.parametrize("other", [(1, 0), (0, 1), (0, 0, 1)])
def test_another_name_is_another_stream(other):
    assert stream_of(0, 0) != stream_of(*other)
    assert stream_of(0, 0) == stream_of(0, 0)


def test_a_tie_goes_to_the_smallest_token_and_who_leaves_takes_its_stream():
    numbers, streams = seeds(4)
    row = Row("t", numbers, streams)
    assert row.take(np.array([7, 5, 7, 5])) == 5
    assert row.seeds.tolist() == [1, 3]
    (branch,) = row.split()
    assert (branch.prefix, branch.seeds.tolist()) == ([7], [0, 2])
    assert branch.streams.tolist() == streams[[0, 2]].tolist()
    assert row.split() == []
    assert np.array_equal(branch.uniforms(), uniforms(streams[[0, 2]], 1))
