"""Texts as people have them."""

import bz2
import gzip
import json
import lzma
import unicodedata
from pathlib import Path

from .case import Asked, odd
from .made import N, folder_of, jsonl, named, texts, written, zip_of


def encoded(encoding: str) -> list[bytes]:
    return [text.encode(encoding) for text in texts()]


@odd("texts", offered=N, read=N, upload=202)
def lines_behind_a_byte_order_mark(folder: Path) -> Path:
    return written(folder, "a.jsonl", b"\xef\xbb\xbf" + jsonl(texts()))


@odd("texts", offered=N, read=N, upload=202)
def lines_that_end_in_carriage_returns_and_line_feeds(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts()).replace(b"\n", b"\r\n"))


@odd("texts", offered=N, read=None, upload=202)
def lines_that_end_in_carriage_returns_alone(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts()).replace(b"\n", b"\r"))


@odd("texts", offered=N, read=None, upload=415)
def lines_in_utf_16(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts()).decode().encode("utf-16"))


@odd("texts", offered=N, read=N, upload=202)
def lines_with_blank_ones_between_and_no_end(folder: Path) -> Path:
    return written(folder, "a.jsonl", b"\n  \n" + jsonl(texts()).replace(b"\n", b"\n\n\t\n").rstrip())


@odd("texts", offered=N, read=N, upload=202)
def lines_in_the_encoding_of_windows_but_for_ascii(folder: Path) -> Path:
    data = "".join(json.dumps({"text": text + " café"}, ensure_ascii=True) + "\n" for text in texts())
    return written(folder, "a.jsonl", data.encode("cp1252"))


@odd("texts", offered=N, read=N - 1, upload=202)
def one_line_in_another_encoding(folder: Path) -> Path:
    data = jsonl(texts(N - 1)) + '{"text": "café crème"}\n'.encode("latin-1")
    return written(folder, "a.jsonl", data)


@odd("texts", offered=N, read=None, upload=415)
def one_list_of_all_texts(folder: Path) -> Path:
    return written(folder, "a.jsonl", json.dumps([{"text": text} for text in texts()]).encode())


@odd("texts", offered=N, read=None, upload=415)
def lines_that_are_bare_strings(folder: Path) -> Path:
    return written(folder, "a.jsonl", "".join(json.dumps(text) + "\n" for text in texts()).encode())


@odd("texts", offered=1, read=None, upload=202)
def one_object_over_many_lines(folder: Path) -> Path:
    return written(folder, "a.jsonl", json.dumps({"text": texts()[0]}, indent=2).encode())


@odd("texts", offered=N, read=N, upload=202)
def lines_whose_keys_differ_in_case(folder: Path) -> Path:
    keys = ("text", "Text", "TEXT")
    return written(folder, "a.jsonl", jsonl({keys[i % 3]: text} for i, text in enumerate(texts())))


@odd("texts", offered=N, read=N, upload=202)
def lines_in_bzip2(folder: Path) -> Path:
    return written(folder, "a.jsonl.bz2", bz2.compress(jsonl(texts())))


@odd("texts", offered=2 * N, read=2 * N, upload=202)
def lines_in_two_members_of_gzip(folder: Path) -> Path:
    return written(folder, "a.jsonl.gz", gzip.compress(jsonl(texts())) + gzip.compress(jsonl(texts(seed=9))))


@odd("texts", offered=N, read=N, upload=202)
def xz_lines_under_the_name_of_plain_ones(folder: Path) -> Path:
    return written(folder, "a.jsonl", lzma.compress(jsonl(texts())))


@odd("texts", offered=0, read=None, upload=415)
def empty_file(folder: Path) -> Path:
    return written(folder, "a.jsonl", b"")


@odd("texts", offered=0, read=None, upload=422)
def lines_of_a_compressed_nothing(folder: Path) -> Path:
    return written(folder, "a.jsonl.gz", gzip.compress(b""))


@odd("texts", offered=1, read=1, upload=202)
def one_text(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts(1)))


@odd("texts", offered=300, read=300, upload=202)
def three_hundred_copies_of_one_text(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts(1) * 300))


@odd("texts", offered=9, read=9, upload=202)
def nine_texts_and_a_limit_of_a_thousand(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl(texts(9)))


@odd("texts", offered=N, read=N)
def text_files_with_marks_and_ends_of_windows(folder: Path) -> Path:
    return folder_of(folder, named([b"\xef\xbb\xbf" + data + b"\r\n" for data in encoded("utf-8")], "TXT"))


@odd("texts", offered=N, read=None)
def text_files_in_utf_16(folder: Path) -> Path:
    return folder_of(folder, named(encoded("utf-16"), "txt"))


@odd("texts", offered=N + 3, read=N)
def empty_text_files_among_others(folder: Path) -> Path:
    return folder_of(
        folder, {**named(encoded("utf-8"), "txt"), "x.txt": b"", "y.txt": b" \n\t", "z.txt": b"\xef\xbb\xbf"}
    )


@odd("texts", offered=2 * N, read=2 * N)
def names_in_two_unicode_forms(folder: Path) -> Path:
    forms = {
        unicodedata.normalize(form, f"é{i}.txt"): f"{text} {form}".encode()
        for form in ("NFC", "NFD")
        for i, text in enumerate(texts())
    }
    return folder_of(folder, forms)


@odd("texts", offered=N, read=N, upload=202)
def zip_of_texts_made_on_a_mac(folder: Path) -> Path:
    files = {f"set/{name}": data for name, data in named(encoded("utf-8"), "txt").items()}
    extras = {f"__MACOSX/set/._{name}": b"\0\5\x16\7" for name in named(encoded("utf-8"), "txt")}
    return written(folder, "a.zip", zip_of([*files.items(), *extras.items(), ("set/.DS_Store", b"\0\0\0\1Bud1")]))


@odd("texts", offered=N, read=None, upload=202, said="column")
def lines_with_two_keys_that_fit(folder: Path) -> Path:
    return written(folder, "a.jsonl", jsonl({"caption": text, "prompt": text} for text in texts()))


@odd("texts", offered=N, read=N, upload=202)
def lines_with_two_keys_of_which_one_is_asked_for(folder: Path) -> Asked:
    written(folder, "a.jsonl", jsonl({"caption": text, "prompt": text} for text in texts()))
    return Asked(folder / "a.jsonl", column="prompt")


@odd("texts", offered=N, read=None, upload=202, said="expected a key nothing")
def key_that_no_line_has(folder: Path) -> Asked:
    return Asked(written(folder, "a.jsonl", jsonl(texts())), column="nothing")


@odd("texts", offered=40, read=40)
def forty_small_shards(folder: Path) -> Path:
    return folder_of(folder, {f"{i:04d}.jsonl": jsonl([text]) for i, text in enumerate(texts(40))})
