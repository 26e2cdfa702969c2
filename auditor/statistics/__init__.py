"""Sums, scales and intervals: the arithmetic that every answer uses."""
