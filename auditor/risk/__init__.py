"""The forecast of model autophagy: workflows, the recursion, the calibrated model, the advice."""
