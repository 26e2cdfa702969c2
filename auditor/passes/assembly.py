"""Assembly of an audit's result from the stored state of the first pass (`AuditState`) and the estimated fraction."""

import math
import os
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.metadata import version

from auditor.answers import (
    Confound,
    Diversity,
    Encoders,
    Fidelity,
    Histogram,
    IndexUse,
    MadRisk,
    Run,
    SyntheticFraction,
    Timing,
    Unread,
)
from auditor.evidence.novelty import unexplained
from auditor.folder import AuditFolder
from auditor.fraction.estimate import FractionEstimate
from auditor.fraction.settling import check_fraction
from auditor.passes.items import DuplicateCounts
from auditor.passes.request import AuditedSet, AuditRequest
from auditor.passes.space import TRACES_ONLY
from auditor.passes.state import AuditState
from auditor.policy import Check, Policy, check, verdict_of
from auditor.reference.reference import Reference
from auditor.reference.storage_traits import confounds_between, total
from auditor.results import AuditResult
from auditor.risk.answer import answer_risk, check_risk, known_of, no_risk
from auditor.risk.inputs import AuditFigures, figures_of
from auditor.statistics.intervals import Measure, wilson_interval
from auditor.unread import check_unread, heed_unread, heed_unread_roughly, of_the_whole_set, unread_of, unread_share
from indexes.sources.files import printable

__all__ = ["assemble"]

_NO_WORKFLOW = "the risk depends on the workflow, and no workflow was named: give --workflow"


def assemble(
    state: AuditState,
    fraction: FractionEstimate,
    in_space: tuple[Fidelity, Diversity],
    duplicates: DuplicateCounts,
    reference: Reference,
    request: AuditRequest,
    audited: AuditedSet,
    folder: AuditFolder,
) -> AuditResult:
    """The complete result of an audit except for its timing, which is filled in later."""
    policy = request.policy
    fidelity, diversity = in_space
    copies = _duplicate_measures(duplicates, request.level, is_sample=audited.sampled_from is not None)
    diversity = replace(diversity, measures={**diversity.measures, **copies})
    unread = unread_of(state.counts, unread_share(state.counts, state.n, level=request.level))
    answer = _fraction_answer(fraction, state, reference, request, unread)
    risk = _risk(figures_of(state.n, answer, diversity, fidelity), state, reference, request, audited)
    checks = _checks(policy, answer, diversity, risk, unread)
    policy = policy.in_force(workflow=request.plan is not None, content=reference.semantic is not None)
    return AuditResult(
        version=version("madaudit"),
        created=datetime.now(UTC),
        verdict=verdict_of(checks, policy.required or ()),
        source=printable(audited.source),
        n_items=state.n,
        skipped=dict(state.skipped),
        unread=unread,
        synthetic_fraction=answer,
        diversity=diversity,
        fidelity=fidelity,
        mad_risk=risk,
        checks=checks,
        confounds=_confounds(state, reference),
        formats=dict(state.formats),
        traits={name: dict(table) for name, table in state.traits.items()},
        reference=reference.summary(),
        encoder=Encoders(evidence=reference.evidence, semantic=reference.semantic_encoder),
        index=IndexUse(kind="exact", recall=1.0),
        policy=policy,
        run=_run(audited, request, folder),
        timing=Timing(evidence_s=0.0, finalise_s=0.0),
    )


def _checks(
    policy: Policy, answer: SyntheticFraction, diversity: Diversity, risk: MadRisk, unread: Unread
) -> tuple[Check, ...]:
    share, loss, repeats = unread.share, diversity.loss, _repeats(diversity)
    judged = check_fraction(policy.synthetic_fraction, answer)
    others = (
        check("diversity_loss", policy.diversity_loss, loss, reason=loss.reason),
        check_risk(policy.mad_risk, risk),
    )
    return (
        heed_unread(judged, policy.synthetic_fraction, share),
        *(heed_unread_roughly(other, policy.unread, share) for other in others),
        check_unread(policy.unread, share),
        heed_unread_roughly(check("duplicates", policy.duplicates, repeats), policy.unread, share),
    )


def _repeats(diversity: Diversity) -> Measure:
    """The share of the items that repeat another item: exact copies, and near copies among the distinct items.

    If the near copies are not known, the share is at least that of the exact copies.
    """
    exact, near = (diversity.measures[name] for name in ("duplicates", "near_duplicates"))
    if not near.is_known:
        return Measure(math.nan, low=exact.low, high=1.0, n=exact.n, reason=near.reason)
    estimate, low, high = (
        1 - (1 - getattr(exact, end)) * (1 - getattr(near, end)) for end in ("estimate", "low", "high")
    )
    return Measure(estimate, low=low, high=high, n=exact.n)


