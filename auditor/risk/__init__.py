"""The forecast of model autophagy: the mechanistic recursion, the calibrated model, and the advice."""
