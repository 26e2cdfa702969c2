"""A trusted reference: real data, known generators, the detector fitted to them, and its calibration scores."""

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.answers import EncoderRole, ReferenceSummary, Unread
from auditor.evidence.calibration import Calibration, ScoreCounts, calibration_of
from auditor.evidence.detector import FEWEST, Detector, component_labels, fit_detector
from auditor.evidence.probe import Landmarks, Probe
from auditor.fraction.promise import promise_of
from auditor.fraction.unseen_generators import LeftOut, leave_one_out
from auditor.measures.cells import Cells
from auditor.measures.real_part import RealPart, real_part_of
from auditor.records import read_record, record_document
from auditor.reference.component import Part
from auditor.reference.relocation import AS_STORED, Weights, load_recorded, relocated
from auditor.reference.storage_traits import Traits, leak_between, total, traits_of
from auditor.statistics.frame import Frame
from auditor.statistics.moments import Moments
from auditor.statistics.scaling import standardise
from indexes.encoders.protocol import Encoder
from indexes.errors import ArtifactError, InputError
from indexes.records import Embeddings
from indexes.store import load_embeddings, read_manifest, save_embeddings, write_manifest

__all__ = ["Reference", "load_reference", "reference_of_parts", "save_reference"]

_SCHEMA = "madaudit/reference/5"


@dataclass(frozen=True)
class Reference:
    """The data that audited sets are compared with; a reference is built once and never changed."""

    name: str
    identity: str  # digest of the content: equal for equal data, encoders and seed
    labels: tuple[str, ...]  # component labels, real sources first
    n_real: int  # real sources
    evidence: EncoderRole
    semantic_encoder: EncoderRole | None  # None: only traces are seen
    embeddings: Embeddings  # in the evidence space, components one after another
    digests: np.ndarray  # (n, 16) uint8
    detector: Detector
    calibration: Calibration
    left_out: LeftOut  # how much of each generator looks real to a detector that was trained without it
    nearest: np.ndarray  # (n,) float32, ascending: distance of each item to its nearest other
    semantic: RealPart | None
    formats: tuple[Mapping[str, int], ...]  # of each component
    traits: tuple[Traits, ...]
    skipped: Mapping[str, Mapping[str, int]]  # label → reason → count of entries
    unread: Mapping[str, Unread]  # label → what could not be read
    seed: int

    @property
    def sides(self) -> tuple[Traits, Traits]:
        """Tables of file formats and storage traits of the real items and of the synthetic items."""
        tables = [{"format": f, **traits} for f, traits in zip(self.formats, self.traits, strict=True)]
        return total(tables[: self.n_real]), total(tables[self.n_real :])

    @property
    def leak(self) -> str | None:
        """Description of storage traits that alone separate real from synthetic items; None if there are none."""
        return leak_between(*self.sides, self.evidence.kind)

    @property
    def distrust(self) -> str | None:
        """Why the evidence is invalid: the reference has a storage leak and the encoder sees only traces; else None."""
        return self.leak if self.evidence.sees == "traces" else None

    @property
    def roles(self) -> tuple[EncoderRole, ...]:
        """The role of the evidence encoder, and the role of the semantic encoder if the reference has one."""
        return (self.evidence,) if self.semantic_encoder is None else (self.evidence, self.semantic_encoder)

    def encoder_of(self, role: EncoderRole, *, device: str) -> Encoder:
        """Load the encoder of a role again.

        Raises ResourceError if the encoder's weights are not on this machine, and ArtifactError if the weights differ.
        """
        specs = [other.spec for other in self.roles]
        return load_recorded(role.spec, role.fingerprint, reference=self.name, specs=specs, device=device)

    def encoders(self, *, device: str) -> tuple[Encoder, ...]:
        """Load the reference's encoders again; an encoder with both roles is loaded once.

        Raises ResourceError if encoder weights are not on this machine, and ArtifactError if the weights differ.
        """
        return tuple(self.encoder_of(role, device=device) for role in dict.fromkeys(self.roles))

    @property
    def counts(self) -> dict[str, int]:
        """Number of items used in each component."""
        return dict(zip(self.labels, np.bincount(self.detector.component).tolist(), strict=True))

    @property
    def effective_counts(self) -> dict[str, int]:
        """Effective number of items in each component: copies and near copies count once (by their design effect)."""
        return {label: c.n for label, c in zip(self.labels, self.calibration.components, strict=True)}

    def summary(self) -> ReferenceSummary:
        """Description of this reference for lists and results."""
        return ReferenceSummary(
            name=self.name,
            identity=self.identity,
            items=self.counts,
            effective_items=self.effective_counts,
            real_sources=self.labels[: self.n_real],
            simulated=tuple(sorted(self.calibration.simulated)),
            separation=round(self.calibration.separation, 4),
            promise=promise_of(self.calibration, self.left_out, distrust=self.distrust),
            leak=self.leak,
            skipped={label: dict(reasons) for label, reasons in self.skipped.items() if reasons},
            unread=self.unread,
            seed=self.seed,
        )


