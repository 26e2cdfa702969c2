"""Reports, figures and the labeller's sheet."""
