"""Review of an audit: draw items for a person to label, then recompute the synthetic fraction from the labels."""

import hashlib
import heapq
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from auditor.answers import FractionBeforeReview, KnownAnswers, LabelCount, Review, Stratum, SyntheticFraction
from auditor.folder import AuditFolder
from auditor.fraction.settling import check_fraction
from auditor.policy import verdict_of
from auditor.records import read_record, record_document
from auditor.results import AuditResult, read_items, read_result, write_result
from auditor.review.label_fraction import ErrorCounts, LabelCounts, LabelledFraction, estimate_with_labels
from auditor.review.sampling import Draw, draw_review, known_answers, shuffled
from auditor.statistics.intervals import Measure
from auditor.unread import heed_unread, of_the_whole_set
from indexes.errors import ArtifactError, InputError
from indexes.hashing import sample_keys
from indexes.images import decode
from indexes.records import Item, Kind, Source, Unusable
from indexes.sources import open_source
from indexes.sources.files import printable
from indexes.store import write_atomic
from service.forecasts import renewed
from service.reports.report import write_report
from service.reports.review_sheet import Shown, read_labels, shown, write_sheet
from service.settings import Settings
from service.storage.ledger import Ledger

__all__ = ["DrawnReview", "finish_review", "renew_review", "start_review"]

