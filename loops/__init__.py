"""Simulator of autophagy loops, in which each generation of models is trained on samples of earlier generations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loops.config import LoopConfig
    from loops.models.catalogue import families
    from loops.run import run_loop

__all__ = ["LoopConfig", "families", "run_loop"]

_HOMES = {"LoopConfig": "loops.config", "families": "loops.models.catalogue", "run_loop": "loops.run"}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import loops` does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'loops' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
