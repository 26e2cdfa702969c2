"""References: built from sources, stored, found again, deleted."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from auditor.fraction.estimate import problem_of
from auditor.policy import Policy, Threshold
from auditor.reference.component import Part, encode_part
from auditor.reference.reference import EncoderRole, Reference, build_reference, save_reference
from auditor.unread import unread_in_words
from indexes.device import compute_threads, resolve_device
from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.records import Item, Source
from indexes.sources import open_source
from indexes.sources.match_storage import storages_of, stored_alike
from loops.data.stand_ins import exemplar_label, simulate_exemplars
from service.references.shelf import reference_names, write_summary
from service.settings import Settings
from service.storage.ledger import Ledger, check_free

__all__ = [
    "LabelledSource",
    "delete_reference",
    "describe",
    "find_reference",
    "make_reference",
    "parse_labelled",
    "reference_folder",
    "reference_from",
    "store_reference",
]

_UNREAD = Policy().unread
_SHARED = "stands in another part of the reference too"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source with the name of what made it."""

    label: str
    spec: str


def parse_labelled(text: str, *, default: str) -> LabelledSource:
    """`LABEL=SRC`, or `SRC` under the default label; a path that exists is never split."""
    label, equals, spec = text.partition("=")
    if equals and re.fullmatch(r"[\w.-]+", label) and not Path(text).exists():
        return LabelledSource(label, spec)
    return LabelledSource(default, text)


def make_reference(
    name: str,
    real: Sequence[LabelledSource],
    synthetic: Sequence[LabelledSource],
    *,
    encoder: str,
    semantic_encoder: str | None,
    settings: Settings,
    column: str | None = None,
    batch_size: int = 256,
    threads: int = 2,
    device: str | None = None,
    seed: int = 0,
    match_storage: bool = False,
    simulate: Sequence[str] = (),
    overwrite: bool = False,
    unread: Threshold = _UNREAD,
    report: Callable[[str, int], None] = lambda label, items: None,
) -> Reference:
    """Build, store and record a reference; nothing is left of one that fails."""
    folder = reference_folder(name, settings)
    check_free(settings.database)
    if folder.exists() and not overwrite:
        raise InputError(f"a reference called {name!r} exists: delete it, choose another name, or use --overwrite")
    reference = reference_from(
        name, real, synthetic, encoder=encoder, semantic_encoder=semantic_encoder, column=column,
        batch_size=batch_size, threads=threads, device=device, seed=seed, match_storage=match_storage,
        simulate=simulate, unread=unread, report=report,
    )  # fmt: skip
    store_reference(reference, folder)
    try:
        Ledger(settings.database).record_reference(reference.name, reference.identity, describe(reference))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return reference


def reference_from(
    name: str,
    real: Sequence[LabelledSource],
    synthetic: Sequence[LabelledSource],
    *,
    encoder: str,
    semantic_encoder: str | None,
    column: str | None = None,
    batch_size: int = 256,
    threads: int = 2,
    device: str | None = None,
    seed: int = 0,
    match_storage: bool = False,
    simulate: Sequence[str] = (),
    unread: Threshold = _UNREAD,
    report: Callable[[str, int], None] = lambda label, items: None,
) -> Reference:
    """A reference built from sources, in memory.

    Raises InputError where the share of a part that could not be read reaches `unread.fail`.
    """
    device = resolve_device(device)
    groups, n_real = _opened(real, synthetic, encoder, column, device)
    if match_storage:
        groups = _matched(groups, n_real, seed)
    simulated = _simulated(simulate, groups, n_real, column=column, seed=seed, device=device)
    groups |= simulated
    evidence, semantic = _load_roles(encoder, semantic_encoder, groups, device)
    encoders = (evidence,) if semantic in (None, evidence) else (evidence, semantic)
    with compute_threads(1):
        parts = [
            encode_part(
                label, sources, encoders, batch_size=batch_size, threads=threads,
                report=partial(report, label),
            )
            for label, sources in groups.items()
        ]  # fmt: skip
        for part in parts:
            _check_read(part, unread)
        return build_reference(
            name, parts, n_real=n_real, simulated=tuple(simulated), evidence=_role(evidence),
            semantic=_role(semantic) if semantic else None, seed=seed, device=device,
        )  # fmt: skip


def _check_read(part: Part, threshold: Threshold) -> None:
    """Refuse a part of which too much is missing: it would not stand for the data it is named after."""
    judged = part.check_read(threshold)
    if judged.status not in ("fail", "undetermined"):
        return
    reasons = ", ".join(f"{count} × {reason}" for reason, count in part.skipped.items())
    raise InputError(
        f"the part {part.label!r}: {unread_in_words(part.unread)} ({reasons}), expected a share under "
        f"{threshold.fail:g}: repair or remove what cannot be read, or raise unread.fail in a --policy"
    )


def _opened(
    real: Sequence[LabelledSource], synthetic: Sequence[LabelledSource], encoder: str, column: str | None, device: str
) -> tuple[dict[str, list[Source]], int]:
    """The sources by label, those of the real labels first, and the number of these."""
    kind = load_encoder(encoder, device=device).kind
    sides: list[dict[str, list[Source]]] = [{}, {}]
    for side, labelled in zip(sides, (real, synthetic), strict=True):
        for source in labelled:
            side.setdefault(source.label, []).append(open_source(source.spec, kind=kind, column=column))
    if both := sorted(sides[0].keys() & sides[1].keys()):
        raise InputError(f"{', '.join(both)} labels real and synthetic data: give the generator another label")
    return sides[0] | sides[1], len(sides[0])


