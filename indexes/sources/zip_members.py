"""One member of a zip file: the position of its data, its decompressed bytes, and the bytes after it."""

import io
import struct
import zipfile
import zlib
from typing import IO, NamedTuple, cast

__all__ = [
    "ENCRYPTED",
    "HAS_DESCRIPTOR",
    "LOCAL",
    "LOCAL_HEADER",
    "Member",
    "bytes_after",
    "contents",
    "data_start",
    "decoded",
]

LOCAL = b"PK\x03\x04"  # signature of a member's header
LOCAL_HEADER = struct.Struct("<4s2xHH4xLLLHH")  # flags, method, checksum, compressed, size, name, extra
ENCRYPTED = 0x41  # bits of the flags: any encryption, strong encryption
HAS_DESCRIPTOR = 0x8  # bit of the flags: checksum and sizes follow the data
_IS_UTF8 = 0x800
_BEGINNING = 2**16  # bytes


class Member(NamedTuple):
    """One file stored in a zip archive, as described by the archive's directory, else by its own header."""

    name: str
    stored_name: str  # the name in the member's own header
    offset: int  # position of the member's header in the file
    limit: int  # position in the file where the next structure begins
    flags: int
    method: int
    checksum: int
    compressed: int  # bytes
    size: int
    mode: int = 0  # Unix file mode; 0 if there is none
    is_whole: bool = True  # False if the layout shows that part of the member is missing

    @property
    def extent(self) -> int:
        """The number of bytes that the member takes in the zip file."""
        return max(0, self.limit - self.offset)


def decoded(name: bytes, flags: int) -> str:
    """A stored member name as text; undecodable bytes become escapes."""
    return name.decode("utf-8" if flags & _IS_UTF8 else "cp437", "backslashreplace")


def data_start(handle: IO[bytes], member: Member) -> int:
    """Start of a member's data; raises `BadZipFile` if its header is damaged or the data overlap the next member."""
    handle.seek(member.offset)
    head = handle.read(LOCAL_HEADER.size)
    if not member.is_whole or len(head) < LOCAL_HEADER.size or not head.startswith(LOCAL):
        raise zipfile.BadZipFile("no member")
    name_length, extra_length = struct.unpack_from("<HH", head, 26)
    start = member.offset + LOCAL_HEADER.size + name_length + extra_length
    if decoded(handle.read(name_length), member.flags) != member.stored_name:
        raise zipfile.BadZipFile("the name in the member's header differs from the name in the directory")
    if start + member.compressed > member.limit:
        raise zipfile.BadZipFile("the member's data reach into the next member")
    return start


def contents(handle: IO[bytes], member: Member, start: int) -> IO[bytes]:
    """A member's decompressed data; raises NotImplementedError for an unknown method, BadZipFile for a bad checksum."""
    info = zipfile.ZipInfo(member.name)
    info.compress_type, info.flag_bits = member.method, member.flags
    info.CRC, info.compress_size, info.file_size = member.checksum, member.compressed, member.size
    handle.seek(start)
    return cast(IO[bytes], zipfile.ZipExtFile(handle, "r", info))  # typed as `ZipFile.open` types it


def beginning(handle: IO[bytes], member: Member, start: int) -> IO[bytes]:
    """First decompressed bytes of a member, up to 64 KiB; a stored or deflated member's checksum is not checked."""
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return contents(handle, member, start)
    handle.seek(start)
    data = handle.read(min(member.compressed, _BEGINNING))
    stored = data if member.method == zipfile.ZIP_STORED else zlib.decompressobj(-15).decompress(data, _BEGINNING)
    return io.BytesIO(stored[: member.size])


def bytes_after(handle: IO[bytes], member: Member, start: int) -> int:
    """The number of unused bytes between a member's end and the next structure of the zip file."""
    end = start + member.compressed
    if member.flags & HAS_DESCRIPTOR and end < member.limit:
        end += _descriptor_length(handle, member, end)
    return max(0, member.limit - end)


def _descriptor_length(handle: IO[bytes], member: Member, end: int) -> int:
    handle.seek(end)
    data = handle.read(24)
    stated = (member.checksum, member.compressed, member.size)
    for form in ("<4sLLL", "<4sLQQ", "<0sLLL", "<0sLQQ"):
        length = struct.calcsize(form)
        if len(data) >= length and struct.unpack_from(form, data)[1:] == stated:
            return length
    return 0
