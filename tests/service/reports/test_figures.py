import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from matplotlib.legend import Legend

from service.reports.figures import diversity_figure, forecast_figure, interval_figure, score_figure


def a_result(**changes: Any) -> dict[str, Any]:
    nothing = {"estimate": None, "low": None, "high": None}
    threshold = {"warn": 0.1, "fail": 0.3}
    return {
        "synthetic_fraction": {
            "estimate": 0.2,
            "low": 0.1,
            "high": 0.3,
            "histogram": {"incoming": [1, 2, 3], "reference": {"real": [3, 2, 1], "gen": [1, 2, 3]}},
        },
        "diversity": {
            "loss": nothing,
            "measures": {"vendi": {"value": 4.0, "reference": 8.0}, "recall": {"value": None, "reference": None}},
        },
        "fidelity": {"measures": {"frechet": {"value": 3.0, "reference": 1.0}}},
        "mad_risk": {"probability": nothing},
        "policy": dict.fromkeys(("synthetic_fraction", "diversity_loss", "mad_risk"), threshold),
        **changes,
    }


def texts(svg: str | None) -> list[str]:
    assert svg is not None
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_intervals_name_the_three_answers_and_what_is_not_determined() -> None:
    shown = texts(interval_figure(a_result()))
    assert {"synthetic fraction", "diversity loss", "MAD risk"} <= set(shown)
    assert shown.count("not determined") == 2


def test_an_interval_without_an_estimate_is_drawn() -> None:
    result = a_result()
    result["synthetic_fraction"] = {**result["synthetic_fraction"], "estimate": None}
    assert texts(interval_figure(result)).count("not determined") == 2


def test_a_gain_of_diversity_stays_on_the_page() -> None:
    result = a_result()
    result["diversity"]["loss"] = {"estimate": -0.5, "low": -0.8, "high": -0.2}
    lowest = min(float(t.replace("−", "-")) for t in texts(interval_figure(result)) if t[-1].isdigit())
    assert lowest <= -0.75


def test_scores_name_every_component() -> None:
    shown = texts(score_figure(a_result()))
    assert {"reference: real", "reference: gen", "incoming set"} <= set(shown)


def test_without_generators_there_are_no_scores_to_show() -> None:
    result = a_result()
    result["synthetic_fraction"]["histogram"] = {"incoming": [3], "reference": {"real": [3]}}
    assert score_figure(result) is None


@pytest.mark.parametrize("label", ["生成", "$x$", "$", "<b>&amp;", r"\frac"])
def test_any_label_is_shown_as_it_is(label: str) -> None:
    result = a_result()
    result["synthetic_fraction"]["histogram"]["reference"] = {"real": [1, 2, 3], label: [3, 2, 1]}
    assert f"reference: {label}" in texts(score_figure(result))


def test_an_empty_component_is_drawn_as_nothing() -> None:
    result = a_result()
    result["synthetic_fraction"]["histogram"]["incoming"] = [0, 0, 0]
    assert "incoming set" in texts(score_figure(result))


def test_measures_that_could_not_be_had_and_distances_are_left_out_of_the_ratios() -> None:
    shown = texts(diversity_figure(a_result()))
    assert "vendi" in shown
    assert not {"recall", "frechet"} & set(shown)


def test_without_any_measure_there_is_no_figure() -> None:
    assert diversity_figure(a_result(diversity={"measures": {}}, fidelity={"measures": {}})) is None


def test_a_figure_drawn_twice_is_the_same_text() -> None:
    assert interval_figure(a_result()) == interval_figure(a_result())


def test_no_legend_seeks_its_place_which_takes_time_and_warns_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seek(*_: object) -> None:
        raise AssertionError("a legend sought its place")

    monkeypatch.setattr(Legend, "_find_best_position", seek)
    band = {"low": 1.0, "estimate": 1.1, "high": 1.2}
    course = [
        {"generation": g, "frechet_level": band, "frechet_ratio": band, "diversity_ratio": band} for g in range(1, 4)
    ]
    result = a_result(mad_risk={"trajectory": course, "simulation": {"trajectory": course}})
    result["policy"]["mad_event"] = {"frechet_ratio": 2.0, "diversity_ratio": 0.5}
    assert "incoming set" in texts(score_figure(result))
    assert "simulated" in texts(forecast_figure(result))
