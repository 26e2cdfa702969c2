"""Plots of the results of loops."""
