"""What an encoder can tell about your own data: separation, and the fraction where the truth is known.

    python benchmarks/validate_encoder.py --encoder forensic --real photos/ --synthetic sdxl=xl/ --synthetic flux=f.zip
    python benchmarks/validate_encoder.py --encoder lexical --real a=a.jsonl --real b=b.jsonl --synthetic gpt=gpt.jsonl

Every source is encoded once, exact copies are left out. Every draw then splits each label anew into a reference and a
pool, mixes a set of known fraction from the pools and estimates that fraction as an audit does. The scenarios: all
generators known, each in turn in the set; with two or more generators each in turn unknown; with two or more real
labels purely real sets of another one than the reference's. Several real labels are taken as the reference's in turn.
"""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from fraction import report, rows_of
from fraction_scenarios import SCENARIOS, Items, Pair, Scenario, references_of
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from auditor.evidence.calibration import calibration_of
from auditor.evidence.detector import FEWEST, component_labels, fit_detector
from auditor.reference.component import Part, encode_part
from auditor.reference.storage_traits import confounds_between, traits_of
from indexes.device import resolve_device
from indexes.encoders import load_encoder
from indexes.encoders.protocol import Encoder
from indexes.errors import AuditError, InputError
from indexes.records import Kind
from indexes.sources import open_source
from service.references.build import LabelledSource, parse_labelled

_MOST_REFERENCE, _MOST_SIZE = 1500, 1000  # unless asked for
_FEWEST_SIZE = 20
_LEAST = 0.25  # the fraction that every generator must be able to reach
_FRACTIONS = (0.0, 0.25, 0.05, 0.75, 0.1, 0.5, 0.01, 1.0)  # tried in this order, so that few draws cover the range too


def encoded(sources: Sequence[LabelledSource], encoder: Encoder, column: str | None) -> list[Part]:
    """A part for each label, in the order of first mention, without copies of what stands earlier in any of them."""
    labels = list(dict.fromkeys(source.label for source in sources))
    seen: set[bytes] = set()
    parts = []
    for label in labels:
        opened = [open_source(s.spec, kind=encoder.kind, column=column) for s in sources if s.label == label]
        part = encode_part(label, opened, [encoder], batch_size=256, threads=2)
        parts.append(_first_of_each(part, seen))
        seen.update(row.tobytes() for row in part.digests)
    if len(widths := {part.vectors[0].shape[1] for part in parts}) > 1:
        raise InputError(f"found vectors of widths {sorted(widths)}, expected one width: use one encoder for all")
    return parts


def _first_of_each(part: Part, seen: set[bytes]) -> Part:
    part = part.without(seen, "copy of another label's item")
    first = np.sort(np.unique(part.digests, axis=0, return_index=True)[1])
    return part if len(first) == len(part.ids) else part.take(first, "copy")


