"""Sums, scaling and confidence intervals: the arithmetic that all results of an audit use."""