def _run(audited: AuditedSet, request: AuditRequest, folder: AuditFolder) -> Run:
    return Run(
        started=datetime.fromtimestamp(audited.started, UTC),
        out=printable(os.path.abspath(folder.path)),
        shards=len(audited.shards),
        reused_shards=audited.reused,
        seed=request.seed,
        level=request.level,
        limit=audited.limit,
        sampled_from=audited.sampled_from,
        column=audited.column,
        batch_size=audited.batch_size,
        declared=tuple(sorted(request.declared)),
        command=None if request.command is None else tuple(map(printable, request.command)),
    )


def _fraction_answer(
    fraction: FractionEstimate, state: AuditState, reference: Reference, request: AuditRequest, unread: Unread
) -> SyntheticFraction:
    estimated = {field.name: getattr(fraction, field.name) for field in fields(FractionEstimate)}
    stated = Measure(fraction.estimate, low=fraction.low, high=fraction.high, reason=fraction.reason)
    return SyntheticFraction(
        **estimated,
        assumes=_assumes(fraction.status, request.declared),
        unexplained=unexplained(state.novel, state.n, len(reference.nearest), level=request.level),
        of_the_whole_set=of_the_whole_set(stated, unread.share),
        histogram=_histogram(state, reference),
    )


def _assumes(status: str, declared: frozenset[str]) -> tuple[str, ...]:
    """The assumptions of the stated interval, as clauses that can follow the words "it assumes that"."""
    if status == "undetermined":
        return ()
    taken = ["a generator that the reference lacks hides no more of its items than the known ones predict"]
    if "generators-complete" in declared:
        taken = ["there are no generators but the known ones, as was declared"]
    if "reference-complete" in declared:
        taken.append("all real items come from the reference's sources, as was declared")
    elif status == "determined":
        taken.append("real items of other sources are absent or too few for the tests to notice")
    return *taken, "the kinds of items within a source or generator have about the same shares as in the reference"


def _histogram(state: AuditState, reference: Reference) -> Histogram:
    calibration = reference.calibration
    components = zip(calibration.labels, calibration.components, strict=True)
    return Histogram(
        edges=tuple(calibration.edges.tolist()),
        incoming=tuple(state.scores.histogram.tolist()),
        reference={label: tuple(c.histogram.tolist()) for label, c in components},
    )


def _duplicate_measures(duplicates: DuplicateCounts, level: float, *, is_sample: bool) -> dict[str, Measure]:
    """Shares of exact copies in the set; they have no sampling error unless the set is a sample of a larger set."""
    counts = {"duplicates": duplicates.within, "duplicates_of_reference": duplicates.of_reference}
    found = {}
    for name, count in counts.items():
        share = count / duplicates.n
        low, high = wilson_interval(count, duplicates.n, level=level) if is_sample else (share, share)
        found[name] = Measure(share, low=low, high=high, n=duplicates.n)
    return found


def _risk(
    figures: AuditFigures, state: AuditState, reference: Reference, request: AuditRequest, audited: AuditedSet
) -> MadRisk:
    space = None if reference.semantic_encoder is None else reference.semantic_encoder.fingerprint
    if request.plan is None:
        return no_risk(None, _NO_WORKFLOW, policy=request.policy, space=space)
    plan = request.plan.for_set(audited.sampled_from or state.n)
    if state.semantic is None or reference.semantic is None:
        return no_risk(plan, TRACES_ONLY, policy=request.policy, space=space)
    known = known_of(
        plan, figures, real=reference.semantic.vectors, training=state.distinct.vectors,
        model_samples=request.model_samples, pilot=request.pilot,
    )  # fmt: skip
    return answer_risk(known, request.model(), request.policy, space=space)


def _confounds(state: AuditState, reference: Reference) -> tuple[Confound, ...]:
    incoming = {"format": state.formats, **state.traits}
    sides = reference.sides
    found = confounds_between("incoming", incoming, total(sides), ("the incoming set", "the reference"))
    if sides[1]:
        found += confounds_between("reference", *sides, ("the reference's real part", "its synthetic part"))
    if reference.leak is not None:
        found.append(Confound(name="reference-leak", detail=reference.leak))
    return tuple(found)
