"""Draws the loops from which the risk model is calibrated: `python examples/calibration/design.py > sweep.yaml`.

Families, data, workflows, sizes, sampling bias and contamination are drawn at random, so that no two of them go
together; the same script makes the same file.
"""

import numpy as np

# One has two columns only, in which a Fréchet distance is mostly chance; embeddings have many.
_PLANE, _SPACE = ("grid:5", "colours"), ("normal:10", "normal:32", "cancer", "diabetes")
_IMAGES, _TEXTS = ("digits", "patches"), ("topics", "docstrings")
_VECTORS = (*_PLANE, *_SPACE, *_IMAGES)
_CODED = ("colours", "cancer", "digits")  # also read as tokens
# Loops of each family, its data, and its settings, which trade a little quality for time.
_FAMILIES = {
    "gaussian": (66, _VECTORS, {}),
    "gmm": (72, _VECTORS, {}),
    "kde": (62, _VECTORS, {"bandwidth": 0.5}),
    "flow": (30, _VECTORS, {"steps": 200, "layers": 6}),
    "vae": (32, _VECTORS, {"steps": 300}),
    "gan": (28, _VECTORS, {"steps": 200, "hidden": 128, "penalty": 1.0}),
    "diffusion": (28, _VECTORS, {"steps": 300}),
    "unet-diffusion": (10, _IMAGES, {"steps": 250, "channels": 8}),
    "ngram": (64, (*_TEXTS, *_CODED), {}),
    "language-model": (28, (*_TEXTS, *_CODED), {"steps": 200, "width": 32}),
}
_WORKFLOWS = ("replace", "replace", "augment", "augment", "fresh", "fresh", "accumulate", "augment-accumulate")
_SMALL = {"cancer", "diabetes"}
# Items on which generations are measured: many, since few would tell a good model from a better one by chance alone.
_MEASURED = {"cancer": 280, "diabetes": 220, "digits": 850, "unet-diffusion": 600, "language-model": 1000}
_LEAST, _MOST = 150, {"digits": 1500}  # initial items
_CONTAMINANTS = {"vectors": ("gaussian", "gmm", "kde"), "tokens": ("ngram",)}


def loop_of(family: str, seed: int, rng: np.random.Generator) -> str:
    """One line of the sweep."""
    _, data_sets, settings = _FAMILIES[family]
    data, workflow = str(rng.choice(data_sets)), str(rng.choice(_WORKFLOWS))
    n_measure = min(_MEASURED.get(data, 2000), _MEASURED.get(family, 2000))
    most = 400 if data in _SMALL else 600 if family in ("unet-diffusion", "language-model") else _MOST.get(data, 3000)
    n_initial = round(float(np.exp(rng.uniform(np.log(_LEAST), np.log(most)))))
    fields: dict[str, object] = {
        "family": family, "data": data, "workflow": workflow, "seed": seed, "n_initial": n_initial,
        "n_synthetic": round(n_initial * float(rng.choice([0.25, 0.5, 1, 2]))), "n_measure": n_measure,
        "bias": float(rng.choice([1.0, 1.0, 1.0, 0.9, 0.8, 0.7])),
    }  # fmt: skip
    if workflow == "replace":
        fields["n_synthetic"] = round(n_initial * float(rng.choice([0.5, 1, 2, 4])))
    if workflow in ("augment", "augment-accumulate"):
        fields["n_real"] = n_initial
    if workflow == "fresh":
        fields["n_real"] = round(n_initial * float(rng.choice([0.1, 0.25, 0.5, 1])))
    if workflow in ("augment", "fresh") and rng.random() < 0.1:
        fields["n_synthetic"] = 0  # what the family does by itself
    if rng.random() < 0.6:
        kind = "tokens" if family in ("ngram", "language-model") else "vectors"
        fields["contamination"] = float(rng.choice([0.1, 0.25, 0.5, 0.7]))
        fields["contaminant"] = str(rng.choice(_CONTAMINANTS[kind]))
    fields |= {f"settings.{name}": value for name, value in settings.items()}
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + "}"


def main() -> None:
    """Print the sweep, families by turns, so that a part of it is as varied as the whole."""
    rng = np.random.default_rng(20)
    places = [((i + 0.5) / count, family) for family, (count, _, _) in _FAMILIES.items() for i in range(count)]
    print("# Loops for the calibration of the risk model; made by design.py.")
    print("observe: true\nbase: {generations: 8, chains: 1}\nruns:")
    for seed, (_, family) in enumerate(sorted(places)):
        print(f"  - {loop_of(family, seed, rng)}")


if __name__ == "__main__":
    main()
