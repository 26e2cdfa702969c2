"""The demo: audits of real handwritten digits mixed with known fractions of synthetic digits."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from auditor.folder import AuditFolder
from auditor.passes.request import AuditRequest
from auditor.records import record_document
from auditor.run import AuditOptions
from indexes.errors import InputError
from indexes.store import write_atomic
from loops.models.gaussian_mixture import GaussianMixture
from loops.samples import Samples, Space
from service.pipeline import run_audit
from service.references.build import LabelledSource, make_reference
from service.settings import Settings

__all__ = ["run_demo"]

FRACTIONS = (0.0, 0.1, 0.3, 0.6, 1.0)
_SIZE = 500  # items in an audited mixture
_PARTS = (600, 600)  # digits the reference trusts, digits the generator is fitted to; the rest is audited
_ENCODER = "pixels:8"


def run_demo(out: Path, *, seed: int = 0, say: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """Audit five mixtures with known synthetic fractions and return one result row per mixture.

    The real digits are split into three disjoint parts: one for the reference, one to fit the generator, one to audit.
    The synthetic digits of the reference and of the mixtures are separate samples of the generator.
    """
    rng = np.random.default_rng(seed)
    trusted, fitted_to, audited = _split_digits(rng)
    say("fitting a Gaussian mixture to one part of the digits")
    noise = 0.02  # added to every variance, in squared grey levels: some columns hardly vary
    family = GaussianMixture(components=12, regularisation=noise / float(fitted_to.var(0).mean()))
    generator = family.fit(Samples(fitted_to), space=Space(64), weights=None, rng=rng)
    data = out / "data"
    _write_digits(data / "reference-real", trusted)
    _write_digits(data / "reference-synthetic", _on_grid(generator.sample(_PARTS[0], rng=rng).values))
    settings = Settings(out / "home")
    say("building the reference")
    make_reference(
        "digits",
        [LabelledSource("real", str(data / "reference-real"))],
        [LabelledSource("gaussian-mixture", str(data / "reference-synthetic"))],
        encoder=_ENCODER,
        semantic_encoder=None,
        settings=settings,
        seed=seed,
        overwrite=True,
    )
    rows = []
    for fraction in FRACTIONS:
        folder = data / f"mixture-{fraction:.1f}"
        synthetic = _on_grid(generator.sample(round(_SIZE * fraction), rng=rng).values)
        real = rng.permutation(audited)[: _SIZE - len(synthetic)]
        _write_digits(folder, rng.permutation(np.concatenate([real, synthetic])))
        say(f"auditing {_SIZE} digits, {len(synthetic)} of them synthetic")
        rows.append(_audit(folder, out / f"audit-{fraction:.1f}", fraction, settings))
    return rows


def _audit(folder: Path, out: Path, truth: float, settings: Settings) -> dict[str, Any]:
    options = AuditOptions(overwrite=True)
    request = AuditRequest(declared=frozenset({"generators-complete"}))  # here the one generator is known
    result = run_audit(str(folder), "digits", out, settings=settings, request=request, options=options, workers=1)
    fraction = result.synthetic_fraction
    return {
        "true": truth,
        "estimate": fraction.estimate if fraction.is_known else None,
        "low": fraction.low,
        "high": fraction.high,
        "status": fraction.status,
        "diversity_loss": record_document(result.diversity.loss),
        "verdict": result.verdict,
        "report": str(AuditFolder(out).report),
    }


def _split_digits(rng: np.random.Generator) -> list[np.ndarray]:
    """The 1,797 digits of scikit-learn (8 × 8, grey levels 0 … 16), shuffled and split into three (n, 64) arrays."""
    digits = rng.permutation(load_digits().data)
    return np.split(digits, np.cumsum(_PARTS))


def _on_grid(vectors: np.ndarray) -> np.ndarray:
    """Round and clip pixels to the grey levels of real digits, because other levels would identify synthetic digits."""
    return np.clip(np.rint(vectors), 0, 16)


def _write_digits(folder: Path, digits: np.ndarray) -> None:
    """Write one PNG per digit; raises InputError if the folder holds any other file."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{i:04d}.png" for i in range(len(digits))}
    if strangers := {p.name for p in folder.iterdir()} - wanted:
        raise InputError(
            f"{folder} holds the file {sorted(strangers)[0]}, expected only images of the demo: choose another --out"
        )
    for i, digit in enumerate(digits):
        buffer = io.BytesIO()
        Image.fromarray((digit.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(buffer, format="PNG")
        write_atomic(folder / f"{i:04d}.png", buffer.getvalue())
