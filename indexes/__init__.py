"""Read data sources, encode items as vectors, search nearest neighbours, and store embeddings and indexes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexes.encoders import load_encoder
    from indexes.search import knn
    from indexes.sources import open_source

__all__ = ["knn", "load_encoder", "open_source"]

_HOMES = {"knn": "indexes.search", "load_encoder": "indexes.encoders", "open_source": "indexes.sources"}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import indexes` does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'indexes' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
