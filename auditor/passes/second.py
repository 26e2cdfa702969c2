"""The second pass: from the finished shards to the result; it can be repeated."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.evidence.near_duplicates import copy_groups, design_effect, groups_within, joined
from auditor.evidence.novelty import unexplained
from auditor.fraction.estimate import FractionEstimate, estimate_fraction
from auditor.fraction.set_classifier import Contrast, contrast_with, rows_of_components
from auditor.fraction.settling import check_fraction
from auditor.measures.semantic import diversity_measures, fidelity_measures, loss_of
from auditor.passes.first import EVIDENCE, SKIPPED, ShardResult, read_gallery, read_state
from auditor.passes.folder import SHARDS
from auditor.passes.items import DuplicateCounts, write_items
from auditor.passes.state import AuditState, fold_states
from auditor.policy import Policy, check, verdict_of
from auditor.reference.reference import EncoderRole, Reference
from auditor.reference.storage_traits import confounds_between, stored_otherwise, total
from auditor.risk.answer import RiskQuestion, answer_risk, check_risk, known_of, no_risk
from auditor.statistics.intervals import Measure, wilson_interval
from auditor.statistics.scaling import standardise
from auditor.unread import check_unread, heed_unread, heed_unread_roughly, of_the_whole_set, unread_fields, unread_share
from indexes.device import compute_threads
from indexes.errors import InputError
from indexes.sources.files import printable
from indexes.store import write_atomic

__all__ = ["SCHEMA", "AuditRequest", "FinishedAudit", "conclude", "finalise", "most_suspicious", "write_result"]

SCHEMA = "madaudit/result/1"
_GALLERY_SHOWN = 24
_FEWEST = 10  # distinct items of a set for which a classifier can be trained
_NEARER, _RARE = 0.5, 0.01  # of distances between near copies and between the reference's items
_NO_WORKFLOW = "no workflow was named, on which the risk depends: give --workflow"
_TRACES_ONLY = "the encoder sees processing traces and not content: name a --semantic-encoder to measure this"


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What the set is meant for and how it is to be judged; nothing here changes the evidence."""

    policy: Policy = field(default_factory=Policy)
    workflow: Mapping[str, Any] = field(default_factory=dict)  # name, generations, real, bias as far as given
    level: float = 0.95
    declared: frozenset[str] = frozenset()  # reference-complete, generators-complete
    seed: int = 0  # of the draws behind the test of fit and the generators' shares
    is_sample: bool = False  # the items are a random sample of the set; the audit knows
    set_size: int | None = None  # items of the set where only a sample was used; the audit knows
    risk: RiskQuestion | None = field(default=None, repr=False)  # without one nothing is said of the risk


@dataclass(frozen=True, slots=True)
class FinishedAudit:
    """A finished audit: its result and where its parts lie."""

    result: dict[str, Any]
    shards: tuple[ShardResult, ...] = field(repr=False)
    out: Path


def conclude(
    out: Path,
    shards: Sequence[ShardResult],
    reference: Reference,
    intent: AuditRequest,
    spec: str,
    *,
    started: float,
    reused: int,
) -> FinishedAudit:
    """The second pass: write the list of shards, items, gallery and, last, result.json."""
    encoded = time.time()
    write_atomic(out / "state" / SHARDS, json.dumps([[s.name, s.folder.name] for s in shards]).encode())
    with compute_threads(1):
        result = finalise(shards, out, reference, intent, printable(spec))
    write_atomic(out / "state" / "gallery.json", json.dumps(most_suspicious(shards)).encode())
    folder = printable(str(out))
    result["run"] = {"started": started, "shards": len(shards), "reused_shards": reused, "out": folder}
    result["timing"] = {"evidence_s": encoded - started, "finalise_s": time.time() - encoded}
    write_result(out, result)
    return FinishedAudit(result, tuple(shards), out)


