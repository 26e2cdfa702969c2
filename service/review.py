"""A review: draw items of an audit for a person to label, and answer the audit again with the labels."""

import hashlib
import heapq
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import special

from auditor.fraction.settling import CONDITIONS, check_fraction
from auditor.passes.folder import only_writer, read_claim
from auditor.passes.second import write_result
from auditor.policy import Check, Threshold, verdict_of
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
from service.reports.report import read_result, write_report
from service.reports.review_sheet import Shown, read_labels, shown, write_sheet
from service.settings import Settings
from service.storage.ledger import Ledger

__all__ = ["Review", "finish_review", "renew_review", "start_review"]

_SCHEMA = "madaudit/review/1"
_FOLDER, _LABELS, _TABLE = "review", "labels.csv", "items.csv"
_KEY = Path("state") / "review.json"  # not in the folder that goes to a labeller
_SPARE = 2  # times as many known items are read as are wanted, since some may be unusable
_TRIPLE = ("estimate", "low", "high")
# What a review replaces.
_ANSWER = (*_TRIPLE, "status", "method", "reason", "assumes", "by_generator", *CONDITIONS)
_ASSUMES = (
    "the labeller errs on the items of the set as on those of known origin, and unsure or missing labels are missing "
    "at random within each stratum"
)


@dataclass(frozen=True, slots=True)
class Review:
    """A review whose files lie ready for the labeller."""

    folder: Path
    name: str
    kind: Kind
    items: tuple[Shown, ...]
    labels_kept: int  # labels of an earlier review that stand in the table already

    def as_json(self) -> dict[str, Any]:
        """What a program needs to have it labelled; it does not tell which items are known answers."""
        files = {"page": "index.html", "table": _TABLE}
        return {
            "schema": _SCHEMA,
            "review": self.name,
            "kind": self.kind,
            "items": len(self.items),
            "labels_kept": self.labels_kept,
            **{key: printable(str(self.folder / name)) for key, name in files.items()},
        }


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item of the review: one of the set, in a stratum, or one of known origin."""

    id: str
    shard: str = ""
    stratum: int | None = None
    known: str | None = None  # real | synthetic
    data: Any = None


def start_review(
    out: Path,
    *,
    n: int,
    seed: int = 0,
    known_real: Sequence[str] = (),
    known_synthetic: Sequence[str] = (),
    overwrite: bool = False,
) -> Review:
    """Draw the items of a finished audit's review and write its files; the same again leaves labels as they are.

    With `overwrite` another review is replaced, and the labels of items that are drawn again are kept. Raises
    InputError when the folder holds another review, or the source no longer holds what was audited.
    """
    result, claim = read_result(out), read_claim(out)
    kind: Kind = result["encoder"]["evidence"]["kind"]
    known = {"real": known_real, "synthetic": known_synthetic}
    if kind == "vector" and (known_real or known_synthetic):
        raise InputError("vectors are labelled by their ids, which tell known items apart: leave out --known-…")
    with only_writer(out):
        entries, sizes = _drawn(out, claim, kind, n, seed)
        for origin, specs in known.items():
            entries += _known_items(origin, specs, kind, known_answers(n) // 2, seed)
        order = shuffled([f"{e.known}\n{e.shard}\n{e.id}" for e in entries], seed=seed)
        entries = [entries[int(i)] for i in order]
        key = _key_of(out, entries, sizes, seed)
        items = _shown(entries, kind)
        folder, former = out / _FOLDER, _former_labels(out) if overwrite else {}
        kept = {i: former[place] for i, place in enumerate(map(_place, key["items"]), start=1) if place in former}
        if not _is_there(out, key["review"], overwrite=overwrite):
            write_sheet(folder, key["review"], items, kept)
            write_atomic(out / _KEY, json.dumps(key, indent=1).encode())
    return Review(folder, key["review"], kind, items, len(kept))


def _former_labels(out: Path) -> dict[tuple[str, ...], str]:
    """The labels given in an earlier review, or filled in its table, by the items' places."""
    files = [out / _FOLDER / name for name in (_LABELS, _TABLE)]
    path = next((file for file in files if file.is_file()), None)
    if path is None or not (out / _KEY).is_file():
        return {}
    key = _read_key(out)
    answers = read_labels(path, key["review"], [item["number"] for item in key["items"]])
    return {_place(item): answer for item in key["items"] if (answer := answers[item["number"]])}


