"""Policy check of the synthetic fraction, and advice on how to settle an undetermined check, cheapest step first."""

import math
from collections.abc import Iterator
from dataclasses import replace

from auditor.answers import CONDITIONS, SyntheticFraction
from auditor.fraction.estimate import MILD_DEPARTURE, MILD_LEVEL, NARROW
from auditor.policy import Check, Threshold, check, status_of
from auditor.statistics.intervals import Measure, wilson_interval

__all__ = ["check_fraction", "labels_to_settle", "what_settles"]

_FEWEST_LABELS, _MOST_LABELS = 50, 2000  # fewer may mislead if the likely fraction is wrong; more are not advised
_POWER_QUANTILE = 0.8416  # the 0.8 quantile of the normal distribution
_ADD = (
    "build the reference with the generators and the other real sources that the set may hold (--synthetic LABEL=SRC, "
    "--real LABEL=SRC), which may narrow the interval"
)
_DECLARED_BY = {
    "if_reference_matches": "--declare reference-complete",
    "if_generators_known": "--declare generators-complete",
    "if_both": "--declare reference-complete --declare generators-complete",
}


def check_fraction(threshold: Threshold, answer: SyntheticFraction, *, labelled: int = 0) -> Check:
    """Compare a result's `synthetic_fraction` with the policy. An undetermined check also says what would settle it.

    `labelled` is the number of items that a person has labelled so far.
    """
    reason = None if answer.status != "undetermined" else _reason(threshold, answer)
    judged = check("synthetic_fraction", threshold, answer, reason=reason, otherwise=answer.if_both)
    if judged.status != "undetermined":
        return judged
    advice = what_settles(threshold, answer, labelled=labelled)
    return replace(judged, reason=f"{judged.reason}. To settle it: {advice}")


def _reason(threshold: Threshold, answer: Measure) -> str | None:
    """Why a single number of the result must not be compared with the policy; None if the interval is compared."""
    return None if threshold.compare == "interval" else answer.reason


def what_settles(threshold: Threshold, answer: SyntheticFraction, *, labelled: int = 0) -> str:
    """Advice that would settle an undetermined answer, cheapest first: a declaration, a larger reference, or labels."""
    advice = [] if labelled else [*_declarations(threshold, answer), _ADD]
    labels = labels_to_settle(threshold, answer, labelled=labelled)
    if labels is None:
        advice.append("label thousands of items (madaudit review DIR), because the estimate is very near a threshold")
    else:
        number = f"all {labels} items" if labels == answer.n else f"about {labels} items in all"
        advice.append(f"label {number} (madaudit review DIR --n {labels})")
    return "; or ".join(advice)


def _declarations(threshold: Threshold, answer: SyntheticFraction) -> Iterator[str]:
    """Advice to declare the weakest condition that settles the check, unless a test contradicts that condition."""
    for name, condition in CONDITIONS.items():
        if name != "if_reference_matches" and _speaks_against_known_generators(answer):
            continue
        declared = answer.under(name)
        if declared.is_known and declared.high - declared.low > NARROW:
            declared = replace(declared, estimate=math.nan)  # as the result would state it
        judged = check(
            "synthetic_fraction", threshold, declared, reason=_reason(threshold, declared), otherwise=answer.if_both
        )
        if judged.status != "undetermined":
            yield f"if you know that {condition}, {_DECLARED_BY[name]} makes it {judged.status}"
            return


def _speaks_against_known_generators(answer: SyntheticFraction) -> bool:
    return answer.fit_p_value < MILD_LEVEL or answer.departure > MILD_DEPARTURE


def labels_to_settle(threshold: Threshold, answer: SyntheticFraction, *, labelled: int = 0) -> int | None:
    """Number of random items to label to decide whether the synthetic fraction reaches `fail`, given a likely fraction.

    The likely fraction is the first known estimate, without or under a condition, or else the middle of the interval.
    The result is the smallest number of labels for which Wilson's interval lies on one side of the limit `fail` in four
    of five reviews. Items are sampled without replacement from the set's n items. The number of labels is at least 50,
    at least twice `labelled` and at most n; None stands for more than 2,000.
    """
    conditions = (answer, answer.if_both, answer.if_generators_known, answer.if_reference_matches)
    likely = next((each.estimate for each in conditions if each.is_known), (answer.low + answer.high) / 2)
    n = answer.n or math.inf
    for labels in range(max(_FEWEST_LABELS, 2 * labelled), _MOST_LABELS + 1, 10):
        if labels >= n:
            return int(n)
        as_much = labels / (1 - labels / n)  # sample size with the same precision if the set were unlimited
        luck = _POWER_QUANTILE * math.sqrt(likely * (1 - likely) / as_much)
        low, _ = wilson_interval(max(0.0, likely - luck) * as_much, as_much, level=answer.level)
        _, high = wilson_interval(min(1.0, likely + luck) * as_much, as_much, level=answer.level)
        if low >= threshold.fail or status_of(threshold, high) != "fail":
            return labels
    return None
