"""Audits of mixtures of known fraction with the generator known: error, coverage, width, through the whole pipeline.

    python benchmarks/known_generator.py cifake     # n = 1000, reference of one half of each class, forensic
    python benchmarks/known_generator.py essays     # n = 200, reference of 300 + 300, lexical

Every draw splits reference and pool anew; an audited item was never seen by its reference.
"""

import argparse
import gzip
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data import data_folder

from auditor.passes.request import AuditRequest
from auditor.records import record_document
from auditor.run import AuditOptions
from service.pipeline import run_audit
from service.references.build import LabelledSource, make_reference
from service.settings import Settings

FRACTIONS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
GENERATOR = "gpt-3.5-turbo-0613"


@dataclass(frozen=True)
class Scenario:
    """Items of both classes, how to write some of them as a source, and the sizes of reference and audit."""

    real: Sequence[tuple[str, bytes | str]]
    synthetic: Sequence[tuple[str, bytes | str]]
    write: Callable[[Path, Sequence[tuple[str, bytes | str]]], Path]
    encoder: str
    reference: int  # items of each class
    size: int  # items audited


def cifake() -> Scenario:
    """CIFAKE images as they lie in the archive."""
    archive = zipfile.ZipFile(data_folder("images/cifake.zip") / "images/cifake.zip")
    classes = [
        [(n.replace("/", "-"), archive.read(n)) for n in sorted(archive.namelist()) if n.startswith(p) and n[-1] != "/"]
        for p in ("real/", "fake/")
    ]  # fmt: skip
    return Scenario(*classes, write=write_zip, encoder="forensic", reference=len(classes[0]) // 2, size=1000)


def essays() -> Scenario:
    """Human essays and those of one language model."""
    with gzip.open(data_folder("text/essays.jsonl.gz") / "text/essays.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    human = [(str(i), r["text"]) for i, r in enumerate(rows) if r["generator"] == "human"]
    machine = [(str(i), r["text"]) for i, r in enumerate(rows) if r["generator"] == GENERATOR]
    return Scenario(human, machine, write=write_jsonl, encoder="lexical", reference=300, size=200)


def write_zip(path: Path, items: Sequence[tuple[str, bytes | str]]) -> Path:
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in items:
            archive.writestr(name, data)
    return path


def write_jsonl(path: Path, items: Sequence[tuple[str, bytes | str]]) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps({"text": text}) + "\n" for _, text in items))
    return path


def draw(scenario: Scenario, fraction: float, seed: int, folder: Path) -> dict[str, object]:
    """One reference and one audit, from a fresh split."""
    rng = np.random.default_rng(seed)
    real, synthetic = (rng.permutation(len(c)) for c in (scenario.real, scenario.synthetic))
    n_synthetic = round(fraction * scenario.size)
    chosen = [scenario.real[i] for i in real[scenario.reference :][: scenario.size - n_synthetic]]
    chosen += [scenario.synthetic[i] for i in synthetic[scenario.reference :][:n_synthetic]]
    settings = Settings(folder / "home")
    sources = {
        label: scenario.write(folder / label, [items[i] for i in order[: scenario.reference]])
        for label, items, order in (("real", scenario.real, real), ("fake", scenario.synthetic, synthetic))
    }
    make_reference(
        "r", [LabelledSource("real", str(sources["real"]))], [LabelledSource("known", str(sources["fake"]))],
        encoder=scenario.encoder, semantic_encoder=None, settings=settings, seed=seed, overwrite=True,
    )  # fmt: skip
    mixture = scenario.write(folder / "mixture", [chosen[i] for i in rng.permutation(len(chosen))])
    out = folder / "audit"
    result = run_audit(
        str(mixture), "r", out, settings=settings, request=AuditRequest(seed=seed), options=AuditOptions(), workers=1
    )
    shutil.rmtree(out)
    answer = record_document(result.synthetic_fraction)
    return {**answer, "true": n_synthetic / scenario.size, "verdict": result.verdict, "n": result.n_items}


def report(rows: Sequence[dict], scenario: Scenario) -> None:
    """A line for each fraction and one for all."""
    print(f"n = {scenario.size}, reference {scenario.reference} + {scenario.reference}, encoder {scenario.encoder}")
    print("| true | draws | MAE | bias | coverage | width | determined | failed by the policy |")
    print("|---|---|---|---|---|---|---|---|")
    for name, group in [*((f"{f}", [r for r in rows if r["true"] == f]) for f in FRACTIONS), ("all", list(rows))]:
        told = [r for r in group if r["estimate"] is not None]
        errors = np.array([r["estimate"] - r["true"] for r in told])
        covered = np.mean([r["low"] <= r["true"] <= r["high"] for r in group])
        width = np.mean([r["high"] - r["low"] for r in group])
        failed = sum(r["verdict"] == "fail" for r in group)
        print(
            f"| {name} | {len(group)} | {np.abs(errors).mean():.4f} | {errors.mean():+.4f} | {covered:.3f} | "
            f"{width:.4f} | {len(told)} | {failed} |"
        )


def main() -> None:
    """Run the draws and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=("cifake", "essays"))
    parser.add_argument("--draws", type=int, default=5, help="of each fraction")
    arguments = parser.parse_args()
    scenario = {"cifake": cifake, "essays": essays}[arguments.scenario]()
    rows = []
    for number, fraction in enumerate(f for f in FRACTIONS for _ in range(arguments.draws)):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(draw(scenario, fraction, number, Path(folder)))
    report(rows, scenario)


if __name__ == "__main__":
    main()
