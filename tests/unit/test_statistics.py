"""Bootstrap intervals and the effective window."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation import statistics
from longspan.evaluation.statistics import effective_window, interval, paired


def test_an_interval_is_that_of_the_normal_approximation_for_many_examples():
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = interval(values.tolist())
    half = 1.96 * values.std() / 20
    assert (found.mean, found.n) == (pytest.approx(values.mean()), 400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(5)
    found = [interval([float(rng.random() < 0.6) for _ in range(60)]) for _ in range(120)]
    assert 0.86 <= sum(one.low <= 0.6 <= one.high for one in found) / len(found) <= 1


def test_the_same_seed_gives_the_same_interval_and_a_level_its_width():
    values = [0.0, 1.0, 1.0, 0.5, 0.25] * 8
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)
    narrow = interval(values, level=0.5)
    assert interval(values).low < narrow.low < narrow.mean < narrow.high < interval(values).high


def test_slices_change_nothing_but_the_memory(monkeypatch):
    values = np.random.default_rng(0).random(50).tolist()
    whole = interval(values)
    monkeypatch.setattr(statistics, "_AT_ONCE", 50)
    sliced = interval(values)
    assert (sliced.low, sliced.high) == pytest.approx((whole.low, whole.high), abs=0.02)
    assert sliced.mean == whole.mean


def test_pairing_sees_what_two_intervals_do_not():
    hard = np.random.default_rng(1).random(60)
    ours, theirs = (hard + 0.02).tolist(), hard.tolist()
    gain = paired(ours, theirs)
    assert gain.mean == pytest.approx(0.02)
    assert gain.low > 0
    assert interval(ours).low < interval(theirs).high  # alone they overlap
    assert paired(theirs, ours).high < 0
    none = paired(ours, ours)
    assert (none.mean, none.low, none.high) == (0, 0, 0)


def test_what_is_not_of_the_same_examples_is_not_paired():
    with pytest.raises(ValueError, match="2 and 3"):
        paired([1.0, 0.0], [1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ({512: 1.0, 1024: 0.85, 2048: 0.84}, 1024),
        ({512: 1.0, 1024: 0.2, 2048: 1.0}, 512),  # what is lost once is lost
        ({2048: 0.5, 512: 0.5, 1024: 0.6}, 2048),
        ({512: 1.0}, None),
        ({512: 0.0, 1024: 0.5}, None),
        ({}, None),
    ],
)
def test_the_effective_window(values, window):
    assert effective_window(values) == window


@given(st.dictionaries(st.integers(1, 99), st.floats(0.01, 1), min_size=2), st.floats(0.1, 1), st.floats(0.1, 1))
def test_a_stricter_threshold_never_gives_a_longer_window(values, one, other):
    low, high = sorted((one, other))
    assert effective_window(values, high) <= effective_window(values, low)
    assert effective_window(values, high) in values
