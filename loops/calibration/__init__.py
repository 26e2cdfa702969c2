"""Fit a risk model to finished loops, and measure its skill."""
