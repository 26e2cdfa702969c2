"""Validate an encoder on labelled data: how well it separates labels, and how accurate estimated fractions are."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from auditor.answers import Confound, EncoderRole, Unread
from auditor.evaluation.evaluate import EvaluatedDraw, Mapper, Summary, evaluate_reference, summarise
from auditor.evaluation.protocols import Items, Pair, Scenario, references_of
from auditor.evaluation.separation import Separation, separation_of
from auditor.evidence.detector import FEWEST
from auditor.records import read_record, record_document, record_schema
from auditor.reference.build import Given, open_labelled
from auditor.reference.component import Part, encode_part
from auditor.reference.storage_traits import confounds_between, traits_of
from indexes.device import compute_threads, resolve_device
from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.errors import InputError
from indexes.records import Kind, Source

__all__ = [
    "VALIDATION_SCHEMA",
    "LabelSummary",
    "PairSummary",
    "ScenarioResult",
    "Validation",
    "validate_encoder",
    "validation_schema",
]

VALIDATION_SCHEMA: Literal["madaudit/validation/1"] = "madaudit/validation/1"

_LEVEL = 0.95  # confidence level of all intervals
_MOST_REFERENCE, _MOST_SIZE = 1500, 1000  # largest default sizes
_FEWEST_SIZE = 20  # items of a set
_LEAST = 0.25  # every generator must have enough items for sets with this synthetic fraction
_FRACTIONS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)  # synthetic fractions of the sets
_MOST_SEEDS = 1_000_000
_COPY = "copy"
_COPY_OF_OTHER = "copy of another label's item"
_NEEDS_GENERATORS = "it needs two generators: give another --synthetic LABEL=SRC"
_NEEDS_SOURCES = "it needs two real labels: give another --real LABEL=SRC"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """Counts of the items read under one label."""

    label: str
    is_real: bool
    items: int  # used
    skipped: Mapping[str, int]  # reason → entries that were left out
    unread: Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSummary:
    """Accuracy of the estimates over the simulated sets of one pair."""

    pair: Pair
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """The simulated sets of one scenario, with summaries over all sets and over the sets of each pair."""

    name: str
    about: str  # what the reference knows and what the sets contain
    overall: Summary
    pairs: tuple[PairSummary, ...]
    draws: tuple[EvaluatedDraw, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How well an encoder tells real from synthetic items on labelled data, and how well fractions are estimated."""

    schema: Literal["madaudit/validation/1"] = VALIDATION_SCHEMA
    version: str  # of madaudit
    encoder: EncoderRole
    level: float  # confidence level of all intervals
    reference: int  # items of each component of a reference; a generator gives at most four fifths of its items
    size: int  # items of a set
    draws: int  # random splits for each reference
    seed: int
    fractions: tuple[float, ...]  # synthetic fractions of the sets; the smallest generator limits them
    labels: tuple[LabelSummary, ...]
    confounds: tuple[Confound, ...]  # differences of storage and size between the labels
    separation: tuple[Separation, ...]
    scenarios: tuple[ScenarioResult, ...]
    not_tried: Mapping[str, str]  # name of a scenario → why the labels do not allow it

    def to_dict(self) -> dict[str, Any]:
        """The validation as a JSON document."""
        return record_document(self)

    @staticmethod
    def from_dict(document: Any, *, where: str = "the validation") -> "Validation":
        """Read a validation from a document of `to_dict`; raises ArtifactError for any other document."""
        return read_record(Validation, document, where=where)


def validation_schema() -> dict[str, Any]:
    """The JSON Schema of a validation."""
    return record_schema(Validation, name=VALIDATION_SCHEMA)


def _unseen(label: str, items: int) -> None:
    """Ignore progress."""


def _uncounted(done: int, total: int) -> None:
    """Ignore progress."""


