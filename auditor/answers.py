"""Typed, frozen records that make up an audit's result; every number has an interval or a reason why it is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from auditor.event import Event
from auditor.plan import Plan
from auditor.records import Number
from auditor.statistics.intervals import Measure
from indexes.records import Kind

__all__ = [
    "CONDITIONS",
    "Advice",
    "Comparison",
    "Confound",
    "CopyCluster",
    "Diversity",
    "EncoderRole",
    "Encoders",
    "Fidelity",
    "ForecastStatus",
    "FractionBeforeReview",
    "FractionStatus",
    "FreshRealData",
    "GenerationForecast",
    "Histogram",
    "IndexUse",
    "KnownAnswers",
    "KnownSamples",
    "LabelCount",
    "LargestSyntheticShare",
    "LeavesTolerance",
    "MadRisk",
    "NextTier",
    "PlanForecast",
    "Power",
    "Promise",
    "PromiseForSize",
    "ReferenceSummary",
    "Region",
    "Review",
    "Run",
    "SampleStatistics",
    "Scale",
    "Simulation",
    "Stratum",
    "SyntheticFraction",
    "Tier",
    "Timing",
    "Unread",
]

ForecastStatus = Literal["determined", "extrapolated", "undetermined"]
FractionStatus = Literal["determined", "bounds", "undetermined"]
Tier = Literal["audit", "model-samples", "pilot"]

CONDITIONS = {  # field of `SyntheticFraction` → the condition under which its answer holds
    "if_reference_matches": "all real items come from the reference's sources",
    "if_generators_known": "the reference knows every generator",
    "if_both": "both hold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Counts of the input items and files that could not be read or used."""

    share: Measure  # of the items offered
    items: int  # items known to be missing
    files: int  # files, or parts of files, that hold an unknown number of items
    bytes: int  # size of the unread items and files, as far as it is known
    items_estimated: float | None = None  # items in `files`; None if there are no such files or no basis
    ignored: int = 0  # entries that hold no item, such as the files of an operating system
    counted: int  # items offered, without the estimated ones

    def __str__(self) -> str:
        if self.items == self.files == 0:
            return "nothing unread"
        parts = [f"{self.items} unread"] if self.items else []
        if self.files:
            held = "an unknown number of" if self.items_estimated is None else f"about {self.items_estimated:.0f}"
            files, items = "s" * (self.files != 1), "s" * (held != "about 1")
            parts.append(f"{self.files} unread file{files} or parts of files with {held} item{items}")
        known = f" ({100 * self.share.estimate:.2g} % of what was offered)" if self.share.is_known else ""
        return " and ".join(parts) + known


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Power of an audit, given its reference and set size, to detect a generator that the reference lacks."""

    smallest_noticed: float  # smallest share of the set that is noticed with probability .8; 1 if no share is
    may_hide: float  # share of such a generator's items that may look real, at the threshold that notices most


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Histograms, with common bin edges, of the log-odds scores of the audited set and of each reference component."""

    edges: tuple[float, ...]
    incoming: tuple[int, ...]
    reference: Mapping[str, tuple[float, ...]]  # fractional: items count once with their copies


