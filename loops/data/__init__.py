"""Real data for loops: formulas, bundled data sets and user sources, optionally with contamination."""