def validate_encoder(
    real: Given | Mapping[str, Given],
    synthetic: Mapping[str, Given],
    *,
    encoder: str,
    column: str | None = None,
    draws: int = 4,
    reference: int | None = None,
    size: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    threads: int = 2,
    device: str | None = None,
    run: Mapper = map,
    on_progress: Callable[[str, int], None] = _unseen,
    on_reference: Callable[[int, int], None] = _uncounted,
) -> Validation:
    """Encode labelled data once, then estimate the fractions of simulated sets that share no item with the reference.

    `real` and `synthetic` are sources or arrays by label, as `build_reference` takes them. Exact copies are left out.
    For each reference, every label is split at random into `reference` items for the reference and a pool, and sets of
    `size` items are mixed from the pools. There are three scenarios. `known`: the reference knows all generators.
    `unseen`: the reference lacks the generator of the set; needs two generators. `another-real-source`: the set is
    purely real and comes from another real label; needs two real labels. Each real label in turn is the real part of
    the reference. Each reference is made `draws` times, with other random splits. Other seeds give other splits. By
    default, `reference` and `size` are as large as the smallest labels allow, up to 1500 and 1000 items.

    `run` applies a function to each reference, by default in this process. `on_progress` is called with a label and the
    number of items just encoded under this label. `on_reference` is called with the number of finished references and
    the number of all references. Raises InputError for too few items, for sizes that the labels do not allow, and for a
    label that is given to both real and synthetic data.
    """
    _check(real, synthetic, draws, seed)
    loaded = load_encoder(encoder, device=resolve_device(device))
    groups, n_real = open_labelled(real, synthetic, kind=loaded.kind, column=column)
    with compute_threads(1):
        parts = _encoded(groups, loaded, batch_size=batch_size, threads=threads, on_progress=on_progress)
        chosen = _sizes(parts, n_real, reference, size)
        separation = _separations(parts, n_real, chosen.reference, seed=seed)
    scenarios, not_tried = _scenarios(parts, n_real, chosen)
    return Validation(
        version=version("madaudit"),
        encoder=EncoderRole(spec=loaded.spec, fingerprint=loaded.fingerprint, sees=loaded.sees, kind=loaded.kind),
        level=_LEVEL,
        reference=chosen.reference,
        size=chosen.size,
        draws=draws,
        seed=seed,
        fractions=chosen.fractions,
        labels=tuple(_label_summary(part, is_real=k < n_real) for k, part in enumerate(parts)),
        confounds=tuple(_confounds(parts, n_real, loaded.kind)),
        separation=separation,
        scenarios=_results(scenarios, _items(parts), draws=draws, seed=seed, run=run, on_reference=on_reference),
        not_tried=not_tried,
    )


def _check(real: Given | Mapping[str, Given], synthetic: Mapping[str, Given], draws: int, seed: int) -> None:
    if isinstance(real, Mapping) and not real:
        raise InputError("there is no real data, expected at least one --real [LABEL=]SRC")
    if not synthetic:
        raise InputError("there is no synthetic data, expected at least one --synthetic LABEL=SRC")
    if draws < 1:
        raise InputError(f"--draws is {draws}, expected at least 1")
    if not 0 <= seed < _MOST_SEEDS:
        raise InputError(f"--seed is {seed}, expected a number from 0 to {_MOST_SEEDS - 1}")


def _encoded(
    groups: Mapping[str, Sequence[Source]],
    encoder: Encoder,
    *,
    batch_size: int,
    threads: int,
    on_progress: Callable[[str, int], None],
) -> list[Part]:
    """Encode one part for each label, without items that repeat an item of the same label or of an earlier label."""
    seen: set[bytes] = set()
    parts = []
    for label, sources in groups.items():
        part = encode_part(
            label, sources, [encoder], batch_size=batch_size, threads=threads, on_progress=partial(on_progress, label)
        )
        parts.append(_first_of_each(part, seen))
        seen.update(row.tobytes() for row in part.digests)
    if len(widths := {part.vectors[0].shape[1] for part in parts}) > 1:
        raise InputError(f"found vectors of widths {sorted(widths)}, expected one width: use one encoder for all")
    return parts


def _first_of_each(part: Part, seen: set[bytes]) -> Part:
    part = part.without(seen, _COPY_OF_OTHER)
    first = np.sort(np.unique(part.digests, axis=0, return_index=True)[1])
    return part if len(first) == len(part.ids) else part.take(first, _COPY)


