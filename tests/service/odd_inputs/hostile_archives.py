"""Archives of someone who means harm."""

import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from .case import hostile
from .made import MIB, N, deflated, jsonl, named, packed, pictures, raw_zip, tar_of, texts, written, zip_of


def images() -> list[tuple[str, bytes]]:
    return list(named(pictures()).items())


def raw_images() -> list[tuple[bytes, bytes, int, int]]:
    return [(name.encode(), *packed(data)) for name, data in images()]


def header(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def block(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header by hand, whatever its fields say."""
    raw = bytearray(512)
    raw[: len(name)], raw[100:108], raw[124 : 124 + len(size)] = name, b"0000644\0", size
    raw[156:157], raw[257:265] = kind, b"ustar\x0000"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@hostile("images", offered=N + 1, read=N, upload=413)
def zip_with_a_member_of_300_MB_of_zeros(folder: Path) -> Path:
    data, checksum = deflated(300 * MIB)
    return written(folder, "a.zip", raw_zip([*raw_images(), (b"z.png", data, checksum, 300 * MIB)]))


@hostile("images", offered=N + 20, read=N, upload=413)
def zip_with_twenty_members_of_200_MB_of_zeros(folder: Path) -> Path:
    data, checksum = deflated(200 * MIB)
    bombs = [(b"z%d.png" % i, data, checksum, 200 * MIB) for i in range(20)]
    return written(folder, "a.zip", raw_zip([*raw_images(), *bombs]))


@hostile("texts", offered=N + 20, read=N, upload=413)
def zip_with_twenty_texts_of_200_MB(folder: Path) -> Path:
    data, checksum = deflated(200 * MIB, b"a word " * (MIB // 7))
    bombs = [(b"z%d.txt" % i, data, checksum, 200 * MIB) for i in range(20)]
    good = [(b"%d.txt" % i, *packed(text.encode())) for i, text in enumerate(texts())]
    return written(folder, "a.zip", raw_zip([*good, *bombs]))


@hostile("images", offered=N + 1, read=N, upload=202)
def zip_whose_member_states_fewer_bytes_than_it_unpacks_to(folder: Path) -> Path:
    data, checksum = deflated(100 * MIB)
    return written(folder, "a.zip", raw_zip([*raw_images(), (b"z.png", data, checksum, 10)]))


@hostile("images", offered=N + 1, read=N, upload=413)
def zip_whose_member_states_four_gigabytes(folder: Path) -> Path:
    data, checksum = deflated(1000)
    return written(folder, "a.zip", raw_zip([*raw_images(), (b"z.png", data, checksum, 0xFFFFFFF0)]))


@hostile("images", offered=N + 16, read=N, upload=202)
def zips_nested_in_zips(folder: Path) -> Path:
    inner = zip_of(images())
    for _ in range(4):
        inner = zip_of([(f"{i}.zip", inner) for i in range(16)])
    return written(folder, "a.zip", zip_of([*images(), *((f"{i}.zip", inner) for i in range(16))]))


@hostile("texts", offered=N, read=N, upload=413)
def gzip_lines_that_unpack_to_four_gigabytes_of_zeros(folder: Path) -> Path:
    return written(folder, "a.jsonl.gz", gzip.compress(jsonl(texts())) + 64 * gzip.compress(bytes(64 * MIB), 9))


@hostile("images", offered=N, read=N, upload=413)
def tar_in_gzip_followed_by_four_gigabytes_of_zeros(folder: Path) -> Path:
    return written(folder, "a.tar.gz", gzip.compress(tar_of(images())) + 64 * gzip.compress(bytes(64 * MIB), 9))


@hostile("images", offered=N, read=N, upload=413)
def tar_in_xz_followed_by_four_gigabytes_of_zeros(folder: Path) -> Path:
    return written(folder, "a.tar.xz", lzma.compress(tar_of(images())) + 64 * lzma.compress(bytes(64 * MIB), preset=0))


@hostile("images", offered=0, read=None, upload=413)
def tar_of_nothing_but_zeros(folder: Path) -> Path:
    return written(folder, "a.tar.gz", 20 * gzip.compress(bytes(64 * MIB), 9))


@hostile("texts", offered=N + 500_000, read=N, upload=202)
def gzip_of_half_a_million_lines_without_a_text(folder: Path) -> Path:
    return written(folder, "a.jsonl.gz", gzip.compress(jsonl(texts()) + b"{}\n" * (500_000), 9))


@hostile("texts", offered=N, read=N, upload=202)
def gzip_of_nine_hundred_empty_members(folder: Path) -> Path:
    return written(folder, "a.jsonl.gz", gzip.compress(jsonl(texts())) + 900 * gzip.compress(b""))


@hostile("texts", offered=N, read=N, upload=202)
def xz_that_asks_for_a_dictionary_of_four_gigabytes(folder: Path) -> Path:
    greedy = bytearray(lzma.compress(jsonl(texts(2, seed=4))))
    head = greedy[12 : 12 + 4 * (greedy[12] + 1)]  # of the block
    head[4] = 40  # 4 GiB
    head[-4:] = struct.pack("<L", zlib.crc32(bytes(head[:-4])))
    greedy[12 : 12 + len(head)] = head
    return written(folder, "a.jsonl.xz", lzma.compress(jsonl(texts())) + bytes(greedy))


@hostile("images", offered=N + 6, read=N, upload=422)
def tar_with_links_devices_and_pipes(folder: Path) -> Path:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE)
    strangers = [(header(f"z{i}.png", kind, link="/etc/passwd"), b"") for i, kind in enumerate(kinds)]
    return written(folder, "a.tar", tar_of([*images(), *strangers]))


@hostile("images", offered=N + 5, read=N, upload=422)
def tar_whose_names_leave_it(folder: Path) -> Path:
    names = ("../../x.png", "/etc/x.png", "C:\\x.png", "a/../../x.png", "\\\\host\\x.png")
    return written(folder, "a.tar", tar_of([*images(), *((name, pictures(1)[0]) for name in names)]))


@hostile("images", offered=N + 5, read=N, upload=422)
def zip_whose_names_leave_it(folder: Path) -> Path:
    names = ("../../x.png", "/etc/x.png", "C:\\x.png", "a/../../x.png", "\\\\host\\x.png")
    return written(folder, "a.zip", zip_of([*images(), *((name, pictures(1)[0]) for name in names)]))


@hostile("images", offered=N + 3, read=N, upload=422)
def zip_with_links_and_devices(folder: Path) -> Path:
    strangers = []
    for name, mode in (("l.png", stat.S_IFLNK), ("d.png", stat.S_IFBLK), ("p.png", stat.S_IFIFO)):
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (mode | 0o644) << 16
        strangers.append((info, b"/etc/passwd"))
    return written(folder, "a.zip", zip_of([*images(), *strangers]))


@hostile("images", offered=N, read=N, upload=202)
def tar_with_sizes_below_zero_and_beyond_all_disks(folder: Path) -> Path:
    data = tar_of(images())
    strange = (
        block(b"a.png", b"\xff" * 12) + block(b"b.png", b"\x80" + b"\x7f" * 11) + block(b"c.png", b"-0000000001\0")
    )
    return written(folder, "a.tar", strange + data)


@hostile("images", offered=N + 1, read=N, upload=413)
def tar_with_sparse_files_of_a_terabyte(folder: Path) -> Path:
    sparse = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s.png",
        "GNU.sparse.realsize": str(2**40),
    }
    info = header("GNUSparseFile.0/s.png", size=512)
    info.pax_headers = sparse
    data = tar_of([*images(), (info, b"1\n0\n0\n".ljust(512, b"\0"))], format=tarfile.PAX_FORMAT)
    return written(folder, "a.tar", data)


@hostile("images", offered=N, read=N, upload=202)
def tar_with_three_thousand_extended_headers_in_a_row(folder: Path) -> Path:
    record = b"30 comment=nothing to be seen\n".ljust(512, b"\0")
    chain = (block(b"pax", b"00000000036\0", b"x") + record) * 3000
    return written(folder, "a.tar", chain + tar_of(images()))


@hostile("images", offered=N + 300, read=N, upload=413)
def tar_with_names_of_a_megabyte(folder: Path) -> Path:
    long = [(f"{i}{'n' * 1_000_000}.png", b"") for i in range(300)]
    return written(folder, "a.tar.gz", gzip.compress(tar_of([*images(), *long], format=tarfile.PAX_FORMAT), 1))


@hostile("images", offered=N + 20_000, read=N, upload=202)
def tar_with_twenty_thousand_empty_members(folder: Path) -> Path:
    empty = b"".join(tarfile.TarInfo(f"e{i}.png").tobuf() for i in range(20_000))
    return written(folder, "a.tar.gz", gzip.compress(tar_of(images())[:-8192] + empty, 6))


@hostile("images", offered=N + 1000, read=N, upload=413)
def zip_whose_directory_names_one_member_a_thousand_times(folder: Path) -> Path:
    data, checksum = deflated(MIB)
    whole = raw_zip([*raw_images(), (b"z.png", data, checksum, MIB)])
    at = whole.index(b"PK\x01\x02")
    last = whole.rindex(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    directory = whole[at:end] + 999 * whole[last:end]
    count = N + 1000
    tail = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, count, count, len(directory), at, 0)
    return written(folder, "a.zip", whole[:at] + directory + tail)


@hostile("images", offered=N + 50, read=N, upload=202)
def zip_whose_members_overlap(folder: Path) -> Path:
    """Each member's data begins with the header of the next, quoted in a stored block (Fifield's bomb)."""
    kernel, checksum = deflated(MIB)
    members: list[tuple[int, bytes, bytes, int, int]] = []
    body, size = kernel, MIB
    inner = bytearray(MIB)
    names = [b"f%02d.png" % i for i in range(50)]
    for name in reversed(names):
        fields = struct.pack("<HHHHHLLLHH", 20, 0, 8, 0, 33, checksum, len(body), size, len(name), 0)
        head = b"PK\x03\x04" + fields + name
        members.append((len(body), name, fields, len(head), len(head) + len(body)))
        body = head + body
        quoted = struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF)
        body = quoted + body
        inner = bytearray(head) + inner
        checksum, size = zlib.crc32(bytes(inner)), len(inner)
    directory, total = b"", len(body)
    for _, name, fields, _, from_end in reversed(members):
        directory += b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHLL", 0, 0, 0, 0, total - from_end) + name
    good = zip_of(images())
    tail = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 50, 50, len(directory), total, 0)
    return written(folder, "a.zip", good + body + directory + tail)


@hostile("images", offered=2 * N, read=2 * N, upload=202)
def zip_with_two_directories(folder: Path) -> Path:
    others = zip_of([(f"b{name}", data) for name, data in named(pictures(seed=9)).items()])
    return written(folder, "a.zip", zip_of(images()) + others)


@hostile("images", offered=N, read=N, upload=202)
def zip_whose_comment_holds_another_directory(folder: Path) -> Path:
    comment = b"see " + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0) + b" above"
    return written(folder, "a.zip", zip_of(images())[:-2] + struct.pack("<H", len(comment)) + comment)


@hostile("images", offered=N, read=N, upload=413)
def zip_that_states_a_billion_members(folder: Path) -> Path:
    whole = zip_of(images())
    end = whole.rindex(b"PK\x05\x06")
    at = whole.index(b"PK\x01\x02")
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**9, 10**9, 46 * 10**9, at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    tail = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return written(folder, "a.zip", whole[:end] + record + locator + tail)


@hostile("images", offered=N + 5, read=N + 5, upload=202)
def zip_whose_names_would_write_on_a_terminal(folder: Path) -> Path:
    names = (
        "\x1b[2J\x1b[31m.png",
        "\u202egnp.exe.png",
        "a\nPASS: 9 items.png",
        "\x07\x08\x9b.png",
        "x" * 4096 + ".png",
    )
    return written(folder, "a.zip", zip_of([*images(), *zip(names, pictures(5, seed=8), strict=True)]))


@hostile("images", offered=N + 1, read=N, upload=202)
def zip_with_encrypted_member(folder: Path) -> Path:
    data = bytearray(zip_of([*images(), ("z.png", b"secret" * 30)]))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.rindex(signature)
        data[place + at] |= 1
    return written(folder, "a.zip", bytes(data))


@hostile("images", offered=N + 20_000, read=N, upload=202)
def zip_of_twenty_thousand_empty_members(folder: Path) -> Path:
    hundreds = [(b"e%d.png" % i, *packed(b"")) for i in range(20_000)]
    return written(folder, "a.zip", raw_zip([*raw_images(), *hundreds]))