def reference_of_parts(
    name: str,
    parts: Sequence[Part],
    *,
    n_real: int = 1,
    simulated: Sequence[str] = (),
    evidence: EncoderRole,
    semantic: EncoderRole | None,
    seed: int,
    device: str = "cpu",
) -> Reference:
    """Build a reference from encoded parts, the `n_real` real sources first; `simulated` lists labels of stand-ins.

    Every part holds the vectors of the evidence encoder, followed by the vectors of the semantic encoder if that is a
    different encoder. Items that occur in several parts are left out. Raises InputError for repeated labels or too few
    items.
    """
    labels = tuple(part.label for part in parts)
    if len(set(labels)) < len(labels):
        raise InputError(
            f"labels repeat in the list {', '.join(labels)}: give every source and generator its own label"
        )
    parts = _without_shared_items(parts)
    for part in parts:
        if len(part.ids) < FEWEST:
            raise InputError(
                f"the part {part.label!r} has {len(part.ids)} usable items, expected at least {FEWEST}: add items or "
                f"remove the part (items left out: {_reasons(part)})"
            )
    vectors = np.concatenate([part.vectors[0] for part in parts])
    digests = np.concatenate([part.digests for part in parts])
    component = component_labels([len(part.ids) for part in parts])
    detector, own = fit_detector(vectors, component, digests, n_real=n_real, seed=seed, device=device)
    trusted = [label for label in labels[n_real:] if label not in simulated]
    left_out = leave_one_out(vectors, component, digests, labels, trusted, n_real=n_real, seed=seed, device=device)
    ids = tuple(i for part in parts for i in part.ids)
    space = None
    if semantic is not None:
        real = np.concatenate([part.vectors[-1] for part in parts[:n_real]])
        space = real_part_of(real, ids[: len(real)], digests[: len(real)], seed=seed, device=device)
    return Reference(
        name=name,
        identity=_identity(vectors, digests, component, (n_real, *sorted(simulated)), evidence, semantic, seed),
        labels=labels,
        n_real=n_real,
        evidence=evidence,
        semantic_encoder=semantic,
        embeddings=Embeddings(vectors, ids, evidence.fingerprint),
        digests=digests,
        detector=detector,
        calibration=calibration_of(own, component, labels, frozenset(simulated), effects=detector.effects),
        left_out=left_out,
        nearest=np.sort(own.nearest.min(1)),
        semantic=space,
        formats=tuple(dict(sorted(Counter(part.formats).items())) for part in parts),
        traits=tuple(traits_of(part.shapes, part.compressions, part.details, evidence.kind) for part in parts),
        skipped={part.label: part.skipped for part in parts},
        unread={part.label: part.unread for part in parts},
        seed=seed,
    )


def _reasons(part: Part) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in part.skipped.items()) or "none"


def _without_shared_items(parts: Sequence[Part]) -> list[Part]:
    """Remove items that occur in more than one part, because the origin of such items is unclear."""
    owners = Counter(content for part in parts for content in {row.tobytes() for row in part.digests})
    shared = {content for content, count in owners.items() if count > 1}
    return [part.without(shared, "stands in another part of the reference too") for part in parts]


