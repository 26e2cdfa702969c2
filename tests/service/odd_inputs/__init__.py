"""Hostile and odd inputs by code, each with the answer that is right."""

from . import hostile_archives as hostile_archives
from . import hostile_images as hostile_images
from . import hostile_places as hostile_places
from . import hostile_tables as hostile_tables
from . import odd_images as odd_images
from . import odd_names as odd_names
from . import odd_tables as odd_tables
from . import odd_texts as odd_texts
from .case import Asked, Input, inputs

__all__ = ["Asked", "Input", "inputs"]
