"""Pillow's warnings about a picture: kept away from standard error and the answer, on the decoding thread alone."""

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

# Imported here, so that no reader of a picture is loaded after the warnings of its module were taken over.
_READERS = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, IcoImagePlugin, Jpeg2KImagePlugin, JpegImagePlugin,
    MpoImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
_thread = threading.local()


class _Warnings:
    """Stands where Pillow's modules look for `warnings`; hands on what comes from a thread that is not quiet.

    `warnings.catch_warnings` would change the filters of every thread, and pictures are decoded in several.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(warnings, name)

    def warn(
        self, message: Warning | str, category: type[Warning] | None = None, stacklevel: int = 1, **options: object
    ) -> None:
        if not _is_quiet():
            warnings.warn(message, category, stacklevel + 1, **options)  # type: ignore[call-overload]  # passed on
        elif category is not None and issubclass(category, Image.DecompressionBombWarning):
            raise Image.DecompressionBombError(str(message))  # whatever the filter: a limit holds or it does not


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, Pillow neither warns nor logs on this thread; too many pixels are always an error."""
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
        with suppress(AttributeError, OSError):  # built into Pillow without its names: it cannot be told
            getattr(ctypes.CDLL(core.__file__), name)(None)
