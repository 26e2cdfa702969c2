"""What happens when a model eats its own output: the autophagy-loop simulator."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loops.config import LoopConfig, config_from
    from loops.run import run_loop

__all__ = ["LoopConfig", "config_from", "run_loop"]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that `import loops` does not load torch."""
    if name == "run_loop":
        from loops.run import run_loop

        return run_loop
    if name in ("LoopConfig", "config_from"):
        from loops import config

        return getattr(config, name)
    raise AttributeError(f"module 'loops' has no attribute {name!r}")
