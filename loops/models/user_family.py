"""Report errors in a user-written model family as one line with file and line number."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from indexes.errors import AuditError, InputError
from loops.samples import Samples

__all__ = ["OWN_MODULE", "blamed", "checked"]

OWN_MODULE = "madaudit_family_"  # prefix of the names of modules loaded from FILE.py:CLASS


@contextmanager
def blamed(part: object) -> Iterator[None]:
    """Convert exceptions of a user-written family to InputError; exceptions of shipped families stay unchanged."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        file = _own_file(part)
        if file is None:
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f"{file}, line {lines[-1]}" if lines else file
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error


def checked(drawn: object, shape: tuple[int, ...], part: object) -> Samples:
    """Return `drawn` if it is a Samples object of the expected shape; else raises InputError naming the model."""
    if isinstance(drawn, Samples) and drawn.values.shape == shape:
        return drawn
    found = f"values of shape {drawn.values.shape}" if isinstance(drawn, Samples) else f"a {type(drawn).__name__}"
    raise InputError(f"{type(part).__qualname__}.sample returned {found}, expected Samples of shape {shape}")


def _own_file(part: object) -> str | None:
    module = type(part).__module__
    return sys.modules[module].__file__ if module.startswith(OWN_MODULE) else None
