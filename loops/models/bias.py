"""The sampling bias λ: 1 samples the model as fitted, 0 gives only the model's modes (Alemohammad et al. 2024)."""

import numpy as np
from scipy import special

from indexes.errors import InputError

__all__ = ["check_bias", "guidance_weight", "tempered"]


def check_bias(bias: float, *, zero_allowed: bool = True) -> float:
    """`bias` as a float; raises InputError if `bias` is outside [0, 1], or outside (0, 1] if 0 is not allowed."""
    if not (0 < bias <= 1 or (bias == 0 and zero_allowed)):
        raise InputError(f"the sampling bias is {bias}, expected a number in {'[' if zero_allowed else '('}0, 1]")
    return float(bias)


def guidance_weight(bias: float) -> float:
    """The weight w of classifier-free guidance for a sampling bias λ = 1/(1 + w)."""
    return 1 / check_bias(bias, zero_allowed=False) - 1


def tempered(log_probabilities: np.ndarray, bias: float) -> np.ndarray:
    """Probabilities along the last axis at temperature λ: proportional to p^(1/λ), or only the maximum at λ = 0."""
    if check_bias(bias) == 0:
        best = log_probabilities == log_probabilities.max(-1, keepdims=True)
        return best / best.sum(-1, keepdims=True)
    return special.softmax(log_probabilities / bias, axis=-1)
