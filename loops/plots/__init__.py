"""Plots of loops."""