def _matched(groups: dict[str, list[Source]], n_real: int, seed: int) -> dict[str, list[Source]]:
    """The groups with lossless synthetic images stored as the real ones; InputError where these are no JPEGs."""
    storages = storages_of([source for sources in list(groups.values())[:n_real] for source in sources])
    if not storages:
        raise InputError(
            "--match-storage found no JPEG in the real part, which the synthetic images are to follow: leave it out"
        )
    return {
        label: sources if i < n_real else [stored_alike(source, storages, seed=seed) for source in sources]
        for i, (label, sources) in enumerate(groups.items())
    }


def _simulated(
    families: Sequence[str],
    groups: dict[str, list[Source]],
    n_real: int,
    *,
    column: str | None,
    seed: int,
    device: str,
) -> dict[str, list[Source]]:
    """Exemplars of each family, fitted to the real sources, under its label."""
    real = [source for sources in list(groups.values())[:n_real] for source in sources]
    made: dict[str, list[Source]] = {}
    for family in families:
        label = exemplar_label(family)
        if label in groups or label in made:
            raise InputError(f"the label {label} is given twice: name each family once and no data after one")
        made[label] = [simulate_exemplars(family, real, column=column, seed=seed, device=device)]
    return made


def _load_roles(
    encoder: str, semantic_encoder: str | None, groups: dict[str, list[Source]], device: str
) -> tuple[Encoder, Encoder | None]:
    """The evidence encoder, and the semantic one: the same object where one serves both, none for traces alone."""
    evidence = load_encoder(_with_width(encoder, groups), device=device)
    if semantic_encoder is None or semantic_encoder == encoder:
        semantic = evidence if evidence.sees == "content" else None
    else:
        semantic = load_encoder(_with_width(semantic_encoder, groups), device=device)
    if semantic_encoder is not None and (semantic is None or semantic.sees != "content"):
        raise InputError(
            f"{semantic_encoder} sees processing traces only: choose a --semantic-encoder that sees content"
        )
    if semantic is not None and semantic.kind != evidence.kind:
        raise InputError(f"{encoder} reads {evidence.kind}s and {semantic_encoder} {semantic.kind}s: choose one kind")
    return evidence, semantic


def _with_width(spec: str, groups: dict[str, list[Source]]) -> str:
    """`embeddings` with the width of the first real vector, so that other widths are refused from then on."""
    if spec != "embeddings":
        return spec
    for source in next(iter(groups.values())):
        for shard in source.shards:
            for item in shard.read():
                if isinstance(item, Item) and not isinstance(item.data, bytes | str):
                    return f"embeddings:{len(item.data)}"
    raise InputError("no usable vector in the real part: expected rows of finite numbers")


def _role(encoder: Encoder) -> EncoderRole:
    return EncoderRole(encoder.spec, encoder.fingerprint, encoder.sees, encoder.kind)


def store_reference(reference: Reference, folder: Path) -> None:
    """Put a reference into its folder, in the place of any other there; a folder is there whole or not at all."""
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        save_reference(building, reference)
        write_summary(building, describe(reference))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def describe(reference: Reference) -> dict[str, Any]:
    """A reference as `list` and `show` print it."""
    semantic = reference.semantic_encoder
    return {
        **reference.summary(),
        "warnings": _warnings(reference),
        "unread_warnings": _unread_warnings(reference),
        "encoder": reference.evidence.spec,
        "semantic_encoder": semantic.spec if semantic else None,
        "formats": {label: dict(f) for label, f in zip(reference.labels, reference.formats, strict=True)},
    }


def _warnings(reference: Reference) -> list[str]:
    """Why audits against this reference will be undetermined, known before the first."""
    calibration = reference.calibration
    found = [reference.distrust] if reference.distrust else []
    found += [problem] if (problem := problem_of(calibration)) else []
    return found


def _unread_warnings(reference: Reference) -> list[str]:
    """The parts of which more could not be read than goes without a word."""
    found = []
    for label, fields in reference.unread.items():
        shared = reference.skipped.get(label, {}).get(_SHARED, 0)
        if shared >= _UNREAD.fail * max(fields["counted"], 1):
            found.append(f"{label}: {shared} of {fields['counted']} items stand in another part too and are in neither")
        share = fields["share"]["estimate"]
        if share is None or share >= _UNREAD.warn:
            found.append(f"{label}: {unread_in_words(fields)}")
    return found


def reference_folder(name: str, settings: Settings) -> Path:
    """Where a reference of that name lies, or would; raises InputError for what is no name."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name for a reference: use letters, digits, '.', '_' and '-'")
    return settings.references / name


def find_reference(name: str, settings: Settings) -> Path:
    """The folder of a reference; raises InputError naming those that exist."""
    folder = reference_folder(name, settings)
    if not folder.is_dir():
        known = ", ".join(reference_names(settings)) or "none yet"
        raise InputError(
            f"no reference is called {name!r} (there are: {known}): build it with madaudit reference build"
        )
    return folder


def delete_reference(name: str, settings: Settings) -> None:
    """Remove a reference and its entry."""
    folder = find_reference(name, settings)
    Ledger(settings.database).forget_reference(name)
    shutil.rmtree(folder)