def finalise(
    shards: Sequence[ShardResult], out: Path, reference: Reference, intent: AuditRequest, source: str
) -> dict[str, Any]:
    """Write items/*.parquet and skipped.parquet, and return the result without its `run` and `timing`.

    Raises InputError when not one item could be used.
    """
    state = fold_states(read_state(shard) for shard in shards)
    write_skipped(shards, out)
    if state.n == 0:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in state.skipped.items()) or "it is empty"
        raise InputError(f"nothing in {source} could be used ({reasons}): expected {reference.evidence.kind}s")
    near = near_copies(reference, state.sample.evidence)
    distinct = distinct_items(reference, state.sample.evidence, near)
    fraction = estimate_fraction(
        reference.calibration,
        state.scores,
        rng=np.random.default_rng(intent.seed),
        contrast=partial(contrast_to, reference, state.sample.evidence, near, distinct, seed=intent.seed),
        left_out=reference.left_out,
        level=intent.level,
        copies=max(copies_in(shards), design_effect(np.bincount(near))),
        distinct=distinct,
        distrust=reference.distrust or _stored_otherwise(state, reference),
        is_sample=intent.is_sample,
        assume_reference_complete="reference-complete" in intent.declared,
        assume_generators_complete="generators-complete" in intent.declared,
    )
    duplicates = write_items(shards, out / "items", reference, fraction)
    return result_of(state, fraction, duplicates, reference, intent, source)


def copies_in(shards: Sequence[ShardResult]) -> float:
    """The design effect of items with the same content."""
    digests = [pq.read_table(shard.folder / EVIDENCE, columns=["digest"])["digest"] for shard in shards]
    counts = pa.chunked_array([chunk for column in digests for chunk in column.chunks]).value_counts()
    return design_effect(counts.field("counts").to_numpy())


def near_copies(reference: Reference, sample: np.ndarray) -> np.ndarray:
    """Group numbers (n,) of near copies within a sample of the incoming vectors (n, d)."""
    chosen = rows_of_components(reference.detector.component, n_real=reference.n_real, seed=reference.seed)
    beside = np.asarray(reference.embeddings.vectors[np.concatenate(chosen)])
    return copy_groups(sample, beside=beside)


def distinct_items(reference: Reference, sample: np.ndarray, near: np.ndarray) -> int:
    """How many items a sample of the incoming vectors (n, d) holds when copies and near copies count once.

    A set of near copies alone has no scale of its own: items also count as one where they are nearer to each other
    than half the distance that one in a hundred of the reference's items has to its nearest others.
    """
    detector = reference.detector
    rows = standardise(sample, detector.mean, detector.scale)
    per_dimension = _NEARER * float(np.quantile(reference.nearest, _RARE))
    within = groups_within(rows, per_dimension * math.sqrt(rows.shape[1]))
    return len(np.unique(joined(near, within)))


def contrast_to(
    reference: Reference, vectors: np.ndarray, groups: np.ndarray, distinct: int, shares: np.ndarray, *, seed: int
) -> Contrast | None:
    """The contrast of a sample of the incoming vectors, its near copies known, to the reference.

    None if too few of the vectors are distinct: copies of one item are one item.
    """
    if distinct < _FEWEST:
        return None
    chosen = rows_of_components(reference.detector.component, n_real=reference.n_real, seed=seed)
    components = [np.asarray(reference.embeddings.vectors[rows]) for rows in chosen]
    detector = reference.detector
    return contrast_with(
        components, vectors, shares, n_real=reference.n_real, seed=seed,
        folds=[detector.folds[rows] for rows in chosen], effects=detector.effects, groups=groups,
    )  # fmt: skip


