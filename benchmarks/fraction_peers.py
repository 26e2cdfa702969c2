"""Published quantifiers beside ours, on the same draws: error, coverage, width and abstention.

    pip install quapy==0.2.3
    python benchmarks/fraction_peers.py essays --draws 48

Every quantifier gets the cross-fitted posteriors of our detector, all generators of the reference taken together at
equal weight with the real part; so only the quantifier differs (ours and the second BBE also train a classifier for the
set). They come calibrated, except for both kinds of EMQ, which get them as they were before: one takes them so, one
calibrates them itself (bias-corrected temperature scaling).

Point estimates are QuaPy's, but for two. The Bayesian quantifier (Ziegler & Czyż 2023), which QuaPy samples with jax,
numpyro and stan, is integrated on a grid. BBE (best bin estimation, Garg et al. 2021), which QuaPy has not, takes the
fraction from the real side alone: once by the detector's scores, once by a classifier of the reference's real items
against the incoming ones.

Intervals are percentiles of a bootstrap of the incoming set alone, the reference held fixed, as QuaPy computes them;
the Bayesian quantifier has its own. An interval that misses the truth by less than 0.0005 counts as holding it, for
everybody: searches and expectation maximisation stop that far from 0 and 1.
"""

import argparse
import itertools
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from fraction_scenarios import SCENARIOS, items_of
from scipy import special, stats
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from auditor.evaluation import Draw, draws_of, estimate_draw, fit_reference, holds, share_of
from auditor.evidence.detector import Detector, Evidence, component_labels, fit_detector
from auditor.fraction.set_classifier import contrast_with
from auditor.statistics.intervals import Measure

try:
    from quapy.method.aggregative import ACC, EMQ, PACC, AggregativeQuantifier, DyS, HDy, KDEyML
except ImportError as error:
    sys.exit(f"the peers need QuaPy ({error}): pip install quapy==0.2.3")

_TAILS = (0.025, 0.975)
_NEARLY = 5e-4  # by which an interval may miss the truth
_BOOTSTRAP = "bootstrap of the incoming set"


@dataclass(frozen=True)
class Seen:
    """What every quantifier is given of one draw."""

    origin: np.ndarray  # (m,) of the reference's items, 0 real, 1 synthetic
    reference: np.ndarray  # (m,) out-of-fold log odds of synthetic at equal weight of both sides
    incoming: np.ndarray  # (n,) the same of the incoming items
    raw_reference: np.ndarray  # (m,) before calibration
    raw_incoming: np.ndarray  # (n,)
    contrast_real: np.ndarray  # (≤ m,) the reference's real items in a classifier of them against the incoming ones
    contrast_incoming: np.ndarray  # (≤ n,) the higher, the less like the real items


Quantifier = Callable[[np.ndarray], float]  # the fraction from rows of the incoming set
Peer = Callable[[Seen], tuple[Quantifier, int]]  # fitted to the reference, and the number of incoming rows


def seen_of(draw: Draw) -> Seen:
    """The detector's view of a draw, as an audit computes it."""
    component = component_labels([len(part) for part in draw.components])
    digests = np.concatenate(draw.component_digests)
    detector, own = fit_detector(np.concatenate(draw.components), component, digests, seed=draw.seed)
    found = detector.evidence(draw.incoming, draw.incoming_digests)
    contrast = contrast_with(draw.components[:1], draw.incoming, np.ones(1), seed=draw.seed)
    return Seen(
        (component > 0).astype(int), own.scores, found.scores,
        _uncalibrated(detector, own).scores, _uncalibrated(detector, found).scores, contrast.real, contrast.incoming,
    )  # fmt: skip


def _uncalibrated(detector: Detector, evidence: Evidence) -> Evidence:
    """The evidence with temperature and bias taken off."""
    logits = np.log(np.maximum(evidence.posteriors, np.finfo(np.float64).tiny))
    return Evidence(special.softmax((logits - detector.bias) / detector.inverse_temperature, axis=1), evidence.nearest)


def _posteriors(scores: np.ndarray) -> np.ndarray:
    return np.stack([special.expit(-scores), special.expit(scores)], axis=1)


def _fitted(method: type[AggregativeQuantifier], **options: object) -> AggregativeQuantifier:
    """A quantifier without its aggregation; the classifier only tells it that the classes are 0 and 1."""
    classes = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    return method(classes, fit_classifier=False, val_split=None, **options)


