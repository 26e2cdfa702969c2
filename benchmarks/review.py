"""A review by labels where the truth is known: what it makes of sets that the audit cannot tell.

    python benchmarks/review.py essays attacked --references 4 --labels 50 --workers 2

The sets are those of `fraction.py`; items are drawn for labelling as `madaudit review` draws them. The labeller errs on
a share `--error` of items, and answers as many items of known origin as a review mixes in; without errors there are
none. `settled`: a verdict other than undetermined, by the default policy; `right`: of the settled, fail where the true
share is .2 or more, and pass or warn below.
"""

import argparse
from functools import partial

import numpy as np
from fraction import (
    Fitted,
    column,
    covers,
    estimate,
    fitted_to,
    grouped,
    limits,
    line,
    rows_of,
    scenarios_named,
    verdict,
    verdict_on,
)
from fraction_scenarios import SCENARIOS, Draw, draws_of, references_of
from threadpoolctl import threadpool_limits

from auditor.evidence.novelty import novelty
from auditor.policy import Policy
from auditor.review.label_fraction import ErrorCounts, LabelCounts, estimate_with_labels
from auditor.review.sampling import draw_review, known_answers
from auditor.statistics.intervals import Measure

_FAIL = Policy().synthetic_fraction.fail
HEADER = "| known ← in the set | sets | undetermined before | covers | width | settled | right |"


def one(name: str, labels: int, error: float, number: int) -> list[dict[str, object]]:
    """The rows of one reference."""
    with threadpool_limits(1):
        drawn = draws_of(name, number)
        fitted = fitted_to(drawn[0])
        return [_row(draw, fitted, labels, error) for draw in drawn]


def _row(draw: Draw, fitted: Fitted, labels: int, error: float) -> dict[str, object]:
    found = reviewed(draw, fitted, labels, error)
    return {
        "part": draw.part, "wanted": draw.wanted, "true": draw.truth, "before": verdict(estimate(draw, fitted)),
        "stated": found.estimate, "stated_low": found.low, "stated_high": found.high, "verdict": verdict_on(found),
    }  # fmt: skip


def reviewed(draw: Draw, fitted: Fitted, labels: int, error: float) -> Measure:
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


def report(name: str, rows: list[dict[str, object]]) -> None:
    """The scenario's tables: by pair, and by share."""
    print(f"\n## {name}\n\n{SCENARIOS[name].summary}\n\n{HEADER}\n|{'---|' * HEADER.count(' |')}")
    for (part,), members in grouped(rows, "part").items():
        print(line(str(part), *_figures(members)))
    print(f"\n{HEADER.replace('known ← in the set', 'true')}\n|{'---|' * HEADER.count(' |')}")
    for (wanted,), members in sorted(grouped(rows, "wanted").items()):
        print(line(str(wanted), *_figures(members)))


def _figures(rows: list[dict[str, object]]) -> list[str]:
    after = column(rows, "verdict")
    settled, is_much = after != "undetermined", column(rows, "true") >= _FAIL
    width = column(rows, "stated_high") - column(rows, "stated_low")
    return [
        str(len(rows)), f"{(column(rows, 'before') == 'undetermined').mean():.2f}", limits(covers(rows)),
        f"{width.mean():.3f}", limits(settled), limits((after == "fail")[settled] == is_much[settled]),
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
        rows = partial(one, name, options.labels, options.error)
        references = options.references * len(references_of(SCENARIOS[name]))
        report(name, rows_of(name, references, options.workers, rows))


if __name__ == "__main__":
    main()
