"""Fit the risk model to finished loops, and measure how well it forecasts other loops."""