def _soft(method: type[AggregativeQuantifier], **options: object) -> Peer:
    """A peer that reads posteriors."""

    def fit(seen: Seen) -> tuple[Quantifier, int]:
        quantifier, incoming = _fitted(method, **options), _posteriors(seen.incoming)
        quantifier.aggregation_fit(_posteriors(seen.reference), seen.origin)
        return lambda rows: float(quantifier.aggregate(incoming[rows])[1]), len(incoming)

    return fit


def _acc(seen: Seen) -> tuple[Quantifier, int]:
    """Adjusted count of the decisions at even odds."""
    quantifier, incoming = _fitted(ACC), (seen.incoming > 0).astype(int)
    quantifier.aggregation_fit((seen.reference > 0).astype(int), seen.origin)
    return lambda rows: float(quantifier.aggregate(incoming[rows])[1]), len(incoming)


def _emq(seen: Seen) -> tuple[Quantifier, int]:
    """Expectation maximisation of the prior, from posteriors as they are, which suppose an even one."""
    quantifier, incoming = _fitted(EMQ), _posteriors(seen.raw_incoming)
    quantifier.train_prevalence = np.array([0.5, 0.5])
    return lambda rows: float(quantifier.aggregate(incoming[rows])[1]), len(incoming)


def _emq_calibrated(seen: Seen) -> tuple[Quantifier, int]:
    """The same with QuaPy's calibration, and the prior that this supposes (Alexandari et al. 2020)."""
    quantifier, incoming = _fitted(EMQ, calib="bcts", exact_train_prev=False), _posteriors(seen.raw_incoming)
    quantifier.aggregation_fit(_posteriors(seen.raw_reference), seen.origin)
    return lambda rows: float(quantifier.aggregate(incoming[rows])[1]), len(incoming)


def _kdey(seen: Seen) -> tuple[Quantifier, int]:
    """Kernel densities; those of the incoming items are computed once and looked up by row."""
    quantifier, incoming = _fitted(KDEyML), _posteriors(seen.incoming)
    quantifier.aggregation_fit(_posteriors(seen.reference), seen.origin)
    known = {id(kde): quantifier.pdf(kde, incoming, quantifier.kernel) for kde in quantifier.mix_densities}
    quantifier.pdf = lambda kde, rows, kernel: known[id(kde)][rows]
    return lambda rows: float(quantifier.aggregate(rows)[1]), len(incoming)


def _bbe_detector(seen: Seen) -> tuple[Quantifier, int]:
    real = -seen.reference[seen.origin == 0]
    return lambda rows: 1 - best_bin(real, -seen.incoming[rows]), len(seen.incoming)


def _bbe_contrast(seen: Seen) -> tuple[Quantifier, int]:
    incoming = seen.contrast_incoming
    return lambda rows: 1 - best_bin(-seen.contrast_real, -incoming[rows]), len(incoming)


def best_bin(real: np.ndarray, incoming: np.ndarray, *, delta: float = 0.1, gamma: float = 0.01) -> float:
    """The real share of the incoming items from scores that are higher for real ones (Garg et al. 2021, algorithm 1).

    q_u/q_p at the top bin whose upper confidence bound is least; delta and gamma are the authors'.
    """
    cuts = np.unique(np.concatenate([real, incoming]))
    q_p = 1 - np.searchsorted(np.sort(real), cuts) / len(real)
    q_u = 1 - np.searchsorted(np.sort(incoming), cuts) / len(incoming)
    q_p, q_u = q_p[q_p > 0], q_u[q_p > 0]
    slack = np.sqrt(np.log(4 / delta) / 2 / len(real)) + np.sqrt(np.log(4 / delta) / 2 / len(incoming))
    best = int(np.argmin((q_u + (1 + gamma) * slack) / q_p))
    return float(min(1.0, q_u[best] / q_p[best]))


def bayesian(seen: Seen) -> Measure:
    """Posterior mean and central interval of π from the confusion counts at even odds, uniform priors throughout.

    The model of Ziegler & Czyż (2023); with two classes the two rates' posteriors given the reference are beta
    distributions, integrated at 100 quantiles each. The interval has equal tails, as QuaPy's, so it leaves out a
    fraction of exactly 0 or 1 unless it is as narrow as that.
    """
    called, grid = seen.reference > 0, (np.arange(100) + 0.5) / 100
    rates = []
    for side in (0, 1):
        yes, of_side = int(called[seen.origin == side].sum()), int((seen.origin == side).sum())
        rates.append(stats.beta.ppf(grid, 1 + yes, 1 + of_side - yes))
    edges = np.linspace(0, 1, 1001)
    fractions = (edges[1:] + edges[:-1]) / 2
    chance = fractions[:, None, None] * rates[1] + (1 - fractions[:, None, None]) * rates[0][:, None]
    x, n = int((seen.incoming > 0).sum()), len(seen.incoming)
    log_likelihood = special.xlogy(x, chance) + special.xlog1py(n - x, -chance)
    density = np.exp(log_likelihood - log_likelihood.max()).mean((1, 2))
    mass = density / density.sum()
    low, high = np.interp(_TAILS, np.append(0, np.cumsum(mass)), edges)
    return Measure(float(fractions @ mass), low=float(low), high=float(high))