_SCHEMA = "madaudit/review/1"
_SPARE = 2  # times as many known items are read as are wanted, since some may be unusable
_ASSUMES = (
    "the labeller makes errors on items of the set as often as on items of known origin, and unsure or missing labels "
    "are missing at random within each stratum"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnReview:
    """A review whose files are ready for labelling."""

    folder: AuditFolder
    name: str
    kind: Kind
    items: tuple[Shown, ...]
    labels_kept: int  # labels of an earlier review that are already filled in

    def as_json(self) -> dict[str, Any]:
        """JSON description of the review; it does not reveal which items have a known origin."""
        files = {"page": self.folder.label_page, "table": self.folder.label_table}
        return {
            "schema": _SCHEMA,
            "review": self.name,
            "kind": self.kind,
            "items": len(self.items),
            "labels_kept": self.labels_kept,
            **{name: printable(str(path)) for name, path in files.items()},
        }


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item to label: an audited item in a stratum, or an item of known origin."""

    id: str
    shard: str = ""
    stratum: int | None = None
    known: str | None = None  # real | synthetic
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyItem:
    """The origin of one item of a review."""

    number: int  # under which the labeller sees it
    id: str
    shard: str
    stratum: int | None
    known: str | None  # real | synthetic

    @property
    def place(self) -> tuple[str, str, str]:
        """Values that identify the item in every review of the same audit."""
        return self.known or "", self.shard, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """The answer key of a review: the origin of each item, which the labeller must not see."""

    review: str  # a digest of all the rest
    schema: str = _SCHEMA
    audit: str  # digest of the audited items
    seed: int
    strata: tuple[int, ...]  # their sizes
    items: tuple[_KeyItem, ...]

    @property
    def numbers(self) -> list[int]:
        return [item.number for item in self.items]


def start_review(
    folder: AuditFolder,
    *,
    n: int,
    seed: int = 0,
    known_real: Sequence[str] = (),
    known_synthetic: Sequence[str] = (),
    overwrite: bool = False,
) -> DrawnReview:
    """Draw items of a finished audit and write the files for labelling; repeating the same review keeps its labels.

    With `overwrite`, an earlier review is replaced, and items that are drawn again keep their labels. Raises InputError
    if the folder holds a different review or the source no longer holds the audited items.
    """
    kind, claim = read_result(folder).encoder.evidence.kind, folder.read_claim()
    known = {"real": known_real, "synthetic": known_synthetic}
    if kind == "vector" and (known_real or known_synthetic):
        raise InputError(
            "vectors are labelled by their ids, which would reveal the known items: leave out --known-real and "
            "--known-synthetic"
        )
    with folder.only_writer():
        entries, sizes = _drawn(folder, claim, kind, n, seed)
        for origin, specs in known.items():
            entries += _known_items(origin, specs, kind, known_answers(n) // 2, seed)
        order = shuffled([f"{e.known}\n{e.shard}\n{e.id}" for e in entries], seed=seed)
        entries = [entries[int(i)] for i in order]
        key = _key_of(folder, entries, sizes, seed)
        items = _shown(entries, kind)
        former = _former_labels(folder) if overwrite else {}
        kept = {item.number: former[item.place] for item in key.items if item.place in former}
        if not _is_there(folder, key.review, overwrite=overwrite):
            write_sheet(folder, key.review, items, kept)
            write_atomic(folder.review_key, json.dumps(record_document(key), indent=1).encode())
    return DrawnReview(folder=folder, name=key.review, kind=kind, items=items, labels_kept=len(kept))


def _former_labels(folder: AuditFolder) -> dict[tuple[str, str, str], str]:
    """Labels of an earlier review (from its label file or its table), keyed by the origin, shard and id of an item."""
    path = next((file for file in (folder.labels, folder.label_table) if file.is_file()), None)
    if path is None or not folder.review_key.is_file():
        return {}
    key = _read_key(folder)
    answers = read_labels(path, key.review, key.numbers)
    return {item.place: answer for item in key.items if (answer := answers[item.number])}


def _shown(entries: Sequence[_Entry], kind: Kind) -> tuple[Shown, ...]:
    try:
        return tuple(shown(i, e.id, e.data, kind) for i, e in enumerate(entries, start=1))
    except Unusable as error:
        raise InputError(f"the source no longer holds the audited items ({error}): audit it again") from None


def _is_there(folder: AuditFolder, name: str, *, overwrite: bool) -> bool:
    """Whether the folder already holds this review; a different review is removed (with `overwrite`) or an error."""
    if not folder.review_key.is_file():
        return False
    if overwrite:
        shutil.rmtree(folder.review, ignore_errors=True)
        return False
    if (found := _read_key(folder).review) != name:
        raise InputError(
            f"{folder.review} already holds the review {found}: give its labels with --labels, or use --overwrite"
        )
    return True


def _drawn(
    folder: AuditFolder, claim: Mapping[str, Any], kind: Kind, n: int, seed: int
) -> tuple[list[_Entry], Sequence[int]]:
    """Audited items drawn for labelling, with their content, and the sizes of the strata."""
    table = _items(folder)
    names = [f"{shard}\n{item}" for shard, item in zip(table["shard"], table["id"], strict=True)]
    draw: Draw = draw_review(names, table["log_odds"], table["novelty"], n=n, seed=seed)
    places = [(table["shard"][row], table["id"][row]) for row in draw.rows]
    contents = _contents(claim, kind, set(places))
    entries = [
        _Entry(item, shard, int(stratum), None, contents[shard, item])
        for (shard, item), stratum in zip(places, draw.strata, strict=True)
    ]
    return entries, draw.sizes.tolist()


def _items(folder: AuditFolder) -> dict[str, Any]:
    """Columns of the audited items: id, shard, novelty, and log odds of the score (of novelty if there is no score)."""
    table = read_items(folder)
    score, novelty = (table[name].to_numpy().astype(np.float64) for name in ("score", "novelty"))
    suspicion = np.where(np.isnan(score), novelty, score)
    return {
        "id": table["id"].to_pylist(),
        "shard": table["shard"].to_pylist(),
        "novelty": novelty,
        "log_odds": special.logit(np.clip(suspicion, 1e-9, 1 - 1e-9)),
    }


def _contents(claim: Mapping[str, Any], kind: Kind, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Content of the wanted items by shard and id; raises InputError if the source no longer holds one of the items."""
    found: dict[tuple[str, str], Any] = {}
    shards = {shard for shard, _ in wanted}
    for source in _sources(str(claim["source"]), kind, claim.get("column")):
        for shard in source.shards:
            if (name := printable(shard.name)) not in shards:
                continue
            for item in shard.read():
                if isinstance(item, Item) and (place := (name, printable(item.id))) in wanted:
                    found.setdefault(place, item.data)
    if gone := sorted(wanted - set(found)):
        raise InputError(
            f"{claim['source']} no longer holds {len(gone)} of the drawn items, e.g. {gone[0][1]}: audit it again"
        )
    return found


def _sources(spec: str, kind: Kind, column: str | None) -> list[Source]:
    """The source of an audit, or the sources of a merged audit."""
    try:
        return [open_source(spec, kind=kind, column=column)]
    except InputError:
        if " + " not in spec:
            raise
    return [open_source(part, kind=kind, column=column) for part in spec.split(" + ")]


def _known_items(origin: str, specs: Sequence[str], kind: Kind, n: int, seed: int) -> list[_Entry]:
    """A random sample of usable items from sources of known origin."""
    if not specs:
        return []
    smallest: list[tuple[int, str, Any]] = []  # a heap of −key, name, content
    for number, item in _all_items(specs, kind):
        name = f"{number}\n{printable(item.id)}"
        entry = (-int(sample_keys([f"known\n{name}"], seed=seed)[0]), name, item.data)
        (heapq.heappush if len(smallest) < _SPARE * n else heapq.heappushpop)(smallest, entry)
    drawn = [_Entry(name, known=origin, data=data) for _, name, data in sorted(smallest, reverse=True)]
    usable = [entry for entry in drawn if _is_usable(entry.data, kind)]
    if not usable:
        raise InputError(
            f"{', '.join(specs)} holds no usable items to mix in as known {origin} items: expected {kind}s"
        )
    return usable[:n]


def _all_items(specs: Sequence[str], kind: Kind) -> Iterator[tuple[int, Item]]:
    for number, spec in enumerate(specs):
        for shard in open_source(spec, kind=kind).shards:
            for item in shard.read():
                if isinstance(item, Item):
                    yield number, item


def _is_usable(data: Any, kind: Kind) -> bool:
    try:
        return kind != "image" or decode(data) is not None
    except Unusable:
        return False


def _key_of(folder: AuditFolder, entries: Sequence[_Entry], sizes: Sequence[int], seed: int) -> _Key:
    items = tuple(
        _KeyItem(number=i, id=e.id, shard=e.shard, stratum=e.stratum, known=e.known)
        for i, e in enumerate(entries, start=1)
    )
    unnamed = _Key(review="", audit=_identity(folder), seed=seed, strata=tuple(sizes), items=items)
    content = json.dumps(record_document(unnamed)).encode()
    return replace(unnamed, review=hashlib.blake2b(content, digest_size=6).hexdigest())


def _identity(folder: AuditFolder) -> str:
    """Digest of the shards and ids of all audited items."""
    table = _items(folder)
    digest = hashlib.blake2b(json.dumps([table["shard"], table["id"]]).encode(), digest_size=16)
    return digest.hexdigest()


def _read_key(folder: AuditFolder) -> _Key:
    path = folder.review_key
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}): draw the items first, with madaudit review DIR"
        ) from None
    return read_record(_Key, document, where=str(path))


