"""Audit reports, their figures, and the files for labelling items."""
