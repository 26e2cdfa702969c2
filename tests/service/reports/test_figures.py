import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.legend import Legend

from auditor.answers import Diversity, Fidelity, GenerationForecast, Simulation
from auditor.results import AuditResult
from auditor.statistics.intervals import Measure
from service.reports.figures import diversity_figure, forecast_figure, interval_figure, score_figure

NOTHING = Measure(math.nan)


@pytest.fixture
def result(some_result: AuditResult) -> AuditResult:
    """A result with an interval of the fraction, and nothing of diversity and risk."""
    measures = {"vendi": Measure(4.0, reference=8.0), "recall": NOTHING}
    return replace(
        some_result,
        synthetic_fraction=replace(some_result.synthetic_fraction, estimate=0.2, low=0.1, high=0.3),
        diversity=Diversity(loss=NOTHING, measures=measures),
        fidelity=Fidelity(measures={"frechet": Measure(3.0, reference=1.0)}, scale=None),
    )


def with_histogram(result: AuditResult, **changes: Any) -> AuditResult:
    fraction = result.synthetic_fraction
    return replace(result, synthetic_fraction=replace(fraction, histogram=replace(fraction.histogram, **changes)))


def texts(svg: str | None) -> list[str]:
    assert svg is not None
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_intervals_name_the_three_answers_and_what_is_not_determined(result: AuditResult) -> None:
    shown = texts(interval_figure(result))
    assert {"synthetic fraction", "diversity loss", "MAD risk"} <= set(shown)
    assert shown.count("not determined") == 2


def test_an_interval_without_an_estimate_is_drawn(result: AuditResult) -> None:
    result = replace(result, synthetic_fraction=replace(result.synthetic_fraction, estimate=math.nan))
    assert texts(interval_figure(result)).count("not determined") == 2


def test_a_gain_of_diversity_stays_on_the_page(result: AuditResult) -> None:
    result = replace(result, diversity=replace(result.diversity, loss=Measure(-0.5, low=-0.8, high=-0.2)))
    lowest = min(float(t.replace("−", "-")) for t in texts(interval_figure(result)) if t[-1].isdigit())
    assert lowest <= -0.75


def test_scores_name_every_component(result: AuditResult) -> None:
    shown = texts(score_figure(result))
    assert {"reference: real", "reference: gen", "audited set"} <= set(shown)


def test_without_generators_there_are_no_scores_to_show(result: AuditResult) -> None:
    assert score_figure(with_histogram(result, incoming=(3,), reference={"real": (3,)})) is None


@pytest.mark.parametrize("label", ["生成", "$x$", "$", "<b>&amp;", r"\frac"])
def test_any_label_is_shown_as_it_is(result: AuditResult, label: str) -> None:
    result = with_histogram(result, incoming=(1, 2, 3), reference={"real": (1, 2, 3), label: (3, 2, 1)})
    assert f"reference: {label}" in texts(score_figure(result))


def test_an_empty_component_is_drawn_as_nothing(result: AuditResult) -> None:
    counts = result.synthetic_fraction.histogram.incoming
    assert "audited set" in texts(score_figure(with_histogram(result, incoming=tuple(0 for _ in counts))))


def test_measures_that_could_not_be_had_and_distances_are_left_out_of_the_ratios(result: AuditResult) -> None:
    shown = texts(diversity_figure(result))
    assert "vendi" in shown
    assert not {"recall", "frechet"} & set(shown)


def test_without_any_measure_there_is_no_figure(result: AuditResult) -> None:
    empty = replace(result, diversity=Diversity(loss=NOTHING, measures={}), fidelity=Fidelity(measures={}, scale=None))
    assert diversity_figure(empty) is None


def test_a_figure_drawn_twice_is_the_same_text(result: AuditResult) -> None:
    assert interval_figure(result) == interval_figure(result)


def test_no_legend_seeks_its_place_which_takes_time_and_warns_on_a_busy_machine(
    result: AuditResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seek(*_: object) -> None:
        raise AssertionError("a legend sought its place")

    monkeypatch.setattr(Legend, "_find_best_position", seek)
    band = Measure(1.1, low=1.0, high=1.2)
    course = tuple(
        GenerationForecast(generation=g, frechet_level=band, frechet_ratio=band, diversity_ratio=band, precision=band)
        for g in range(1, 4)
    )
    simulation = Simulation(family="gmm", chains=4, n_initial=9, n_real=9, n_synthetic=9, event_in=1, trajectory=course)
    result = replace(result, mad_risk=replace(result.mad_risk, trajectory=course, simulation=simulation))
    assert "audited set" in texts(score_figure(result))
    assert "simulated" in texts(forecast_figure(result))