def _items(parts: Sequence[Part]) -> Items:
    return Items(
        np.concatenate([part.vectors[0] for part in parts]),
        np.concatenate([part.digests for part in parts]),
        np.repeat([part.label for part in parts], [len(part.ids) for part in parts]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """Sizes of a reference component and of a set, and synthetic fractions for which the labels have enough items."""

    reference: int
    size: int
    fractions: tuple[float, ...]


def _sizes(parts: Sequence[Part], n_real: int, reference: int | None, size: int | None) -> _Sizes:
    """The requested sizes, by default as large as the labels allow; raises InputError if a label has too few items."""
    counts = [len(part.ids) for part in parts]
    for part, count in zip(parts, counts, strict=True):
        if count < 2 * FEWEST:
            raise InputError(
                f"{part.label} has {count} different usable items ({sum(part.skipped.values())} left out), expected at "
                f"least {2 * FEWEST}: half for references and half for sets"
            )
    reference = min(_MOST_REFERENCE, min(counts) // 2) if reference is None else reference
    if reference < FEWEST:
        raise InputError(f"--reference is {reference}, expected at least {FEWEST}")
    spare = min(min(counts[:n_real]) - reference, int((min(counts) - reference) / _LEAST))
    size = max(_FEWEST_SIZE, min(_MOST_SIZE, spare)) if size is None else size
    if size < _FEWEST_SIZE:
        raise InputError(f"--size is {size}, expected at least {_FEWEST_SIZE}")
    for k, (part, count) in enumerate(zip(parts, counts, strict=True)):
        needed = reference + (size if k < n_real else int(np.ceil(_LEAST * size)))
        if count < needed:
            raise InputError(
                f"{part.label} has {count} different usable items, expected at least {needed} for a reference of "
                f"{reference} and sets of {size}: add items, or lower --reference or --size"
            )
    most = (min(counts[n_real:]) - reference) / size
    fractions = tuple(f for f in _FRACTIONS if f == 0 or 1 / size <= f <= most)  # at least one synthetic item
    return _Sizes(reference=reference, size=size, fractions=fractions)


def _label_summary(part: Part, *, is_real: bool) -> LabelSummary:
    return LabelSummary(
        label=part.label, is_real=is_real, items=len(part.ids), skipped=dict(part.skipped), unread=part.unread
    )


def _compared(parts: Sequence[Part], n_real: int) -> list[tuple[Part, Part]]:
    """Pairs of parts to compare: each real label with each generator, then each real label with each other one."""
    return [*itertools.product(parts[:n_real], parts[n_real:]), *itertools.combinations(parts[:n_real], 2)]


def _confounds(parts: Sequence[Part], n_real: int, kind: Kind) -> list[Confound]:
    tables = {
        part.label: {
            "format": Counter(part.formats),
            **traits_of(part.shapes, part.compressions, part.details, kind),
        }
        for part in parts
    }
    return [
        confound
        for a, b in _compared(parts, n_real)
        for confound in confounds_between("validation", tables[a.label], tables[b.label], (a.label, b.label))
    ]


def _separations(parts: Sequence[Part], n_real: int, n: int, *, seed: int) -> tuple[Separation, ...]:
    real = {part.label for part in parts[:n_real]}
    return tuple(
        separation_of(first, second, n, other_is_real=second.label in real, level=_LEVEL, seed=seed)
        for first, second in _compared(parts, n_real)
    )


def _scenarios(parts: Sequence[Part], n_real: int, sizes: _Sizes) -> tuple[dict[str, Scenario], dict[str, str]]:
    """The scenarios that these labels allow, by name, and why the other scenarios are not possible."""
    real, generators = [part.label for part in parts[:n_real]], tuple(part.label for part in parts[n_real:])
    mixed = partial(Scenario, reference=sizes.reference, sizes=(sizes.size,), prevalences=sizes.fractions)
    found = {
        "known": mixed(
            "The reference knows all generators, including the generator of the set.",
            tuple(Pair(source, generators, generator) for source in real for generator in generators),
        )
    }
    not_tried = {}
    if len(generators) > 1:
        pairs = [(source, generator) for source in real for generator in generators]
        found["unseen"] = mixed(
            "The reference knows all generators except the generator of the set.",
            tuple(
                Pair(source, tuple(o for o in generators if o != generator), generator) for source, generator in pairs
            ),
        )
    else:
        not_tried["unseen"] = _NEEDS_GENERATORS
    if len(real) > 1:
        found["another-real-source"] = Scenario(
            "All items of the set are real and come from a source that the reference lacks. Answers that assume that "
            "the reference matches are wrong here.",
            tuple(Pair(a, generators, None, foreign=b, foreign_share=1.0) for a, b in itertools.permutations(real, 2)),
            reference=sizes.reference, sizes=(sizes.size,), prevalences=(0.0,),
        )  # fmt: skip
    else:
        not_tried["another-real-source"] = _NEEDS_SOURCES
    return found, not_tried


def _results(
    scenarios: Mapping[str, Scenario],
    items: Items,
    *,
    draws: int,
    seed: int,
    run: Mapper,
    on_reference: Callable[[int, int], None],
) -> tuple[ScenarioResult, ...]:
    counts = {name: draws * len(references_of(scenario)) for name, scenario in scenarios.items()}
    total, done, found = sum(counts.values()), 0, []
    on_reference(0, total)
    for name, scenario in scenarios.items():
        evaluated: list[EvaluatedDraw] = []
        numbers = range(seed * counts[name], (seed + 1) * counts[name])
        for of_reference in run(partial(evaluate_reference, scenario, items, name=name), numbers):
            evaluated += of_reference
            done += 1
            on_reference(done, total)
        found.append(_result(name, scenario, evaluated))
    return tuple(found)


def _result(name: str, scenario: Scenario, draws: Sequence[EvaluatedDraw]) -> ScenarioResult:
    return ScenarioResult(
        name=name,
        about=scenario.summary,
        overall=summarise(draws),
        pairs=tuple(
            PairSummary(pair=pair, summary=summarise([draw for draw in draws if draw.pair == pair]))
            for pair in scenario.pairs
        ),
        draws=tuple(draws),
    )