def _identity(
    vectors: np.ndarray,
    digests: np.ndarray,
    component: np.ndarray,
    kinds: tuple[int | str, ...],  # how many components are real, and which simulated
    evidence: EncoderRole,
    semantic: EncoderRole | None,
    seed: int,
) -> str:
    digest = hashlib.blake2b(digest_size=16)
    names = [_SCHEMA, kinds, evidence.fingerprint, semantic.fingerprint if semantic else None, seed]
    digest.update(json.dumps(names).encode())
    for array in (vectors, digests, component):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_reference(folder: Path, reference: Reference) -> None:
    """Write a reference; the manifest is written last, so a folder without a manifest is an interrupted build."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    save_embeddings(folder / "evidence", reference.embeddings)
    if reference.semantic is not None and reference.semantic_encoder is not None:
        rows = Embeddings(reference.semantic.vectors, reference.semantic.ids, reference.semantic_encoder.fingerprint)
        save_embeddings(folder / "semantic", rows)
    np.savez(folder / "fitted.npz", allow_pickle=False, **_arrays(reference))
    write_manifest(
        folder,
        {
            "schema": _SCHEMA,
            "name": reference.name,
            "identity": reference.identity,
            "labels": list(reference.labels),
            "n_real": reference.n_real,
            "simulated": sorted(reference.calibration.simulated),
            "left_out": list(reference.left_out.labels),
            "evidence": _role_fields(reference.evidence),
            "semantic": _role_fields(reference.semantic_encoder),
            "formats": [dict(f) for f in reference.formats],
            "traits": [dict(t) for t in reference.traits],
            "skipped": {k: dict(v) for k, v in reference.skipped.items()},
            "unread": {label: record_document(unread) for label, unread in reference.unread.items()},
            "seed": reference.seed,
            "bytes": (folder / "fitted.npz").stat().st_size,
        },
    )


def load_reference(
    folder: str | Path, *, device: str = "cpu", weights: Weights | Sequence[str] = AS_STORED
) -> Reference:
    """Read a reference; large arrays stay memory-mapped.

    `weights` are strings `SPEC=PATH` that give the paths of encoder weights on this machine, if weights have moved.
    Raises ArtifactError if the reference is missing or damaged, and InputError if `weights` do not match its encoders.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, _SCHEMA)
    try:
        stored = _stored_reference(folder, manifest, device)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{folder} is damaged ({error}): rebuild the reference") from None
    return _moved(stored, weights if isinstance(weights, Weights) else Weights(tuple(weights)))


def _moved(reference: Reference, weights: Weights) -> Reference:
    """Copy of the reference in which encoder weights have their paths on this machine."""
    roles = reference.roles
    specs = relocated([role.spec for role in roles], weights, reference=reference.name)
    evidence, *semantic = (replace(role, spec=spec) for role, spec in zip(roles, specs, strict=True))
    return replace(reference, evidence=evidence, semantic_encoder=semantic[0] if semantic else None)


def _stored_reference(folder: Path, manifest: Mapping[str, Any], device: str) -> Reference:
    evidence, semantic = _role(manifest["evidence"]), _role(manifest["semantic"])
    assert evidence is not None
    embeddings = load_embeddings(folder / "evidence", encoder=evidence.fingerprint)
    path = folder / "fitted.npz"
    if path.stat().st_size != manifest["bytes"]:
        raise ArtifactError(
            f"{path} has {path.stat().st_size} bytes, expected {manifest['bytes']}: rebuild the reference"
        )
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
    space = None
    if semantic is not None:
        rows = load_embeddings(folder / "semantic", encoder=semantic.fingerprint)
        space = RealPart(np.asarray(rows.vectors), rows.ids, _cells(arrays), int(arrays["left_out_copies"]), device)
    labels, n_real, simulated = tuple(manifest["labels"]), int(manifest["n_real"]), frozenset(manifest["simulated"])
    return Reference(
        name=manifest["name"],
        identity=manifest["identity"],
        labels=labels,
        n_real=n_real,
        evidence=evidence,
        semantic_encoder=semantic,
        embeddings=embeddings,
        digests=arrays["digests"],
        detector=_detector(arrays, embeddings.vectors, n_real, manifest["seed"], device),
        calibration=_calibration(arrays, labels, n_real, simulated),
        left_out=LeftOut(tuple(manifest["left_out"]), arrays["left_out"], arrays["left_out_n"]),
        nearest=arrays["nearest"],
        semantic=space,
        formats=tuple(manifest["formats"]),
        traits=tuple(manifest["traits"]),
        skipped=manifest["skipped"],
        unread={
            label: read_record(Unread, unread, where=f"the record of unread items of {label}")
            for label, unread in manifest.get("unread", {}).items()  # not counted by earlier versions
        },
        seed=manifest["seed"],
    )


