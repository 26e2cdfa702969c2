"""Forecasts of MAD risk: from a finished audit or from figures, with what samples of the team's own models tell."""

import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from auditor.recursion import Plan
from auditor.reference import Reference, load_reference
from auditor.risk import Event, RiskModel, load_risk_model
from auditor.risk_inputs import AuditFigures, Known, figures_of
from auditor.sample_facts import FEWEST_ROWS, SampleFacts, facts_of
from auditor.semantic import SemanticReference
from auditor.shards import ShardResult, read_state
from auditor.state import fold_states
from auditor.workflows import workflow_named
from indexes.encode import encode_shard
from indexes.encoders import load_encoder
from indexes.errors import ArtifactError, InputError
from indexes.records import Skip
from indexes.sources import open_source
from service.pipeline import find_reference
from service.report import read_result
from service.settings import Settings

__all__ = ["figures_given", "forecast", "known_from_audit", "plan_of", "risk_model"]

_SHIPPED = "risk_model.npz"  # in the package auditor, once a calibration ships
_MOST = 2000  # samples of a model that are measured


def risk_model(path: Path | None) -> RiskModel:
    """The model in a file, else the one that ships."""
    if path is not None:
        return load_risk_model(path)
    shipped = resources.files("auditor") / _SHIPPED
    if not shipped.is_file():
        raise InputError(
            "no calibrated risk model ships with this version: make one with madaudit calibrate and name it with "
            "--risk-model"
        )
    with resources.as_file(shipped) as file:
        return load_risk_model(file)


def plan_of(
    workflow: str, generations: int, *, n: int, real: int | None, synthetic: int | None, bias: float | None
) -> Plan:
    """The plan; by default synthetic items, and real ones where the workflow has any, are as many as the data hold."""
    kind = workflow_named(workflow).real
    n_real = 0 if kind in ("none", "initial") else n if real is None else real
    return Plan(workflow, generations, n, n if synthetic is None else synthetic, n_real, 1.0 if bias is None else bias)


def figures_given(*, n: int, fraction: float, diversity_ratio: float | None) -> AuditFigures:
    """Figures without an audit: what was not measured is nan, which a forecast takes as average."""
    if not 0 <= fraction <= 1:
        raise InputError(f"a synthetic fraction of {fraction} was given, expected one between 0 and 1")
    vendi = math.nan if diversity_ratio is None else diversity_ratio
    unknown = dict.fromkeys(("effective_rank", "coverage", "recall", "precision", "density", "frechet"), math.nan)
    return AuditFigures(n, fraction, 0.0, vendi, **unknown)


def known_from_audit(
    out: Path, plan: Plan, *, settings: Settings, model_samples: str | None = None, pilot: str | None = None
) -> Known:
    """What a finished audit tells, and what samples of the team's own model and pilot add to it.

    The samples are measured in the space of the reference's semantic encoder, beside its real items and the audited
    ones, on which the model was trained.
    """
    result = read_result(out)
    if model_samples is None and pilot is not None:
        raise InputError("a pilot was given without samples of the first model: give --model-samples too")
    if model_samples is None:
        return Known(plan, figures_of(result))
    reference = load_reference(find_reference(result["reference"]["name"], settings))
    if reference.semantic is None or reference.semantic_encoder is None:
        raise InputError(
            f"the reference {reference.name} has no semantic encoder, in which a model's samples could be measured: "
            "build it with --semantic-encoder"
        )
    training = _audited(out)
    facts = [
        None if spec is None else _facts(spec, reference, reference.semantic, training)
        for spec in (model_samples, pilot)
    ]
    return Known(plan, figures_of(result), *facts)


def forecast(known: Known, model: RiskModel, *, event: Event | None = None) -> dict[str, Any]:
    """The forecast at each tier that is known, the highest at the top, as JSON."""
    found = model.predict(known, event=event).as_json()
    plan = known.plan
    return {
        "schema": "madaudit/forecast/1",
        **found,
        "workflow": {
            "name": plan.workflow,
            "generations": plan.generations,
            "n_initial": plan.n_initial,
            "n_synthetic": plan.n_synthetic,
            "n_real": plan.n_real,
            "bias": plan.bias,
        },
        "next_tier": _next_tier(found["tier"], model),
    }


def _next_tier(tier: str, model: RiskModel) -> dict[str, Any] | None:
    """What measuring more would buy: the skill of the next tier on loops that were held out."""
    tiers = list(model.tiers)
    at = tiers.index(tier)
    if at + 1 == len(tiers):
        return None
    return {"tier": tiers[at + 1], "skill": dict(model.tiers[tiers[at + 1]].skill["all"])}


def _audited(out: Path) -> np.ndarray:
    """The retained sample of the audited items, in the semantic space, (k, d)."""
    path = out / "state" / "shards.json"
    try:
        listed: Sequence[tuple[str, str]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): run the audit again") from None
    return fold_states(read_state(ShardResult(name, out / "state" / key)) for name, key in listed).sample.semantic


def _facts(spec: str, reference: Reference, space: SemanticReference, training: np.ndarray) -> SampleFacts:
    assert reference.semantic_encoder is not None
    encoder = load_encoder(reference.semantic_encoder.spec)
    if encoder.fingerprint != reference.semantic_encoder.fingerprint:
        raise InputError(f"the encoder {encoder.spec} is not the one that {reference.name} was built with: rebuild it")
    vectors: list[np.ndarray] = []
    for shard in open_source(spec, kind=encoder.kind).shards:
        for found in encode_shard(shard, [encoder]):
            if not isinstance(found, Skip):
                vectors.append(found.vectors[0])
        if sum(map(len, vectors)) >= _MOST:
            break
    count = sum(map(len, vectors))
    if count < FEWEST_ROWS:
        raise InputError(f"{spec} holds {count} usable {encoder.kind}s, expected {FEWEST_ROWS} or more samples")
    return facts_of(np.concatenate(vectors)[:_MOST], space.vectors, training)