PEERS: Mapping[str, Peer] = {
    "ACC": _acc,
    "PACC": _soft(PACC),
    "EMQ, uncalibrated": _emq,
    "EMQ, calibrated": _emq_calibrated,
    "HDy": _soft(HDy),
    "DyS, Topsøe": _soft(DyS, divergence="topsoe"),
    "KDEy-ML": _kdey,
    "BBE, detector's scores": _bbe_detector,
    "BBE, real against incoming": _bbe_contrast,
}


def bootstrapped(peer: Peer, seen: Seen, *, resamples: int, rng: np.random.Generator) -> Measure:
    """The estimate of the set and percentiles over resampled ones, the reference held fixed."""
    quantify, n = peer(seen)
    drawn = [quantify(rng.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.quantile(drawn, _TAILS)
    return Measure(quantify(np.arange(n)), low=float(low), high=float(high))


def draw_of(name: str, number: int) -> Draw:
    """One draw: the cells of the first reference, then those of the next."""
    items = items_of(name)
    for reference in itertools.count():
        drawn = draws_of(SCENARIOS[name], items, reference, name=name)
        if number < len(drawn):
            break
        number -= len(drawn)
    return drawn[number]


def answers(name: str, number: int, resamples: int) -> Iterator[tuple[str, str, float, Measure, str]]:
    """Method, kind of interval, truth, answer and status, of one draw."""
    draw = draw_of(name, number)
    seen = seen_of(draw)
    for method, peer in PEERS.items():
        rng = np.random.default_rng(number)  # anew for each: all see the same resamples
        yield method, _BOOTSTRAP, draw.truth, bootstrapped(peer, seen, resamples=resamples, rng=rng), "determined"
    yield "Bayesian, on a grid", "posterior", draw.truth, bayesian(seen), "determined"
    found = estimate_draw(draw, fit_reference(draw))
    for name_of, measure in (
        ("`if_generators_known`", found.if_generators_known),
        ("`if_reference_matches`", found.if_reference_matches),
        ("stated", Measure(found.estimate, low=found.low, high=found.high)),
    ):
        status = found.status if name_of == "stated" else "bounds" if np.isnan(measure.estimate) else "determined"
        yield "ours", name_of, draw.truth, measure, status


def line(method: str, interval: str, rows: Sequence[tuple[float, Measure, str]]) -> str:
    """One line of the table; errors are those of the draws in which the method gave an estimate."""
    true = np.array([truth for truth, _, _ in rows])
    value, low, high = (
        np.array([getattr(answer, end) for _, answer, _ in rows]) for end in ("estimate", "low", "high")
    )
    told, errors = np.isfinite(value), value - true
    covers = share_of(holds(answer, truth, slack=_NEARLY) for truth, answer, _ in rows)
    status = [kind for _, _, kind in rows]
    cells = [
        method, f"{np.abs(errors[told]).mean():.4f}" if told.any() else "–",
        f"{errors[told].mean():+.4f}" if told.any() else "–", interval,
        f"{covers.estimate:.3f} [{covers.low:.3f}, {covers.high:.3f}]", f"{(high - low).mean():.3f}",
        *(f"{status.count(kind) / len(rows):.3f}" for kind in ("bounds", "undetermined")),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the draws of one scenario and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=[name for name in SCENARIOS if name != "real-only"], metavar="SCENARIO")
    parser.add_argument("--draws", type=int, default=48, help="best a multiple of prevalences times pairs")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap")
    options = parser.parse_args()
    rows: dict[tuple[str, str], list[tuple[float, Measure, str]]] = defaultdict(list)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EMQ says when it runs out of iterations
        for number in range(options.draws):
            for method, interval, truth, answer, status in answers(options.scenario, number, options.resamples):
                rows[method, interval].append((truth, answer, status))
    print(f"# {options.scenario}, {options.draws} draws\n\n{SCENARIOS[options.scenario].summary}\n")
    print("| method | MAE | bias | 95 % interval | covers | width | bounds only | undetermined |\n" + "|---" * 8 + "|")
    for (method, interval), group in rows.items():
        print(line(method, interval, group))
    print("\nMAE and bias are those of the draws with an estimate; coverage and width are of all.")


if __name__ == "__main__":
    main()