def _cells(arrays: Mapping[str, np.ndarray]) -> tuple[Cells, ...]:
    halves = [half for half in range(2) if f"cells{half}_centres" in arrays]
    return tuple(
        Cells(
            Frame(arrays[f"cells{half}_origin"], float(arrays[f"cells{half}_scale"])),
            arrays[f"cells{half}_centres"],
            arrays[f"cells{half}_errors"],
        )
        for half in halves
    )


def _role_fields(role: EncoderRole | None) -> dict[str, Any] | None:
    return None if role is None else record_document(role)


def _role(fields: dict[str, Any] | None) -> EncoderRole | None:
    return None if fields is None else EncoderRole(**fields)


def _arrays(reference: Reference) -> dict[str, np.ndarray]:
    d, c = reference.detector, reference.calibration
    arrays = {
        "mean": d.mean,
        "scale": d.scale,
        "component": d.component,
        "folds": d.folds,
        "effects": d.effects,
        "calibration": np.array([d.inverse_temperature, *d.bias]),
        "edges": c.edges,
        "histograms": np.stack([k.histogram for k in c.components]),
        "n": np.array([k.n for k in c.components]),
        "totals": np.stack([k.posteriors.total for k in c.components]),
        "outers": np.stack([k.posteriors.outer for k in c.components]),
        "left_out": reference.left_out.hidden,
        "left_out_n": reference.left_out.n,
        "nearest": reference.nearest,
        "digests": reference.digests,
    }
    for i, probe in enumerate(d.probes):
        arrays |= {
            f"probe{i}_points": probe.landmarks.points,
            f"probe{i}_gamma": np.array(probe.landmarks.gamma),
            f"probe{i}_whitening": probe.landmarks.whitening,
            f"probe{i}_weights": probe.weights,
            f"probe{i}_intercept": probe.intercept,
        }
    if (real := reference.semantic) is not None:
        arrays["left_out_copies"] = np.array(real.left_out)
        for half, cells in enumerate(real.cells):
            arrays[f"cells{half}_origin"] = cells.frame.origin
            arrays[f"cells{half}_scale"] = np.array(cells.frame.scale)
            arrays[f"cells{half}_centres"] = cells.centres
            arrays[f"cells{half}_errors"] = cells.errors
    return arrays


def _detector(a: Mapping[str, np.ndarray], vectors: np.ndarray, n_real: int, seed: int, device: str) -> Detector:
    count = Counter(name.partition("_")[0] for name in a if name.startswith("probe"))
    probes = tuple(
        Probe(
            Landmarks(a[f"probe{i}_points"], float(a[f"probe{i}_gamma"]), a[f"probe{i}_whitening"]),
            a[f"probe{i}_weights"],
            a[f"probe{i}_intercept"],
        )
        for i in range(len(count))
    )
    exemplars = standardise(vectors, a["mean"], a["scale"])
    inverse_temperature, *bias = a["calibration"].tolist()
    return Detector(
        a["mean"], a["scale"], exemplars, a["component"], n_real, a["folds"], a["digests"], a["effects"], probes,
        inverse_temperature, np.array(bias), seed, device,
    )  # fmt: skip


def _calibration(
    a: Mapping[str, np.ndarray], labels: tuple[str, ...], n_real: int, simulated: frozenset[str]
) -> Calibration:
    components = tuple(
        ScoreCounts(h, Moments(int(n), total, outer))
        for h, n, total, outer in zip(a["histograms"], a["n"], a["totals"], a["outers"], strict=True)
    )
    return Calibration(labels, a["edges"], components, n_real, simulated)