def _place(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (item["known"] or "", item["shard"], item["id"])


def _shown(entries: Sequence[_Entry], kind: Kind) -> tuple[Shown, ...]:
    try:
        return tuple(shown(i, e.id, e.data, kind) for i, e in enumerate(entries, start=1))
    except Unusable as error:
        raise InputError(f"the source no longer holds what was audited ({error}): audit it again") from None


def _is_there(out: Path, name: str, *, overwrite: bool) -> bool:
    """Whether this very review lies there already; another one is removed or refused."""
    if not (out / _KEY).is_file():
        return False
    if overwrite:
        shutil.rmtree(out / _FOLDER, ignore_errors=True)
        return False
    if (found := _read_key(out)["review"]) != name:
        raise InputError(
            f"{out / _FOLDER} holds another review, {found}: give its labels with --labels, or use --overwrite"
        )
    return True


def _drawn(
    out: Path, claim: Mapping[str, Any], kind: Kind, n: int, seed: int
) -> tuple[list[_Entry], Sequence[int]]:  # fmt: skip
    """The items drawn from the set with their content, and the sizes of the strata."""
    table = _items(out)
    names = [f"{shard}\n{item}" for shard, item in zip(table["shard"], table["id"], strict=True)]
    draw: Draw = draw_review(names, table["log_odds"], table["novelty"], n=n, seed=seed)
    places = [(table["shard"][row], table["id"][row]) for row in draw.rows]
    contents = _contents(claim, kind, set(places))
    entries = [
        _Entry(item, shard, int(stratum), None, contents[shard, item])
        for (shard, item), stratum in zip(places, draw.strata, strict=True)
    ]
    return entries, draw.sizes.tolist()


def _items(out: Path) -> dict[str, Any]:
    """Columns of the audited items: id, shard, novelty, and the log odds of their score, or of novelty without one."""
    files = sorted((out / "items").glob("*.parquet"))
    tables = [pq.read_table(file, columns=["id", "shard", "score", "novelty"]) for file in files]
    if not sum(len(table) for table in tables):
        raise ArtifactError(f"{out / 'items'} holds no items: run the audit again")
    ids, shards = ([v for t in tables for v in t[name].to_pylist()] for name in ("id", "shard"))
    score, novelty = (
        np.concatenate([t[name].to_numpy().astype(np.float64) for t in tables]) for name in ("score", "novelty")
    )
    suspicion = np.where(np.isnan(score), novelty, score)
    return {
        "id": ids,
        "shard": shards,
        "novelty": novelty,
        "log_odds": special.logit(np.clip(suspicion, 1e-9, 1 - 1e-9)),
    }


def _contents(claim: Mapping[str, Any], kind: Kind, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """What the audit's source holds under these shards and ids; raises InputError when something is gone."""
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
            f"{claim['source']} no longer holds {len(gone)} of the items drawn, {gone[0][1]} among them: audit it again"
        )
    return found


def _sources(spec: str, kind: Kind, column: str | None) -> list[Source]:
    """The source of an audit, or those of a merged one."""
    try:
        return [open_source(spec, kind=kind, column=column)]
    except InputError:
        if " + " not in spec:
            raise
    return [open_source(part, kind=kind, column=column) for part in spec.split(" + ")]


def _known_items(origin: str, specs: Sequence[str], kind: Kind, n: int, seed: int) -> list[_Entry]:
    """A random sample of usable items of these sources, as known answers."""
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
        raise InputError(f"nothing in {', '.join(specs)} could be used as known {origin} items: expected {kind}s")
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


def _key_of(out: Path, entries: Sequence[_Entry], sizes: Sequence[int], seed: int) -> dict[str, Any]:
    """What the labeller must not see: where each item comes from; its name is a digest of all of it."""
    listed = [
        {"number": i, "id": e.id, "shard": e.shard, "stratum": e.stratum, "known": e.known}
        for i, e in enumerate(entries, start=1)
    ]
    content = {"schema": _SCHEMA, "audit": _identity(out), "seed": seed, "strata": list(sizes), "items": listed}
    name = hashlib.blake2b(json.dumps(content).encode(), digest_size=6).hexdigest()
    return {"review": name, **content}


def _identity(out: Path) -> str:
    """A digest of which items the audit holds."""
    table = _items(out)
    digest = hashlib.blake2b(json.dumps([table["shard"], table["id"]]).encode(), digest_size=16)
    return digest.hexdigest()


def _read_key(out: Path) -> dict[str, Any]:
    path = out / _KEY
    try:
        key: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}): draw the items first, with madaudit review DIR"
        ) from None
    return key


def finish_review(out: Path, labels: Path, *, settings: Settings) -> dict[str, Any]:
    """The audit's result with its synthetic fraction answered by labels; written to result.json and report.html.

    The audit's own answer stays under `before_review`, so the same labels give the same result again.
    """
    result, folder = read_result(out), out / _FOLDER
    key = _read_key(out)
    if key["audit"] != _identity(out):
        raise InputError(f"{out} now holds an audit of other items than its review: draw it anew with --overwrite")
    answers = read_labels(labels, key["review"], [item["number"] for item in key["items"]])
    with only_writer(out):
        counts = _counts(key, answers)
        level = result["synthetic_fraction"]["level"]
        found = estimate_with_labels(
            counts, rng=np.random.default_rng(key["seed"]), level=level, is_sample=_is_sample(out)
        )
        result = renewed(_answered(result, found, _summary(key, answers, counts, found)))
        if labels.resolve() != (folder / _LABELS).resolve():
            write_atomic(folder / _LABELS, labels.read_bytes())
        write_result(out, result)
        write_report(out, result)
    Ledger(settings.database).record_audit(out, result)
    return result