def finish_review(folder: AuditFolder, labels: Path, *, settings: Settings) -> AuditResult:
    """Recompute the synthetic fraction from labels, update result.json and report.html, and return the result.

    The audit's original answer is stored under `before_review`, so the same labels always give the same result.
    """
    result, key = read_result(folder), _read_key(folder)
    if key.audit != _identity(folder):
        raise InputError(
            f"the audit in {folder.path} holds other items than its review: draw a new review with --overwrite"
        )
    answers = read_labels(labels, key.review, key.numbers)
    with folder.only_writer():
        counts = _counts(key, answers)
        found = estimate_with_labels(
            counts, rng=np.random.default_rng(key.seed), level=result.synthetic_fraction.level,
            is_sample=result.run.sampled_from is not None,
        )  # fmt: skip
        result = renewed(_answered(result, found, _summary(key, answers, counts, found)))
        if labels.resolve() != folder.labels.resolve():
            write_atomic(folder.labels, labels.read_bytes())
        write_result(folder, result)
        write_report(folder, result)
    Ledger(settings.database).record_audit(folder.path, result)
    return result


def renew_review(folder: AuditFolder, *, settings: Settings) -> AuditResult | None:
    """Update a repeated audit with the labels of its earlier review and return the result; None without labels.

    Raises InputError if the audit now holds other items than the audit that was labelled.
    """
    return finish_review(folder, folder.labels, settings=settings) if folder.has_review else None


