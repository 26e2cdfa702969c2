"""Building, storing, describing and deleting references."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.fraction.estimate import problem_of
from auditor.policy import Policy, Threshold
from auditor.records import record_document
from auditor.reference.build import build_reference, open_labelled
from auditor.reference.reference import Reference, save_reference
from indexes.device import resolve_device
from indexes.encoders import load_encoder
from indexes.errors import InputError
from indexes.records import Source
from indexes.sources.match_storage import storages_of, stored_alike
from loops.data.stand_ins import simulate_stand_ins, stand_in_label
from service.references.shelf import find_reference, reference_folder, write_summary
from service.settings import Settings
from service.storage.ledger import Ledger, check_free

__all__ = [
    "LabelledSource",
    "by_label",
    "delete_reference",
    "describe",
    "make_reference",
    "parse_labelled",
    "reference_from",
    "store_reference",
]

_UNREAD = Policy().unread
_SHARED = "stands in another part of the reference too"


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source and the label of its origin, e.g. the name of a generator."""

    label: str
    spec: str


def parse_labelled(text: str, *, default: str) -> LabelledSource:
    """Parse `LABEL=SRC`, or `SRC` with the default label; a text that is an existing path is never split."""
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
    on_progress: Callable[[str, int], None] = lambda label, items: None,
) -> Reference:
    """Build, store and record a reference; a failed build leaves no files behind."""
    folder = reference_folder(name, settings)
    check_free(settings.database)
    if folder.exists() and not overwrite:
        raise InputError(f"a reference called {name!r} exists: delete it, choose another name, or use --overwrite")
    reference = reference_from(
        name, real, synthetic, encoder=encoder, semantic_encoder=semantic_encoder, column=column,
        batch_size=batch_size, threads=threads, device=device, seed=seed, match_storage=match_storage,
        simulate=simulate, unread=unread, on_progress=on_progress,
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
    on_progress: Callable[[str, int], None] = lambda label, items: None,
) -> Reference:
    """Build a reference in memory from labelled sources.

    Raises InputError if the unreadable share of any part of the reference reaches the threshold `unread.fail`.
    """
    device = resolve_device(device)
    kind = load_encoder(encoder, device=device).kind
    groups, n_real = open_labelled(by_label(real), by_label(synthetic), kind=kind, column=column)
    if match_storage:
        groups = _matched(groups, n_real, seed)
    simulated = _simulated(simulate, groups, n_real, column=column, seed=seed, device=device)
    labels = list(groups)
    return build_reference(
        name=name, real={label: groups[label] for label in labels[:n_real]},
        synthetic={label: groups[label] for label in labels[n_real:]} | simulated, stand_ins=tuple(simulated),
        encoder=encoder, semantic_encoder=semantic_encoder, batch_size=batch_size, threads=threads, device=device,
        seed=seed, unread=unread, on_progress=on_progress,
    )  # fmt: skip


def by_label(sources: Sequence[LabelledSource]) -> dict[str, list[str]]:
    """The sources of each label, in the order in which the labels first appear."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(source.label, []).append(source.spec)
    return found


def _matched(groups: dict[str, list[Source]], n_real: int, seed: int) -> dict[str, list[Source]]:
    """Re-encode lossless synthetic images with the JPEG settings of the real images; InputError without real JPEGs."""
    storages = storages_of([source for sources in list(groups.values())[:n_real] for source in sources])
    if not storages:
        raise InputError(
            "--match-storage found no JPEG among the real images, whose settings it copies: leave out --match-storage"
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
    """Stand-in generators by label: one per model family, fitted to the real sources."""
    real = [source for sources in list(groups.values())[:n_real] for source in sources]
    made: dict[str, list[Source]] = {}
    for family in families:
        label = stand_in_label(family)
        if label in groups or label in made:
            raise InputError(f"the label {label} is used twice: name each family once, and give no source this label")
        made[label] = [simulate_stand_ins(family, real, column=column, seed=seed, device=device)]
    return made


def store_reference(reference: Reference, folder: Path) -> None:
    """Write a reference to its folder, replacing any reference there; the folder is either complete or absent."""
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        save_reference(building, reference)
        write_summary(building, describe(reference))
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def describe(reference: Reference) -> dict[str, Any]:
    """Description of a reference, as printed by madaudit reference list and show."""
    semantic = reference.semantic_encoder
    return {
        **record_document(reference.summary()),
        "warnings": _warnings(reference),
        "unread_warnings": _unread_warnings(reference),
        "encoder": reference.evidence.spec,
        "semantic_encoder": semantic.spec if semantic else None,
        "formats": {label: dict(f) for label, f in zip(reference.labels, reference.formats, strict=True)},
    }


def _warnings(reference: Reference) -> list[str]:
    """Reasons why audits against this reference will be undetermined."""
    calibration = reference.calibration
    found = [reference.distrust] if reference.distrust else []
    found += [problem] if (problem := problem_of(calibration)) else []
    return found


def _unread_warnings(reference: Reference) -> list[str]:
    """Warnings about parts of a reference with too many unreadable items, or items that another part also holds."""
    found = []
    for label, unread in reference.unread.items():
        shared = reference.skipped.get(label, {}).get(_SHARED, 0)
        if shared >= _UNREAD.fail * max(unread.counted, 1):
            found.append(
                f"{label}: {shared} of {unread.counted} items are also in another part and were removed from both parts"
            )
        if not unread.share.estimate < _UNREAD.warn:  # nan included
            found.append(f"{label}: {unread}")
    return found


def delete_reference(name: str, settings: Settings) -> None:
    """Delete the folder and the database record of a reference."""
    folder = find_reference(name, settings)
    Ledger(settings.database).forget_reference(name)
    shutil.rmtree(folder)