def result_of(
    state: AuditState,
    fraction: FractionEstimate,
    duplicates: DuplicateCounts,
    reference: Reference,
    intent: AuditRequest,
    source: str,
) -> dict[str, Any]:
    """The result document, everything but `run` and `timing`."""
    fidelity, diversity = _semantic_answers(state, reference, intent.level)
    diversity["measures"]["duplicates"] = _duplicate_measure(duplicates, intent)
    answer = _fraction_fields(fraction, intent.declared)
    answer["histogram"] = _histogram(state, reference)
    answer["unexplained"] = unexplained(state.novel, state.n, len(reference.nearest), level=intent.level).as_json()
    share = unread_fields(state.counts, unread_share(state.counts, state.n, level=intent.level))
    answer["of_the_whole_set"] = of_the_whole_set(answer, share["share"])
    policy, loss = intent.policy, diversity["loss"]
    figures = {"n_items": state.n, "synthetic_fraction": answer, "diversity": diversity, "fidelity": fidelity}
    risk = _risk(figures, state, reference, intent)
    judged = check_fraction(policy.synthetic_fraction, answer)
    checks = [
        heed_unread(judged, policy.synthetic_fraction, share["share"]),
        *(
            heed_unread_roughly(other, policy.unread, share["share"])
            for other in (
                check("diversity_loss", policy.diversity_loss, loss, loss["reason"]),
                check_risk(policy.mad_risk, risk),
            )
        ),
        check_unread(policy.unread, share["share"]),
    ]
    conditions = {"workflow": intent.risk is not None, "content": reference.semantic is not None}
    return {
        "schema": SCHEMA,
        "verdict": verdict_of(checks, policy.requires(**conditions)),
        "source": source,
        "skipped": dict(state.skipped),
        "unread": share,
        **figures,
        "mad_risk": risk,
        "checks": [asdict(c) for c in checks],
        "confounds": _confounds(state, reference),
        "formats": dict(state.formats),
        "traits": {name: dict(table) for name, table in state.traits.items()},
        "reference": reference.summary(),
        "encoder": _encoder_fields(reference),
        "policy": policy.as_json(**conditions),
        "workflow": dict(intent.workflow),
        "declared": sorted(intent.declared),
    }


def _fraction_fields(fraction: FractionEstimate, declared: frozenset[str]) -> dict[str, Any]:
    return {
        "estimate": _number(fraction.estimate),
        "low": fraction.low,
        "high": fraction.high,
        "level": fraction.level,
        "status": fraction.status,
        "method": fraction.method,
        "reason": fraction.reason,
        "assumes": _assumes(fraction.status, declared),
        "by_generator": {label: _triple(m) for label, m in fraction.by_generator.items()},
        "by_source": {label: _triple(m) for label, m in fraction.by_source.items()},
        "if_reference_matches": _conditional(fraction.if_reference_matches),
        "if_generators_known": _conditional(fraction.if_generators_known),
        "if_both": _conditional(fraction.if_both),
        "power": asdict(fraction.power),
        "estimators": {name: _number(value) for name, value in fraction.estimators.items()},
        "fit_p_value": _number(fraction.fit_p_value),
        "departure": _number(fraction.departure),
        "separation": fraction.separation,
        "n": fraction.n,
    }


def _assumes(status: str, declared: frozenset[str]) -> str:
    """What the interval at the top takes for granted, in words that follow "it assumes that"."""
    if status == "undetermined":
        return "nothing"
    taken = ["a generator that the reference lacks hides no more of its items than the known ones foretell"]
    if "generators-complete" in declared:
        taken = ["there are no generators but the known ones, as was declared"]
    if "reference-complete" in declared:
        taken.append("all real items come from the reference's sources, as was declared")
    elif status == "determined":
        taken.append("there are no more real items of other sources than the tests would notice")
    return "; ".join([*taken, "kinds within a source or generator come in about the shares they have in the reference"])


def _conditional(measure: Measure) -> dict[str, Any]:
    return {**_triple(measure), "reason": measure.reason}