def sizes_for(
    real: Sequence[Part], synthetic: Sequence[Part], reference: int | None, size: int | None
) -> tuple[int, int]:
    """Items of a reference's component and of a set: as asked for, else what the smallest labels allow.

    Raises InputError where a label has too few.
    """
    counts = {part.label: len(part.ids) for part in (*real, *synthetic)}
    for part in (*real, *synthetic):
        if counts[part.label] < 2 * FEWEST:
            raise InputError(
                f"{part.label} has {counts[part.label]} different usable items ({sum(part.skipped.values())} left "
                f"out), expected at least {2 * FEWEST}: half for references and half for sets"
            )
    fewest_real, fewest = min(len(part.ids) for part in real), min(counts.values())
    reference = reference or min(_MOST_REFERENCE, fewest // 2)
    if reference < FEWEST:
        raise InputError(f"--reference is {reference}, expected at least {FEWEST}")
    spare = min(fewest_real - reference, int((fewest - reference) / _LEAST))
    size = size or max(_FEWEST_SIZE, min(_MOST_SIZE, spare))
    if size < _FEWEST_SIZE:
        raise InputError(f"--size is {size}, expected at least {_FEWEST_SIZE}")
    for part in (*real, *synthetic):
        needed = reference + (size if part in real else int(np.ceil(_LEAST * size)))
        if counts[part.label] < needed:
            raise InputError(
                f"{part.label} has {counts[part.label]} different usable items, expected at least {needed} for a "
                f"reference of {reference} and sets of {size}: add items, or lower --reference or --size"
            )
    return reference, size


def scenarios_of(
    real: Sequence[Part], synthetic: Sequence[Part], items: Items, reference: int, size: int
) -> dict[str, Scenario]:
    """What can be tried with these labels; fractions only as far as the smallest generator goes."""
    generators = tuple(part.label for part in synthetic)
    most = (min(len(part.ids) for part in synthetic) - reference) / size
    prevalences = tuple(p for p in _FRACTIONS if p <= most)
    plain = [part.label for part in real]
    known = tuple(Pair(r, generators, g) for r in plain for g in generators)
    unseen = tuple(Pair(r, tuple(o for o in generators if o != g), g) for r in plain for g in generators)
    other = tuple(Pair(a, generators, None, b, 1.0) for a, b in itertools.permutations(plain, 2))
    sizes = f"reference {reference} of each, n = {size}"
    found = {
        "known": Scenario(f"All generators known, {sizes}.", lambda: items, known, reference, (size,), prevalences)
    }
    if len(generators) > 1:
        found["unseen"] = Scenario(
            f"The set's generator unknown, {sizes}.", lambda: items, unseen, reference, (size,), prevalences
        )
    if other:
        found["another-real-source"] = Scenario(
            f"Purely real sets of another source, {sizes}. `conditional` supposes the reference's own source and "
            "cannot hold here; what counts is that nothing is `determined` above .01.",
            lambda: items, other, reference, (size,), (0.0,),
        )  # fmt: skip
    return found


def separation(first: Part, second: Part, n: int, *, seed: int) -> tuple[float, float]:
    """AUROC of out-of-fold scores and the total variation between their histograms, of n items of each."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(len(part.ids))[:n] for part in (first, second)]
    vectors = [part.vectors[0][chosen] for part, chosen in zip((first, second), rows, strict=True)]
    digests = np.concatenate([part.digests[chosen] for part, chosen in zip((first, second), rows, strict=True)])
    component = component_labels([len(part) for part in vectors])
    with threadpool_limits(1):
        _, own = fit_detector(np.concatenate(vectors), component, digests, seed=seed)
    apart = calibration_of(own, component, (first.label, second.label)).separation
    return float(roc_auc_score(component, own.scores)), apart


def print_labels(real: Sequence[Part], synthetic: Sequence[Part], kind: Kind) -> None:
    """What was read, and what besides the origin differs between real labels and the others."""
    print("| label | origin | items | left out |\n|---|---|---|---|")
    for part in (*real, *synthetic):
        left_out = ", ".join(f"{count} × {reason}" for reason, count in part.skipped.items()) or "–"
        print(f"| {part.label} | {'real' if part in real else 'synthetic'} | {len(part.ids)} | {left_out} |")
    tables = {
        p.label: {"format": Counter(p.formats), **traits_of(p.shapes, p.compressions, p.details, kind)}
        for p in (*real, *synthetic)
    }
    pairs = [*itertools.product(real, synthetic), *itertools.combinations(real, 2)]
    found = [
        confound["detail"]
        for a, b in pairs
        for confound in confounds_between("validation", tables[a.label], tables[b.label], (a.label, b.label))
    ]
    print(
        "".join(f"\n- {detail}" for detail in found)
        or "\nNo difference of format, compression, size or resizing to speak of."
    )


def print_separation(real: Sequence[Part], synthetic: Sequence[Part], reference: int) -> None:
    """How well the detector tells each real label from each generator and, where it should not, from another real."""
    print("\n## Separation\n\n| real | other | AUROC | total variation |\n|---|---|---|---|")
    pairs = [*itertools.product(real, synthetic), *itertools.combinations(real, 2)]
    for first, second in pairs:
        auroc, apart = separation(first, second, reference, seed=0)
        name = f"{second.label} (real too)" if second in real else second.label
        print(f"| {first.label} | {name} | {auroc:.3f} | {apart:.2f} |", flush=True)


def validate(options: argparse.Namespace) -> None:
    """Encode, then print labels, separation and a table for each scenario."""
    encoder = load_encoder(options.encoder, device=resolve_device(options.device))
    real_sources = [parse_labelled(text, default="real") for text in options.real]
    synthetic_sources = [parse_labelled(text, default="synthetic") for text in options.synthetic]
    plain = {source.label for source in real_sources}
    if both := sorted(plain & {source.label for source in synthetic_sources}):
        raise InputError(f"{', '.join(both)} labels real and synthetic sources: give each its own label")
    parts = encoded([*real_sources, *synthetic_sources], encoder, options.column)
    real, synthetic = [p for p in parts if p.label in plain], [p for p in parts if p.label not in plain]
    reference, size = sizes_for(real, synthetic, options.reference, options.size)
    print(f"# {encoder.spec}\n")
    print_labels(real, synthetic, encoder.kind)
    print_separation(real, synthetic, reference)
    items = Items(
        np.concatenate([part.vectors[0] for part in parts]),
        np.concatenate([part.digests for part in parts]),
        np.repeat([part.label for part in parts], [len(part.ids) for part in parts]),
    )
    found = scenarios_of(real, synthetic, items, reference, size)
    SCENARIOS.update(found)  # draws are made by name, beside the benchmark's own
    for name, scenario in found.items():
        report(name, rows_of(name, (options.draws or 4) * len(references_of(scenario)), options.workers))


def main() -> None:
    """Run the validation; what the user can mend ends it with one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, metavar="SPEC")
    parser.add_argument("--real", required=True, nargs="+", action="extend", metavar="LABEL=SRC")
    parser.add_argument("--synthetic", required=True, nargs="+", action="extend", metavar="LABEL=SRC")
    parser.add_argument("--column", help="of tables and JSON lines")
    parser.add_argument("--draws", type=int, help="references of each pair; default 4")
    parser.add_argument("--reference", type=int, help="items of a component; default half of the smallest label")
    parser.add_argument("--size", type=int, help="items of a set; default what is left, at most 1000")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", help="cpu or cuda, for the encoder")
    try:
        validate(parser.parse_args())
    except AuditError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
