"""Silence Pillow's warnings about an image, only on the thread that decodes the image."""

import ctypes
import functools
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import _imaging as core

__all__ = ["quiet"]

# Imported here because `_take_over` replaces `warnings` only in modules that are already loaded.
_READERS = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, IcoImagePlugin, Jpeg2KImagePlugin, JpegImagePlugin,
    MpoImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
_thread = threading.local()


class _Warnings:
    """Replaces the `warnings` module inside Pillow and passes warnings on, except from threads that are set to quiet.

    `warnings.catch_warnings` is unsuitable: it changes the filters of all threads, and several threads decode images.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(warnings, name)

    def warn(
        self, message: Warning | str, category: type[Warning] | None = None, stacklevel: int = 1, **options: object
    ) -> None:
        if not _is_quiet():
            warnings.warn(message, category, stacklevel + 1, **options)  # type: ignore[call-overload]  # passed on
        elif category is not None and issubclass(category, Image.DecompressionBombWarning):
            raise Image.DecompressionBombError(str(message))  # the limit must not depend on a warning filter


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings and logs on this thread in a `with` body; an image with too many pixels still fails."""
    _take_over()
    before, _thread.is_quiet = _is_quiet(), True
    try:
        yield
    finally:
        _thread.is_quiet = before


def _is_quiet() -> bool:
    return getattr(_thread, "is_quiet", False)


@functools.cache
def _take_over() -> None:
    ours = _Warnings()
    for name, module in list(sys.modules.items()):
        if name.startswith("PIL.") and getattr(module, "warnings", None) is warnings:
            setattr(module, "warnings", ours)  # noqa: B010  # mypy knows the attribute as a module
    for module in _READERS:
        logging.getLogger(module.__name__).addFilter(lambda _: not _is_quiet())
    for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt"):  # libtiff itself writes to standard error
        with suppress(AttributeError, OSError):  # libtiff is linked without public names: its messages stay
            getattr(ctypes.CDLL(core.__file__), name)(None)
