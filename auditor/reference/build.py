"""Build a reference: open sources or arrays, encode their items, and fit the detector."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from auditor.answers import EncoderRole
from auditor.policy import Policy, Threshold
from auditor.reference.component import Part, encode_part
from auditor.reference.reference import Reference, reference_of_parts
from indexes.device import compute_threads, resolve_device
from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.records import Item, Kind, Source
from indexes.sources import open_source
from indexes.sources.memory import source_of_array

__all__ = ["Given", "build_reference", "open_labelled"]

One = Source | str | Path | np.ndarray  # an opened source, what `open_source` opens, or an array (n, d)
Given = One | Sequence[One]
UNREAD = Policy().unread


def _unseen(label: str, items: int) -> None:
    """Ignore progress."""


def build_reference(
    *,
    real: Given | Mapping[str, Given],
    synthetic: Mapping[str, Given] | None = None,
    encoder: str,
    semantic_encoder: str | None = None,
    name: str = "reference",
    column: str | None = None,
    batch_size: int = 256,
    threads: int = 2,
    device: str | None = None,
    seed: int = 0,
    stand_ins: Collection[str] = (),
    unread: Threshold = UNREAD,
    on_progress: Callable[[str, int], None] = _unseen,
) -> Reference:
    """Build a reference from real data and from labelled items of known generators.

    `real` and each entry of `synthetic` are a source, an array of vectors (n, d), or several of these; `real` may also
    map labels to real sources. `encoder` names the evidence encoder, which is `embeddings` for arrays.
    `semantic_encoder` names the encoder for diversity, fidelity and risk; the default is the evidence encoder if it
    sees content. `stand_ins` holds the labels of simulated generators. `on_progress` is called with a label and the
    number of items just encoded under this label. Raises InputError for repeated labels, too few items, and a part
    whose share of unreadable items reaches `unread.fail`.
    """
    device = resolve_device(device)
    kind = load_encoder(encoder, device=device).kind
    groups, n_real = open_labelled(real, synthetic or {}, kind=kind, column=column)
    evidence, semantic = _load_roles(encoder, semantic_encoder, groups, device)
    encoders = (evidence,) if semantic in (None, evidence) else (evidence, semantic)
    with compute_threads(1):
        parts = [
            encode_part(
                label, sources, encoders, batch_size=batch_size, threads=threads,
                on_progress=partial(on_progress, label),
            )
            for label, sources in groups.items()
        ]  # fmt: skip
        for part in parts:
            _check_read(part, unread)
        return reference_of_parts(
            name, parts, n_real=n_real, simulated=tuple(stand_ins), evidence=_role(evidence),
            semantic=_role(semantic) if semantic else None, seed=seed, device=device,
        )  # fmt: skip


def open_labelled(
    real: Given | Mapping[str, Given], synthetic: Mapping[str, Given], *, kind: Kind, column: str | None
) -> tuple[dict[str, list[Source]], int]:
    """Open all sources; return the sources by label, real labels first, and the number of real labels."""
    named = real if isinstance(real, Mapping) else {"real": real}
    if both := sorted(named.keys() & synthetic.keys()):
        raise InputError(f"{', '.join(both)} labels real and synthetic data: give the generator another label")
    groups = {
        label: [_opened(one, kind, column) for one in _listed(given)]
        for side in (named, synthetic)
        for label, given in side.items()
    }
    return groups, len(named)


def _listed(given: Given) -> Sequence[One]:
    return [given] if isinstance(given, Source | str | Path | np.ndarray) else given


def _opened(given: One, kind: Kind, column: str | None) -> Source:
    if isinstance(given, Source):
        return given
    return source_of_array(given) if isinstance(given, np.ndarray) else open_source(given, kind=kind, column=column)


def _check_read(part: Part, threshold: Threshold) -> None:
    """Raise InputError for a part with too many unread items, because such a part does not represent its source."""
    judged = part.check_read(threshold)
    if judged.status not in ("fail", "undetermined"):
        return
    reasons = ", ".join(f"{count} × {reason}" for reason, count in part.skipped.items())
    raise InputError(
        f"the part {part.label!r} of the reference has {part.unread} ({reasons}), expected a share under "
        f"{threshold.fail:g}: repair or remove the unreadable files, or raise unread.fail in a --policy"
    )


def _load_roles(
    encoder: str, semantic_encoder: str | None, groups: Mapping[str, Sequence[Source]], device: str
) -> tuple[Encoder, Encoder | None]:
    """Load the evidence and semantic encoders; both may be one object, and the second is None for trace encoders."""
    evidence = load_encoder(_with_width(encoder, groups), device=device)
    if semantic_encoder is None or semantic_encoder == encoder:
        semantic = evidence if evidence.sees == "content" else None
    else:
        semantic = load_encoder(_with_width(semantic_encoder, groups), device=device)
    if semantic_encoder is not None and (semantic is None or semantic.sees != "content"):
        raise InputError(
            f"the encoder {semantic_encoder} sees processing traces only: choose a --semantic-encoder that sees content"
        )
    if semantic is not None and semantic.kind != evidence.kind:
        raise InputError(
            f"{encoder} reads {evidence.kind}s but {semantic_encoder} reads {semantic.kind}s: choose encoders for the "
            "same kind of data"
        )
    return evidence, semantic


def _with_width(spec: str, groups: Mapping[str, Sequence[Source]]) -> str:
    """Add the width of the first real vector to the spec `embeddings`, so that vectors of other widths are rejected."""
    if spec != "embeddings":
        return spec
    for source in next(iter(groups.values())):
        for shard in source.shards:
            for item in shard.read():
                if isinstance(item, Item) and not isinstance(item.data, bytes | str):
                    return f"embeddings:{len(item.data)}"
    raise InputError("no usable vector in the real part: expected rows of finite numbers")


def _role(encoder: Encoder) -> EncoderRole:
    return EncoderRole(spec=encoder.spec, fingerprint=encoder.fingerprint, sees=encoder.sees, kind=encoder.kind)
