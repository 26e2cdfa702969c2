"""Stored references: building, listing, checks, export and import."""