def _counts(key: _Key, answers: Mapping[int, str]) -> LabelCounts:
    sizes = np.array(key.strata, dtype=np.int64)
    answered, synthetic = np.zeros_like(sizes), np.zeros_like(sizes)
    known = {"real": [0, 0], "synthetic": [0, 0]}  # answered, wrong
    for item in key.items:
        answer = answers[item.number]
        if answer not in ("real", "synthetic"):
            continue
        if item.known:
            known[item.known][0] += 1
            known[item.known][1] += answer != item.known
        else:
            answered[item.stratum] += 1
            synthetic[item.stratum] += answer == "synthetic"
    return LabelCounts(sizes, answered, synthetic, ErrorCounts(*known["real"]), ErrorCounts(*known["synthetic"]))


def _summary(key: _Key, answers: Mapping[int, str], counts: LabelCounts, found: LabelledFraction) -> Review:
    """Summary of a review for the audit's result."""
    of_set = [answers[item.number] for item in key.items if not item.known]
    known = [answers[item.number] for item in key.items if item.known]
    columns = zip(counts.sizes.tolist(), counts.answered.tolist(), counts.synthetic.tolist(), strict=True)
    return Review(
        id=key.review,
        drawn=len(of_set),
        labelled=int(counts.answered.sum()),
        unsure=of_set.count("unsure"),
        unlabelled=of_set.count(""),
        known=KnownAnswers(
            real=LabelCount(labelled=counts.real.answered, wrong=counts.real.wrong),
            synthetic=LabelCount(labelled=counts.generated.answered, wrong=counts.generated.wrong),
            unsure=known.count("unsure"),
            unlabelled=known.count(""),
        ),
        error_on_real=found.error_on_real,
        error_on_synthetic=found.error_on_synthetic,
        strata=tuple(Stratum(items=n, labelled=k, synthetic=s) for n, k, s in columns),
    )


def _answered(result: AuditResult, found: LabelledFraction, review: Review) -> AuditResult:
    """The result with the synthetic fraction from the review, and with updated checks and verdict."""
    former, stated = result.synthetic_fraction, found.fraction
    is_told = stated.reason is None
    stated = replace(stated, estimate=stated.estimate if is_told else math.nan, reason=stated.reason or _caveat(found))
    under = Measure(stated.estimate, low=stated.low, high=stated.high, reason=stated.reason)
    answer = replace(
        former,
        estimate=stated.estimate,
        low=stated.low,
        high=stated.high,
        reason=stated.reason,
        status="determined" if is_told else "bounds" if stated.high - stated.low < 1 else "undetermined",
        method="review",
        assumes=(_ASSUMES, *_unmeasured(found)),
        by_generator={},
        if_reference_matches=under,  # labels hold under every condition
        if_generators_known=under,
        if_both=under,
        of_the_whole_set=of_the_whole_set(stated, result.unread.share),
        before_review=former.before_review or _before_review(former),
    )
    threshold = result.policy.synthetic_fraction
    judged = check_fraction(threshold, answer, labelled=review.labelled)
    judged = heed_unread(judged, threshold, result.unread.share)
    checks = tuple(judged if check.name == judged.name else check for check in result.checks)
    verdict = verdict_of(checks, result.required)
    return replace(result, verdict=verdict, synthetic_fraction=answer, checks=checks, review=review)


def _before_review(answer: SyntheticFraction) -> FractionBeforeReview:
    names = [f.name for f in fields(FractionBeforeReview)]
    return FractionBeforeReview(**{name: getattr(answer, name) for name in names})


def _caveat(found: LabelledFraction) -> str | None:
    """Assumption of the interval if no known real or no known synthetic item was labelled; None otherwise."""
    if not (missing := _unmeasured(found)):
        return None
    return (
        f"holds if {' and '.join(missing)}: the labeller's error rate could not be estimated without items of known "
        "origin (--known-real, --known-synthetic)"
    )


def _unmeasured(found: LabelledFraction) -> list[str]:
    return [
        f"no {origin} item was labelled {other}"
        for origin, other, error in (
            ("real", "synthetic", found.error_on_real),
            ("synthetic", "real", found.error_on_synthetic),
        )
        if not error.n
    ]
