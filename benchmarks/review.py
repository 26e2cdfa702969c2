"""A review by labels where the truth is known: what it makes of sets that the audit cannot tell.

    python benchmarks/review.py essays attacked --references 4 --labels 50 --workers 2

The sets are those of `fraction.py`; items are drawn for labelling as `madaudit review` draws them. The labeller errs on
a share `--error` of items, and answers as many items of known origin as a review mixes in; without errors there are
none. `settled`: a verdict other than undetermined, by the default policy; `right`: of the settled, fail where the true
share is .2 or more, and pass or warn below.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from fraction import grouped, limits, line, scenarios_named
from fraction_scenarios import SCENARIOS, items_of

from auditor.evaluation import (
    Draw,
    FittedReference,
    Items,
    draws_of,
    estimate_draw,
    fit_reference,
    holds,
    references_of,
    share_of,
    status_of_answer,
    status_of_estimate,
)
from auditor.evidence.novelty import novelty
from auditor.policy import Policy, Status
from auditor.review.label_fraction import ErrorCounts, LabelCounts, estimate_with_labels
from auditor.review.sampling import draw_review, known_answers
from auditor.statistics.intervals import Measure
from indexes.device import compute_threads
from service.engines import local_map

_FAIL = Policy().synthetic_fraction.fail
HEADER = "| known ← in the set | sets | undetermined before | covers | width | settled | right |"


@dataclass(frozen=True, kw_only=True)
class ReviewedDraw:
    """The verdict on a set before its review, and the answer after it."""

    title: str
    prevalence: float
    truth: float
    before: Status
    answer: Measure
    after: Status


def one(name: str, items: Items, labels: int, error: float, number: int) -> list[ReviewedDraw]:
    """The sets of one reference."""
    with compute_threads(1):
        draws = draws_of(SCENARIOS[name], items, number, name=name)
        fitted = fit_reference(draws[0])
        return [_reviewed_draw(draw, fitted, labels, error) for draw in draws]


def _reviewed_draw(draw: Draw, fitted: FittedReference, labels: int, error: float) -> ReviewedDraw:
    found = reviewed(draw, fitted, labels, error)
    return ReviewedDraw(
        title=draw.pair.title, prevalence=draw.prevalence, truth=draw.truth,
        before=status_of_estimate(estimate_draw(draw, fitted)), answer=found, after=status_of_answer(found),
    )  # fmt: skip


def reviewed(draw: Draw, fitted: FittedReference, labels: int, error: float) -> Measure:
    """The fraction that the review of one set finds."""
    rng = np.random.default_rng(draw.seed)
    evidence = fitted.detector.evidence(draw.incoming, draw.incoming_digests)
    new = novelty(evidence.nearest.min(1), fitted.nearest)
    drawn = draw_review([str(i) for i in range(len(new))], evidence.scores, new, n=labels, seed=draw.seed)
    said = draw.is_synthetic[drawn.rows] ^ (rng.random(len(drawn.rows)) < error)
    answered, synthetic = (
        np.bincount(drawn.strata[chosen], minlength=len(drawn.sizes)) for chosen in (np.full(len(said), True), said)
    )
    known = known_answers(labels) // 2 if error else 0
    tallies = [ErrorCounts(known, int(rng.binomial(known, error))) for _ in range(2)]
    return estimate_with_labels(LabelCounts(drawn.sizes, answered, synthetic, *tallies), rng=rng).fraction


def report(name: str, draws: Sequence[ReviewedDraw]) -> None:
    """The scenario's tables: by pair, and by share."""
    print(f"\n## {name}\n\n{SCENARIOS[name].summary}\n\n{HEADER}\n|{'---|' * HEADER.count(' |')}")
    for title, members in grouped(draws, lambda draw: draw.title).items():
        print(line(title, *_figures(members)))
    print(f"\n{HEADER.replace('known ← in the set', 'true')}\n|{'---|' * HEADER.count(' |')}")
    for prevalence, members in sorted(grouped(draws, lambda draw: draw.prevalence).items()):
        print(line(str(prevalence), *_figures(members)))


def _figures(draws: Sequence[ReviewedDraw]) -> list[str]:
    settled = [draw for draw in draws if draw.after != "undetermined"]
    right = [(draw.after == "fail") == (draw.truth >= _FAIL) for draw in settled]
    undetermined = np.mean([draw.before == "undetermined" for draw in draws])
    width = np.mean([draw.answer.high - draw.answer.low for draw in draws])
    return [
        str(len(draws)), f"{undetermined:.2f}", limits(share_of(holds(draw.answer, draw.truth) for draw in draws)),
        f"{width:.3f}", limits(share_of(draw.after != "undetermined" for draw in draws)), limits(share_of(right)),
    ]  # fmt: skip


def main() -> None:
    """Review the sets of the scenarios asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", help=f"all, or some of {', '.join(SCENARIOS)}")
    parser.add_argument("--references", type=int, default=4, help="of each pair")
    parser.add_argument("--labels", type=int, default=50, help="of each set")
    parser.add_argument("--error", type=float, default=0.0, help="share of the items that the labeller gets wrong")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print(f"# Review with {options.labels} labels, {options.error:.0%} of them wrong")
    for name in scenarios_named(options.scenarios):
        work = partial(one, name, items_of(name), options.labels, options.error)
        references = range(options.references * len(references_of(SCENARIOS[name])))
        with local_map(options.workers) as run:
            report(name, [draw for draws in run(work, references) for draw in draws])


if __name__ == "__main__":
    main()
