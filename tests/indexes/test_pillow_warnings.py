import io
import logging
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from indexes.compression import jpeg_storage, stored_as
from indexes.images import decode
from indexes.pillow_warnings import quiet
from indexes.records import Unusable

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def with_odd_exif(name: str) -> bytes:
    """A picture whose EXIF block states more bytes than there are."""
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHLL", 1, 271, 2, 2**20, 8) + bytes(4)
    with quiet():  # Pillow warns when it writes it, too
        return encoded(Image.fromarray(PIXELS), name, exif=b"Exif\0\0" + block)


def warned_tiff() -> bytes:
    """A TIFF that Pillow warns about: a tag that should hold one value holds two."""
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF"))
    at = data.index(struct.pack("<HHL", 284, 3, 1))
    data[at + 4 : at + 8] = struct.pack("<L", 2)
    return bytes(data)


def an_icon_of_another_size() -> bytes:
    """An icon whose directory states another size than its PNG file has."""
    inner = encoded(Image.fromarray(PIXELS), "PNG")
    return struct.pack("<3H4B2H2I", 0, 1, 1, 9, 9, 0, 0, 1, 24, len(inner), 22) + inner


WARNED = {
    "jpeg": with_odd_exif("JPEG"),
    "png": with_odd_exif("PNG"),
    "webp": with_odd_exif("WEBP"),
    "avif": with_odd_exif("AVIF"),
    "tiff": warned_tiff(),
    "ico": an_icon_of_another_size(),
    "palette": encoded(Image.fromarray(PIXELS).quantize(9), "PNG", transparency=bytes([0, 80, 200])),
}


def test_pillow_warns_of_some_of_these_when_nobody_keeps_it_quiet() -> None:
    with pytest.warns(UserWarning, match="expected 1"):
        Image.open(io.BytesIO(WARNED["tiff"])).load()
    with pytest.warns(UserWarning, match="expected size"):
        Image.open(io.BytesIO(WARNED["ico"])).load()


@pytest.mark.parametrize("action", ["error", "ignore", "always"])
@pytest.mark.parametrize("kind", WARNED)
def test_what_pillow_warns_of_is_read_whatever_the_filter(kind: str, action: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter(action)  # a parametrised literal
        assert decode(WARNED[kind]).pixels.shape == (24, 40, 3)
    assert said == []


def test_threads_decode_in_silence_while_another_thread_changes_the_filters() -> None:
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            with warnings.catch_warnings():
                warnings.simplefilter("error")

    other = threading.Thread(target=change)
    other.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(decode, list(WARNED.values()) * 20))
    finally:
        stop.set()
        other.join()
    assert {picture.pixels.shape for picture in found} == {(24, 40, 3)}


def test_other_threads_and_later_code_still_hear_pillow() -> None:
    heard: list[bool] = []

    def listen() -> None:
        try:
            Image.open(io.BytesIO(WARNED["tiff"])).load()
        except UserWarning:
            heard.append(True)

    with quiet():
        other = threading.Thread(target=listen)
        other.start()
        other.join()
    listen()
    assert heard == [True, True]


def test_silence_within_silence_lasts_to_the_outer_end() -> None:
    with quiet():
        with quiet():
            pass
        Image.open(io.BytesIO(WARNED["tiff"])).load()


def test_pillow_does_not_log_either(caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(encoded(Image.fromarray(PIXELS), "TIFF"))
    at = data.index(struct.pack("<HHL", 277, 3, 1))
    data[at + 8 : at + 10] = b"\xff\xff"  # samples for each pixel
    with caplog.at_level(logging.WARNING), pytest.raises(Unusable):
        decode(bytes(data))
    assert caplog.records == []
    TiffImagePlugin.logger.warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_too_many_pixels_are_refused_and_not_warned_of() -> None:
    data = encoded(Image.new("1", (9500, 9500)), "PNG")  # Pillow warns from 89.5 megapixels on
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Unusable, match="over 89 megapixels"):
            decode(data)


def test_storage_is_read_and_written_in_silence() -> None:
    storage = jpeg_storage(with_odd_exif("JPEG"))
    assert storage is not None
    assert jpeg_storage(stored_as(PIXELS, storage)) == storage


_CHILD = """
import sys
from indexes.images import decode
from indexes.records import Unusable
for path in sys.argv[1:]:
    try:
        decode(open(path, "rb").read())
    except Unusable:
        pass
"""


def test_nothing_reaches_standard_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not even what the C library of TIFF writes there about damage by itself."""
    folder = tmp_path_factory.mktemp("damaged")
    lzw = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", compression="tiff_lzw"))
    deflate = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", compression="tiff_deflate"))
    for data in (lzw, deflate):
        data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    large = encoded(Image.new("1", (9500, 9500)), "PNG")
    files = [*WARNED.values(), bytes(lzw), bytes(deflate), large]
    paths = [folder / str(i) for i in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    ended = subprocess.run([sys.executable, "-c", _CHILD, *map(str, paths)], capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"", b"")
