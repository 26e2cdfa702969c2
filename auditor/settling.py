"""The check of the synthetic fraction, and what would settle it where it is undetermined, cheapest first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from auditor.intervals import wilson_interval
from auditor.policy import Check, Threshold, check, status_of

__all__ = ["CONDITIONS", "check_fraction", "labels_to_settle", "what_settles"]

_MOST_LABELS = 2000  # beyond which a review is no advice
CONDITIONS = {  # under which a result's `synthetic_fraction` holds further answers
    "if_reference_matches": "all real items come from the reference's sources",
    "if_generators_known": "the reference knows every generator",
    "if_both": "both hold",
}
_DECLARED_BY = {
    "if_reference_matches": "--declare reference-complete",
    "if_generators_known": "--declare generators-complete",
    "if_both": "--declare reference-complete --declare generators-complete",
}


def check_fraction(threshold: Threshold, answer: Mapping[str, Any]) -> Check:
    """Compare a result's `synthetic_fraction` with the policy. An undetermined check also says what would settle it."""
    reason = answer["reason"] if answer["status"] == "undetermined" else None
    judged = check("synthetic_fraction", threshold, answer, reason, otherwise=answer["if_both"]["estimate"])
    if judged.status != "undetermined":
        return judged
    return replace(judged, reason=f"{judged.reason}. To settle it: {what_settles(threshold, answer)}")


def what_settles(threshold: Threshold, answer: Mapping[str, Any]) -> str:
    """What would settle an undetermined answer, cheapest first: a declaration, more generators, labels."""
    advice = []
    for name, condition in CONDITIONS.items():
        under = check("synthetic_fraction", threshold, answer[name], answer[name]["reason"])
        if under.status != "undetermined":
            advice.append(f"if {condition}, {_DECLARED_BY[name]} makes it {under.status}")
            break
    advice.append("add the generators that the set may hold to the reference (--synthetic LABEL=SRC)")
    labels = labels_to_settle(threshold, answer)
    advice.append(
        f"label about {labels} items (madaudit review)"
        if labels
        else "label items (madaudit review): the estimate is so near a threshold that it takes thousands"
    )
    return "; or ".join(advice)


def labels_to_settle(threshold: Threshold, answer: Mapping[str, Any]) -> int | None:
    """How many labels of random items would decide on which side of `fail` the fraction lies, if it is the likely one.

    The likely fraction is the first estimate there is, stated or under a condition, else the middle of the interval.
    The number is the smallest at which Wilson's interval for it lies on one side; None above 2,000.
    """
    conditions = (answer, answer["if_both"], answer["if_generators_known"], answer["if_reference_matches"])
    told = (each["estimate"] for each in conditions if each["estimate"] is not None)
    likely = next(told, (answer["low"] + answer["high"]) / 2)
    for labels in range(10, _MOST_LABELS + 1, 10):
        low, high = wilson_interval(likely * labels, labels, level=answer["level"])
        if low >= threshold.fail or status_of(threshold, high) != "fail":
            return labels
    return None
