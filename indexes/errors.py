"""The three kinds of error, by who can act on them."""

__all__ = ["ArtifactError", "AuditError", "InputError", "ResourceError"]


class AuditError(Exception):
    """Base of every error that is meant to be read: what was found, what was expected, what to do."""


class InputError(AuditError, ValueError):
    """The caller can fix it: a wrong argument, an unusable source, an unknown name."""


class ArtifactError(AuditError):
    """A stored reference, index or state is missing, damaged, or made by something else."""


class ResourceError(AuditError):
    """This machine cannot: a missing device, library, weights file or lock."""
