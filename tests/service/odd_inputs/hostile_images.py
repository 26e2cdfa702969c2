"""Pictures of someone who means harm."""

import struct
import zlib
from pathlib import Path

from .case import hostile
from .made import MIB, N, deflated, folder_of, named, picture, pictures, saved, tar_of, written, zip_of


def beside(folder: Path, strange: dict[str, bytes]) -> Path:
    """A tar of good pictures and some strange ones."""
    return written(folder, "a.tar", tar_of([*named(pictures()).items(), *strange.items()]))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def with_chunks(chunks: bytes) -> bytes:
    """A PNG with more chunks before its pixels."""
    data = pictures(1, seed=7)[0]
    return data[:33] + chunks + data[33:]


def zlib_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def png_of_size(width: int, height: int, rows: int = 0) -> bytes:
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )


@hostile("images", offered=N + 1, read=N, upload=202)
def png_with_two_hundred_thousand_empty_chunks(folder: Path) -> Path:
    return beside(folder, {"z.png": with_chunks(chunk(b"noTh", b"") * 200_000)})


@hostile("images", offered=N + 3, read=N + 2, upload=202)
def pngs_whose_texts_and_profiles_unpack_to_a_gigabyte(folder: Path) -> Path:
    bomb = zlib_bomb(1024 * MIB)
    kinds = {"z": b"zTXt", "p": b"iCCP", "i": b"iTXt"}
    heads = {"z": b"Comment\0\0", "p": b"icc\0\0", "i": b"XML:com.adobe.xmp\0\1\0\0\0"}
    return beside(folder, {f"{name}.png": with_chunks(chunk(kind, heads[name] + bomb)) for name, kind in kinds.items()})


@hostile("images", offered=N + 4, read=N, upload=202)
def pngs_that_state_billions_of_pixels(folder: Path) -> Path:
    sizes = ((2**31 - 1, 2**31 - 1), (50_000, 50_000), (0, 10), (2**32 - 1, 1))
    return beside(folder, {f"z{i}.png": png_of_size(*size) for i, size in enumerate(sizes)})


