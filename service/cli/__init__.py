"""The command line."""

from service.cli.entry import app, main

__all__ = ["app", "main"]