@dataclass(frozen=True, slots=True, kw_only=True)
class FractionBeforeReview(Measure):
    """The automatic estimate of the synthetic fraction, which an estimate from human labels replaced."""

    status: FractionStatus
    method: str
    assumes: tuple[str, ...]
    by_generator: Mapping[str, Measure]
    if_reference_matches: Measure
    if_generators_known: Measure
    if_both: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticFraction(Measure):
    """The share of synthetic items in the audited set, its assumptions, and further estimates under stated conditions.

    Status `determined` means an estimate with a narrow interval. Status `bounds` means an interval without an estimate.
    Status `undetermined` means that nothing can be said; `reason` states why. The interval from `low` to `high` is
    valid for any generators and real sources, unless `assumes` lists a condition that the user declared.
    """

    level: float  # confidence level of all its intervals
    status: FractionStatus
    method: str
    assumes: tuple[str, ...]  # assumptions behind the interval
    by_generator: Mapping[str, Measure]  # shares of the set
    by_source: Mapping[str, Measure]  # shares of the real part, if all of it comes from the reference's sources
    unexplained: Measure  # share outside the reference, beyond the 5 % of the reference's own items that lie outside
    if_reference_matches: Measure
    if_generators_known: Measure
    if_both: Measure
    power: Power
    of_the_whole_set: Measure  # the share of everything offered; unread items may be real or synthetic
    estimators: Mapping[str, Number]  # method → point estimate
    fit_p_value: Number  # p-value of the hypothesis that the scores are a mixture of the reference's components
    departure: Number  # result of the set's own classifier test, in standard errors
    separation: float  # total variation between real and synthetic scores of the reference
    histogram: Histogram
    before_review: FractionBeforeReview | None = None

    def under(self, condition: str) -> Measure:
        """The synthetic fraction under one of the conditions in `CONDITIONS`."""
        found: Measure = getattr(self, condition)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of a measure of the audited set with its value for a real sample of the same size."""

    reference: Measure  # the value for a real sample, with its own interval
    p_value: Number  # p-value of the hypothesis that the set and a real sample have the same expected value


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region of similar items that is more or less frequent in the audited set than among the real items."""

    region: int  # number of the region; `region` in items/*.parquet
    status: Literal["missing", "under", "over"]  # missing: less than a tenth of the real share
    share_reference: float  # share of the real items
    share_set: float  # share of the set's distinct items
    low: float  # interval of share_set
    high: float
    p_value: float  # of the hypothesis that both shares are equal
    examples_reference: tuple[str, ...]  # ids of typical real items
    examples_set: tuple[str, ...]  # ids of typical items of the set


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCluster:
    """A group of items of the audited set that are near copies of each other."""

    size: int  # distinct items
    examples: tuple[str, ...]  # ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """Diversity of the audited set compared with the real items of the reference."""

    loss: Measure  # 1 − (1 − kinds)·min(1, 1 − spread), the share of the real variety that the set lacks
    measures: Mapping[str, Measure]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)  # measure → comparison with a real sample
    regions: tuple[Region, ...] = ()  # regions whose share of the set differs from their share of the real items
    cells: int = 0  # regions in which the kinds were counted; 0 if they could not be counted
    clusters: tuple[CopyCluster, ...] = ()  # the largest groups of near copies within the set


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The unit of the Fréchet distances in a forecast, measured on a real sample."""

    n: int  # items of the real sample
    frechet: float  # expected Fréchet distance F between a real sample of n items and the real distribution
    total_variance: float  # of the real part
    width: int  # columns of the space


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Similarity of the audited set to the real items of the reference."""

    measures: Mapping[str, Measure]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)  # measure → comparison with a real sample
    scale: Scale | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStatistics:
    """Statistics of n items compared with n real items; distances are squared, in units of the real total variance."""

    n: int
    frechet: Number
    precision: Number
    recall: Number
    density: Number
    coverage: Number
    vendi: Number  # ratio to the real items' score
    effective_rank: Number  # ratio to the real items' rank
    variance: Number  # total variance, ratio to the real items' variance
    log_det: Number  # mean log variance over the real directions, minus the real items' value
    spacing: Number  # median distance to the nearest other item, ratio to the real items' distance
    to_training: Number  # median distance to the nearest training item, ratio to the real items' distance


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSamples:
    """Statistics of samples from the team's own models; None if no samples were given."""

    model_samples: SampleStatistics | None = None  # samples of the first model
    pilot: SampleStatistics | None = None  # samples of a second generation


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationForecast:
    """Forecast of the quality and diversity of one generation in a training loop."""

    generation: int  # from 1
    frechet_level: Measure  # F divided by the F of a real sample of the same size
    frechet_ratio: Measure  # F divided by the F of generation 1
    diversity_ratio: Measure  # recall divided by the recall of generation 1
    precision: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanForecast:
    """Forecast for one training plan: the probability of model autophagy, and the state of the last generation."""

    plan: Plan
    tier: Tier
    status: ForecastStatus
    probability: Measure
    last: GenerationForecast


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavesTolerance:
    """First generation expected to violate each limit of the autophagy event; None if no generation violates it."""

    frechet_ratio: int | None
    diversity_ratio: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRealData:
    """Smallest number of new real items per generation that keeps the forecast risk within the limit."""

    n_real: int | None
    tier: Tier
    reason: str | None  # why there is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestSyntheticShare:
    """The largest share of synthetic items in a training set that keeps the risk within the limit."""

    share: float | None
    n_synthetic: int | None
    tier: Tier
    reason: str | None  # why there is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How to change a training plan so that the upper end of its risk interval stays within `limit`."""

    limit: float
    leaves_tolerance: LeavesTolerance
    plans: tuple[PlanForecast, ...]  # the intended plan first, then other workflows with the same data
    fresh_real_data: FreshRealData
    largest_synthetic_share: LargestSyntheticShare


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTier:
    """Skill that a forecast would have if the samples of the next tier (model samples or pilot) were measured."""

    tier: Tier
    skill: Mapping[str, Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Training loops of one model family, simulated on the audited set's vectors; intervals span all the loops."""

    family: str
    chains: int  # simulated loops
    n_initial: int
    n_real: int
    n_synthetic: int
    event_in: int  # loops that met the event
    trajectory: tuple[GenerationForecast, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadRisk:
    """The probability that training on the data leads to model autophagy, and the expected course of the loop."""

    probability: Measure
    status: ForecastStatus
    reason: str | None
    event: Event
    plan: Plan | None  # None: no workflow was named
    tier: Tier  # how much was known for the forecast
    space: str | None  # fingerprint of the encoder whose vectors are measured; None: figures were given
    level: float | None = None  # confidence level of the trajectory's bands
    skill: Mapping[str, Number] | None = None  # measured on loops of the same kind that the calibration had not seen
    trajectory: tuple[GenerationForecast, ...] = ()
    known: KnownSamples = KnownSamples()
    next_tier: NextTier | None = None
    advice: Advice | None = None
    model: Mapping[str, str] | None = None  # file and digest of the calibration
    simulation: Simulation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confound:
    """A storage difference, such as file format or size, that the scores could mistake for evidence of origin."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderRole:
    """The encoder that serves one role (evidence or semantic), with the data needed to load and identify it again."""

    spec: str
    fingerprint: str
    sees: str  # traces | content
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The encoders that an audit used, by role."""

    evidence: EncoderRole
    semantic: EncoderRole | None  # None: only traces are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexUse:
    """Method and recall of the nearest-neighbour search."""

    kind: Literal["exact"]
    recall: float  # share of the true nearest neighbours that are found


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseForSize:
    """What a reference can detect in audited sets of one given size."""

    smallest_noticed: float  # share of an unseen generator that is noticed with probability .8
    may_hide: float  # share of the items of an unseen generator that may look real
    clean_high: float  # four in five sets without synthetic items get a lower high end
    clean_verdict: str  # verdict of the default policy on `clean_high`


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a reference can detect, computed before any audit."""

    separation: Mapping[str, Measure]  # generator → total variation from the real source that it resembles most
    left_out: Mapping[str, Mapping[str, float]]  # generator → threshold → share that hides when it is left out
    may_hide: Mapping[str, float]  # threshold → share of an unseen generator that may look real
    at: Mapping[str, PromiseForSize]  # items of a set → what can be shown
    add: tuple[str, ...]  # what to add to the reference to improve it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSummary:
    """Description of a reference, as shown in lists and results."""

    name: str
    identity: str  # digest of the content
    items: Mapping[str, int]  # component → items used
    effective_items: Mapping[str, int]  # component → items used, copies and near copies counted once
    real_sources: tuple[str, ...]
    simulated: tuple[str, ...]  # generators that are stand-ins
    separation: float
    promise: Promise
    leak: str | None  # storage traits that alone tell the real part from the synthetic part, in words
    skipped: Mapping[str, Mapping[str, int]]  # component → reason → count
    unread: Mapping[str, Unread]  # by component
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCount:
    """How many items of known origin were labelled, and how many of these labels were wrong."""

    labelled: int
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswers:
    """The labeller's answers on items of known origin."""

    real: LabelCount
    synthetic: LabelCount
    unsure: int
    unlabelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Counts for one stratum of a review: items in the audited set, labelled items, and items labelled synthetic."""

    items: int
    labelled: int
    synthetic: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The human labels on which a reviewed synthetic fraction is based."""

    id: str
    drawn: int  # items of the set
    labelled: int
    unsure: int
    unlabelled: int
    known: KnownAnswers
    error_on_real: Measure  # P(labelled synthetic | real)
    error_on_synthetic: Measure  # P(labelled real | synthetic)
    strata: tuple[Stratum, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Start time, settings and command of an audit run."""

    started: datetime
    out: str  # the audit's folder
    shards: int
    reused_shards: int  # shards that an earlier run had finished
    seed: int
    level: float
    limit: int | None  # largest number of items to use
    sampled_from: int | None  # items in the whole set, if only a random sample of them was used
    column: str | None
    batch_size: int
    declared: tuple[str, ...]
    command: tuple[str, ...] | None  # None: the audit was called from Python or by the service


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Duration of each of the two passes of an audit, in seconds."""

    evidence_s: float
    finalise_s: float