def plain_png(width: int, height: int, depth: int, colour: int, line: bytes) -> bytes:
    """A PNG whose lines are all the same, in a few kilobytes."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" + line) for _ in range(height)) + packer.flush()
    head = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@hostile("images", offered=N + 3, read=N + 3, upload=202)
def three_pictures_of_25_megapixels_in_a_few_kilobytes(folder: Path) -> Path:
    data = plain_png(5000, 5000, 8, 2, bytes(3 * 5000))
    return beside(folder, {f"z{i}.png": data for i in range(3)})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def picture_of_25_megapixels_in_sixteen_bits(folder: Path) -> Path:
    return beside(folder, {"z.png": plain_png(5000, 5000, 16, 0, bytes([1, 2]) * 5000)})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def tiff_with_two_hundred_thousand_pages(folder: Path) -> Path:
    first = saved(picture(8), "TIFF")
    start = struct.unpack("<L", first[4:8])[0]
    count = struct.unpack_from("<H", first, start)[0]
    entries = first[start + 2 : start + 2 + 12 * count]
    size, last = 2 + 12 * count + 4, 200_000 - 1
    places = [len(first) + (i + 1) * size if i < last else 0 for i in range(last + 1)]
    pages = b"".join(struct.pack("<H", count) + entries + struct.pack("<L", after) for after in places)
    data = first[:4] + struct.pack("<L", len(first)) + first[8:] + pages
    return beside(folder, {"z.tiff": data})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def tiff_whose_page_leads_to_itself(folder: Path) -> Path:
    data = bytearray(saved(picture(8), "TIFF"))
    start = struct.unpack("<L", data[4:8])[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<L", data, start + 2 + 12 * count, start)
    return beside(folder, {"z.tiff": bytes(data)})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def gif_with_a_hundred_thousand_frames(folder: Path) -> Path:
    data = saved(picture(8).convert("P"), "GIF")
    place = data.index(b",")
    frame = data[place:-1]
    return beside(folder, {"z.gif": data[:-1] + frame * 100_000 + b";"})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def animated_png_that_states_a_billion_frames(folder: Path) -> Path:
    frames = [picture(16, seed) for seed in range(3)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    at = data.index(b"acTL")
    control = chunk(b"acTL", struct.pack(">LL", 2**31 - 1, 0))
    return beside(folder, {"z.png": data[: at - 4] + control + data[at + 16 :]})


@hostile("images", offered=N + 2, read=N, upload=202)
def svg_with_entities_and_svg_that_reads_a_file(folder: Path) -> Path:
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "lol">{laughs}]><svg xmlns="http://www.w3.org/2000/svg">&l9;</svg>'
    thief = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    return beside(folder, {"y.svg": bomb.encode(), "z.svg": thief.encode()})


@hostile("images", offered=2, read=1, upload=415)
def zip_behind_a_jpeg(folder: Path) -> Path:
    return written(folder, "a.jpg.zip", saved(picture(), "JPEG") + zip_of([("b.png", saved(picture(seed=1), "PNG"))]))


@hostile("images", offered=N, read=N, upload=202)
def jpeg_behind_a_zip(folder: Path) -> Path:
    return written(folder, "a.zip", zip_of(named(pictures()).items()) + saved(picture(), "JPEG"))


@hostile("images", offered=N + 3, read=N + 1, upload=202)
def pictures_that_are_scripts_and_pages(folder: Path) -> Path:
    page = b"<html><script>alert(1)</script></html>"
    both = saved(picture(), "GIF") + page
    return beside(folder, {"x.png": page, "y.png": b"#!/bin/sh\nrm -rf /\n", "z.gif": both})


@hostile("images", offered=N + 3, read=N + 3, upload=202)
def jpegs_with_hostile_exif(folder: Path) -> Path:
    """A directory that leads to itself, one of 65,535 entries, and a thousand application segments."""
    plain = saved(picture(), "JPEG")
    loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 8, 8)
    many = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + bytes(40_000)

    def segment(data: bytes) -> bytes:
        return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data

    strange = {
        "x": segment(loop),
        "y": segment(many),
        "z": segment(b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60_000) * 300,
    }
    return beside(folder, {f"{name}.jpg": plain[:2] + data + plain[2:] for name, data in strange.items()})


@hostile("images", offered=N + 4, read=N, upload=202)
def headers_of_many_formats_that_lie(folder: Path) -> Path:
    bmp = bytearray(saved(picture(), "BMP"))
    struct.pack_into("<ll", bmp, 18, 2**31 - 1, -(2**31))
    webp = bytearray(saved(picture(), "WEBP"))
    struct.pack_into("<L", webp, 16, 2**32 - 1)
    ico = b"\0\0\1\0\xff\0" + struct.pack("<BBBBHHLL", 0, 0, 0, 0, 1, 32, 2**32 - 1, 2**32 - 1) * 255
    ppm = b"P6 99999999999999999999 99999999999999999999 255\n"
    return beside(folder, {"w.bmp": bytes(bmp), "x.webp": bytes(webp), "y.ico": ico, "z.ppm": ppm})


@hostile("images", offered=N + 1, read=N + 1, upload=202)
def jpeg_of_a_thousand_scans(folder: Path) -> Path:
    """A progressive picture whose scans are repeated, each of which a decoder works through."""
    data = saved(picture(1500), "JPEG", progressive=True, quality=30)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    return beside(folder, {"z.jpg": data[:-2] + scan * min(1000, 8 * MIB // len(scan)) + b"\xff\xd9"})


@hostile("images", offered=3, read=None, upload=None)
def folder_of_bombs_alone(folder: Path) -> Path:
    data, _ = deflated(MIB)
    return folder_of(
        folder, {"a.png": png_of_size(10**6, 10**6), "b.jpg": b"\xff\xd8\xff" + data, "c.gif": b"GIF89a" + b"\xff" * 4}
    )
