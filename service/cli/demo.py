"""The demo: real handwritten digits, synthetic ones from a model fitted to other digits, and audits of known truth."""

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
    """Audit five mixtures of known synthetic fraction and return a row for each.

    Three disjoint parts of the digits: one for the reference, one to fit the generator, one to be audited. The
    generator's samples for the reference and for the mixtures are separate draws.
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
        say(f"auditing {_SIZE} digits of which {len(synthetic)} are synthetic")
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
    """scikit-learn's 1,797 digits, 8 × 8 in grey levels 0 … 16 (n, 64), shuffled into three parts."""
    digits = rng.permutation(load_digits().data)
    return np.split(digits, np.cumsum(_PARTS))


def _on_grid(vectors: np.ndarray) -> np.ndarray:
    """Rounded and cut to the grey levels that real digits have: otherwise the levels alone would give them away."""
    return np.clip(np.rint(vectors), 0, 16)


def _write_digits(folder: Path, digits: np.ndarray) -> None:
    """One PNG a digit; refuses a folder that holds anything else."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{i:04d}.png" for i in range(len(digits))}
    if strangers := {p.name for p in folder.iterdir()} - wanted:
        raise InputError(f"{folder} holds {sorted(strangers)[0]}, expected the demo's own images: choose another --out")
    for i, digit in enumerate(digits):
        buffer = io.BytesIO()
        Image.fromarray((digit.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(buffer, format="PNG")
        write_atomic(folder / f"{i:04d}.png", buffer.getvalue())
