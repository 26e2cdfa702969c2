"""What happens when a model eats its own output: the autophagy-loop simulator."""

from loops.config import LoopConfig, config_from
from loops.run import run_loop

__all__ = ["LoopConfig", "config_from", "run_loop"]