def renew_review(out: Path, *, settings: Settings) -> dict[str, Any] | None:
    """The result of an audit that was run again, answered by the labels it was given before; None if there are none.

    Raises InputError if it now holds other items than those that were labelled.
    """
    labels = out / _FOLDER / _LABELS
    return finish_review(out, labels, settings=settings) if labels.exists() and (out / _KEY).exists() else None


def _is_sample(out: Path) -> bool:
    """Whether the audit used a random sample of its source: the folders of sampled shards say so."""
    listed = json.loads((out / "state" / "shards.json").read_bytes())
    return any("-" in folder for _, folder in listed)


def _counts(key: Mapping[str, Any], answers: Mapping[int, str]) -> LabelCounts:
    sizes = np.array(key["strata"], dtype=np.int64)
    answered, synthetic = np.zeros_like(sizes), np.zeros_like(sizes)
    known = {"real": [0, 0], "synthetic": [0, 0]}  # answered, wrong
    for item in key["items"]:
        answer = answers[item["number"]]
        if answer not in ("real", "synthetic"):
            continue
        if item["known"]:
            known[item["known"]][0] += 1
            known[item["known"]][1] += answer != item["known"]
        else:
            answered[item["stratum"]] += 1
            synthetic[item["stratum"]] += answer == "synthetic"
    return LabelCounts(sizes, answered, synthetic, ErrorCounts(*known["real"]), ErrorCounts(*known["synthetic"]))


def _summary(
    key: Mapping[str, Any], answers: Mapping[int, str], counts: LabelCounts, found: LabelledFraction
) -> dict[str, Any]:
    """What the result says of the review."""
    of_set = [answers[item["number"]] for item in key["items"] if not item["known"]]
    known = [answers[item["number"]] for item in key["items"] if item["known"]]
    columns = zip(counts.sizes.tolist(), counts.answered.tolist(), counts.synthetic.tolist(), strict=True)
    return {
        "id": key["review"],
        "drawn": len(of_set),
        "labelled": int(counts.answered.sum()),
        "unsure": of_set.count("unsure"),
        "unlabelled": of_set.count(""),
        "known": {
            "real": {"labelled": counts.real.answered, "wrong": counts.real.wrong},
            "synthetic": {"labelled": counts.generated.answered, "wrong": counts.generated.wrong},
            "unsure": known.count("unsure"),
            "unlabelled": known.count(""),
        },
        "error_on_real": _error(found.error_on_real),
        "error_on_synthetic": _error(found.error_on_synthetic),
        "strata": [{"items": n, "labelled": k, "synthetic": s} for n, k, s in columns],
    }


def _error(measure: Measure) -> dict[str, Any]:
    fields = measure.as_json()
    return {"estimate": fields["value"], "low": fields["low"], "high": fields["high"], "n": fields["n"]}


def _answered(result: Mapping[str, Any], found: LabelledFraction, review: dict[str, Any]) -> dict[str, Any]:
    """The result with the reviewed fraction, and the checks and verdict that follow from it."""
    former = result["synthetic_fraction"]
    own = former.get("before_review") or {name: former.get(name) for name in _ANSWER}
    fraction = found.fraction
    is_told = fraction.reason is None
    answer = {
        **former,
        "estimate": fraction.value if is_told else None,
        "low": fraction.low,
        "high": fraction.high,
        "status": "determined" if is_told else "bounds" if fraction.high - fraction.low < 1 else "undetermined",
        "method": "review",
        "reason": fraction.reason or _caveat(found),
        "assumes": "; ".join([_ASSUMES, *_unmeasured(found)]),
        "by_generator": {},
        "before_review": own,
    }
    whatever = {name: answer[name] for name in (*_TRIPLE, "reason")}  # labels hold under every condition
    answer |= dict.fromkeys(CONDITIONS, whatever)
    policy = result["policy"]
    threshold = Threshold(**policy["synthetic_fraction"])
    share = result["unread"]["share"]
    answer["of_the_whole_set"] = of_the_whole_set(answer, share)
    judged = check_fraction(threshold, answer, labelled=review["labelled"])
    judged = heed_unread(judged, threshold, share)
    checks = [judged if c["name"] == judged.name else Check(**c) for c in result["checks"]]
    fields = [{name: getattr(c, name) for name in Check.__slots__} for c in checks]
    fields = [{**f, "threshold": dict(f["threshold"])} for f in fields]
    return {
        **result,
        "verdict": verdict_of(checks, policy["required"]),
        "synthetic_fraction": answer,
        "checks": fields,
        "review": review,
    }


def _caveat(found: LabelledFraction) -> str | None:
    """What the interval takes for granted because no item of an origin was known to the review."""
    if not (missing := _unmeasured(found)):
        return None
    return (
        f"holds if {' and '.join(missing)}: the labeller's error there could not be estimated without items of known "
        "origin (--known-real, --known-synthetic)"
    )


def _unmeasured(found: LabelledFraction) -> list[str]:
    return [
        f"no {origin} item was labelled {other}"
        for origin, other, error in (
            ("real", "synthetic", found.error_on_real),
            ("synthetic", "real", found.error_on_synthetic),
        )
        if error.n == 0
    ]
