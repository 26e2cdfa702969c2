"""References as files: built, listed, checked, moved between machines."""
