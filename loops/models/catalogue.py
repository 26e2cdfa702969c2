"""Model families by name; add a family with a module and an entry here, or use your own class as `FILE.py:CLASS`."""

import dataclasses
import hashlib
import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexes.errors import InputError
from loops.models.protocol import Family
from loops.models.user_family import OWN_MODULE

__all__ = ["FAMILIES", "FamilyDescription", "families", "family_class", "file_digest", "make_family", "plain_name"]

FAMILIES = {
    "gaussian": "loops.models.gaussian:Gaussian",
    "categorical": "loops.models.categorical:Categorical",
    "ngram": "loops.models.ngram:NGram",
    "linear-regression": "loops.models.linear_regression:LinearRegression",
    "kde": "loops.models.kernel_density:KernelDensity",
    "gmm": "loops.models.gaussian_mixture:GaussianMixture",
    "flow": "loops.models.flow:Flow",
    "vae": "loops.models.variational_autoencoder:VariationalAutoencoder",
    "gan": "loops.models.adversarial:Adversarial",
    "diffusion": "loops.models.diffusion:Diffusion",
    "unet-diffusion": "loops.models.unet_diffusion:UNetDiffusion",
    "language-model": "loops.models.language_model:LanguageModel",
}
_ALSO = {
    "regression": "linear-regression",
    "kernel-density": "kde",
    "gaussian-mixture": "gmm",
    "unet": "unet-diffusion",
    "lm": "language-model",
}


_MAY_BE_0 = ("ddof", "halvings")  # whole-number settings that may be 0; all others are counts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FamilyDescription:
    """Properties and settings of one model family."""

    name: str
    reads: str  # vectors, images or tokens
    summary: str
    bias: str  # effect of the sampling bias λ
    conditional: bool  # whether the family learns items by their labels
    vectorised: bool  # whether the family fits all chains at once
    settings: Mapping[str, Any]  # by name, with their defaults


def families() -> list[FamilyDescription]:
    """Descriptions of the model families that ship with madaudit."""
    return [_described(name) for name in FAMILIES]


def _described(name: str) -> FamilyDescription:
    kind = family_class(name)
    return FamilyDescription(
        name=name,
        reads=kind.reads,
        summary=(kind.__doc__ or "").strip().split("\n")[0],
        bias=kind.bias_means,
        conditional=kind.conditional,
        vectorised=kind.vectorised,
        settings={f.name: f.default for f in dataclasses.fields(kind) if f.name != "device"},
    )


def plain_name(name: str) -> str:
    """The canonical name for an alias of a model family; any other text is returned unchanged."""
    return _ALSO.get(name, name)


def family_class(name: str) -> Any:
    """The class of a model family, given by name or as FILE.py:CLASS; InputError if the class is not found."""
    place = FAMILIES.get(plain_name(name), name)
    module, colon, label = place.rpartition(":")
    if not colon:
        raise InputError(f"no family is called {name!r}, expected one of {', '.join(FAMILIES)}, or FILE.py:CLASS")
    try:
        loaded = _load_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
        return getattr(loaded, label)
    except (ImportError, OSError, AttributeError, SyntaxError) as error:
        raise InputError(f"cannot load the family {name}: {error}") from None


def make_family(name: str, settings: Mapping[str, Any] | None = None, *, device: str = "cpu") -> Family:
    """A model family with the given settings; raises InputError for an unknown setting or an invalid value."""
    kind = family_class(name)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(f"the family {name} is not a dataclass: see docs/loops.md on how to write a family")
    expected = ("reads", "vectorised", "conditional", "bias_means", "fit")
    if missing := [part for part in expected if not hasattr(kind, part)]:
        raise InputError(f"the family {name} has no {', '.join(missing)}: see docs/loops.md on how to write a family")
    known = {field.name: field.default for field in dataclasses.fields(kind) if field.name != "device"}
    changed = {key.replace("-", "_"): value for key, value in (settings or {}).items()}
    if unknown := sorted(set(changed) - set(known)):
        offered = ", ".join(f"{k}={v}" for k, v in known.items()) or "none"
        raise InputError(f"the family {name} has no setting {', '.join(unknown)}, expected some of: {offered}")
    for key, value in changed.items():
        kinds = next((k for k in (bool, int, float) if isinstance(known[key], k)), object)
        allowed = (int, float) if kinds is float else kinds
        if not isinstance(value, allowed) or (kinds in (int, float) and isinstance(value, bool)):
            raise InputError(f"the setting {key} of {name} is {value!r}, expected a value such as {known[key]}")
        least = 0 if kinds is float or key in _MAY_BE_0 else 1
        if isinstance(value, (int, float)) and kinds in (int, float) and not least <= value < math.inf:
            raise InputError(f"the setting {key} of {name} is {value!r}, expected a finite number of at least {least}")
    has_device = any(field.name == "device" for field in dataclasses.fields(kind))
    made: Any = kind(**changed, **({"device": device} if has_device else {}))
    family: Family = made
    return family


def file_digest(name: str) -> str:
    """Digest of the file that defines the family FILE.py:CLASS; empty for a family that ships with madaudit."""
    path = Path(name.rpartition(":")[0])
    if plain_name(name) in FAMILIES or not path.is_file():
        return ""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{OWN_MODULE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up annotations there
    spec.loader.exec_module(module)
    return module
