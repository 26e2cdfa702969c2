"""Regions: a dropped mode is named, a second real sample names none, and p-values are those of Fisher's exact test."""

import numpy as np
import pytest
from scipy import stats

from auditor.measures.regions import regions_of


def no_examples(region):
    return (f"real-{region}",), (f"set-{region}",)


def test_the_p_values_are_twice_the_smaller_one_sided_fisher_p_values():
    counts, real = np.array([0, 60, 140]), np.array([40, 60, 100])
    found = {region.region: region for region in regions_of(counts, real, examples=no_examples, level=0.95)}
    for region, expected in ((0, "less"), (2, "greater")):
        table = [[counts[region], real[region]], [200 - counts[region], 200 - real[region]]]
        one_sided = stats.fisher_exact(table, alternative=expected).pvalue
        assert found[region].p_value == pytest.approx(2 * one_sided)


def test_an_empty_region_is_missing_and_others_are_over_or_under():
    counts, real = np.array([0, 300, 100, 100]), np.array([100, 100, 100, 200])
    found = {region.region: region.status for region in regions_of(counts, real, examples=no_examples, level=0.95)}
    assert found == {0: "missing", 1: "over", 3: "under"}


def test_the_largest_difference_comes_first_with_shares_interval_and_examples():
    first = regions_of(np.array([0, 500, 500]), np.array([300, 350, 350]), examples=no_examples, level=0.95)[0]
    assert (first.region, first.share_reference, first.share_set) == (0, 0.3, 0.0)
    assert first.low == 0.0 < first.high < 0.01
    assert (first.examples_reference, first.examples_set) == (("real-0",), ("set-0",))


def test_a_second_real_sample_rarely_names_a_region(rng):
    shares = rng.dirichlet(np.full(40, 5.0))
    named = [
        bool(regions_of(*rng.multinomial([800, 1000], shares), examples=no_examples, level=0.95)) for _ in range(400)
    ]
    assert np.mean(named) <= 0.05 + 3 * 0.011


def test_near_copies_count_once(rng):
    shares = rng.dirichlet(np.full(20, 5.0))
    named = [
        bool(regions_of(5 * rng.multinomial(200, shares), rng.multinomial(1000, shares), copies=5.0,
                        examples=no_examples, level=0.95))
        for _ in range(200)
    ]  # fmt: skip
    assert np.mean(named) <= 0.05 + 3 * 0.015