def _histogram(state: AuditState, reference: Reference) -> dict[str, Any]:
    """Counts of log-odds scores of the incoming set and of each component of the reference, over the same edges."""
    calibration = reference.calibration
    components = zip(calibration.labels, calibration.components, strict=True)
    return {
        "edges": calibration.edges.tolist(),
        "incoming": state.scores.histogram.tolist(),
        "reference": {label: c.histogram.tolist() for label, c in components},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _triple(measure: Measure) -> dict[str, Any]:
    return {"estimate": _number(measure.value), "low": _number(measure.low), "high": _number(measure.high)}


def _semantic_answers(state: AuditState, reference: Reference, level: float) -> tuple[dict[str, Any], dict[str, Any]]:
    if state.semantic is None or reference.semantic is None:
        missing = Measure(math.nan, reason=_TRACES_ONLY)
        fidelity, scale = dict.fromkeys(("frechet", "precision", "density"), missing), None
        diversity = dict.fromkeys(("vendi", "coverage", "recall", "effective_rank"), missing)
        loss = missing
    else:
        space, sample = reference.semantic, state.sample.semantic
        fidelity, scale = fidelity_measures(state.semantic, sample, space, level=level), space.scale
        diversity = diversity_measures(state.semantic, sample, space, level=level)
        loss = loss_of(sample, space, level=level)
    return (
        {"measures": {name: m.as_json() for name, m in fidelity.items()}, "scale": scale},
        {
            "loss": {**_triple(loss), "n": loss.n, "reason": loss.reason},
            "measures": {name: m.as_json() for name, m in diversity.items()},
        },
    )


def _duplicate_measure(duplicates: DuplicateCounts, intent: AuditRequest) -> dict[str, Any]:
    """The share of exact copies: counted, so without error unless the set stands for a larger one."""
    share = duplicates.within / duplicates.n
    low, high = (share, share)
    if intent.is_sample:
        low, high = wilson_interval(duplicates.within, duplicates.n, level=intent.level)
    measure = Measure(share, low, high, duplicates.n).as_json()
    return {**measure, "of_reference": duplicates.of_reference / duplicates.n}


def _risk(figures: Mapping[str, Any], state: AuditState, reference: Reference, intent: AuditRequest) -> dict[str, Any]:
    question = intent.risk
    if question is None:
        return no_risk(intent.workflow, _NO_WORKFLOW)
    if state.semantic is None or reference.semantic is None:
        return no_risk(intent.workflow, _TRACES_ONLY)
    known = known_of(
        question.plan(intent.set_size or state.n), figures, real=reference.semantic.vectors,
        training=state.sample.semantic, model_samples=question.model_samples, pilot=question.pilot,
    )  # fmt: skip
    answer = answer_risk(known, question.model, intent.policy)
    if question.simulate is None:
        return answer
    sample, event = state.sample.semantic, intent.policy.mad_event
    return {**answer, "simulation": question.simulate(known.plan, reference.semantic.vectors, sample, event)}


def _stored_otherwise(state: AuditState, reference: Reference) -> str | None:
    """Why the scores of an encoder of traces say nothing about this set; None if there is no such reason."""
    if reference.evidence.sees != "traces":
        return None
    incoming, kind = {"format": state.formats, **state.traits}, reference.evidence.kind
    storage = {what: table for what, table in incoming.items() if what != "detail"}  # which generators may differ in
    by_either = stored_otherwise(incoming, total(reference.sides), kind)
    return by_either or stored_otherwise(storage, reference.sides[0], kind, "the reference's real part")


def _confounds(state: AuditState, reference: Reference) -> list[dict[str, str]]:
    incoming = {"format": state.formats, **state.traits}
    sides = reference.sides
    found = confounds_between("incoming", incoming, total(sides), ("the incoming set", "the reference"))
    if sides[1]:
        found += confounds_between("reference", *sides, ("the reference's real part", "its synthetic part"))
    if reference.leak is not None:
        found.append({"name": "reference-leak", "detail": reference.leak})
    return found


def _encoder_fields(reference: Reference) -> dict[str, Any]:
    def fields(role: EncoderRole | None) -> dict[str, str] | None:
        return None if role is None else asdict(role)

    return {"evidence": fields(reference.evidence), "semantic": fields(reference.semantic_encoder)}


def write_skipped(shards: Sequence[ShardResult], out: Path) -> None:
    """Everything that could not be used, with its path and reason, in one Parquet file."""
    table = pa.concat_tables([pq.read_table(shard.folder / SKIPPED) for shard in shards])
    temporary = out / "skipped.parquet.partial"
    pq.write_table(table, temporary)
    temporary.replace(out / "skipped.parquet")


def most_suspicious(shards: Sequence[ShardResult]) -> list[dict[str, Any]]:
    """The gallery of the whole set, most suspicious first."""
    entries = [entry for shard in shards for entry in read_gallery(shard)]
    return sorted(entries, key=lambda e: (-e["score"], e["id"]))[:_GALLERY_SHOWN]


def write_result(out: Path, result: Mapping[str, Any]) -> None:
    """Write result.json, last of all: it vouches for the rest."""
    write_atomic(out / "result.json", json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode())
