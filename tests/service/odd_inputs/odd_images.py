"""Pictures as people have them."""

import gzip
import json
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from .case import odd
from .made import MIB, N, folder_of, named, picture, pictures, saved, tar_of, written, zip_of


def various() -> dict[str, bytes]:
    """One picture in many formats and colours, none of them read by its suffix alone."""
    base = picture(24)
    wide = Image.fromarray((np.arange(24 * 24, dtype=np.uint16).reshape(24, 24) * 113).astype(np.uint16))
    return {
        "cmyk.jpg": saved(base.convert("CMYK"), "JPEG"),
        "grey.jpg": saved(base.convert("L"), "JPEG"),
        "sixteen.png": saved(wide, "PNG"),
        "one-bit.png": saved(base.convert("1"), "PNG"),
        "palette.png": saved(base.convert("P"), "PNG"),
        "palette.gif": saved(base.convert("P"), "GIF"),
        "alpha.png": saved(base.convert("RGBA"), "PNG"),
        "grey-alpha.png": saved(base.convert("LA"), "PNG"),
        "lab.tiff": saved(base, "TIFF", compression="tiff_lzw"),
        "photo.jfif": saved(base, "JPEG"),
        "photo.JPG": saved(base, "JPEG"),
        "photo.avif": saved(base, "AVIF"),
        "photo.jp2": saved(base, "JPEG2000"),
        "photo.WebP": saved(base, "WEBP"),
        "photo.bmp": saved(base, "BMP"),
        "photo.ppm": saved(base, "PPM"),
        "photo": saved(base, "PNG"),
        "wrong.txt.png": saved(base, "JPEG"),
        "also.dat": saved(base, "WEBP"),
    }


@odd("images", offered=19, read=19)
def folder_of_many_formats(folder: Path) -> Path:
    return folder_of(folder, various())


@odd("images", offered=19, read=19, upload=202)
def zip_of_many_formats(folder: Path) -> Path:
    return written(folder, "a.zip", zip_of(various().items()))


@odd("images", offered=19, read=19, upload=202)
def tar_of_many_formats(folder: Path) -> Path:
    return written(folder, "a.tgz", gzip.compress(tar_of(various().items())))


@odd("images", offered=3, read=3)
def pictures_with_megabytes_of_metadata(folder: Path) -> Path:
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "{}" * (2 * MIB))
    packed = PngImagePlugin.PngInfo()
    packed.add_text("workflow", "{}" * (2 * MIB), zip=True)
    noise = np.random.default_rng(1).bytes(3 * MIB)
    return folder_of(folder, {
        "text.png": saved(picture(), "PNG", pnginfo=text), "packed.png": saved(picture(), "PNG", pnginfo=packed),
        "profile.jpg": saved(picture(), "JPEG", icc_profile=noise),
    })  # fmt: skip


@odd("images", offered=1, read=1)
def one_picture_as_the_source(folder: Path) -> Path:
    return written(folder, "a.png", pictures(1)[0])


@odd("images", offered=1, read=None, upload=415)
def one_picture_as_an_upload(folder: Path) -> Path:
    return written(folder, "b.txt", b"no picture at all")


@odd("images", offered=300, read=300)
def three_hundred_copies_of_one_picture(folder: Path) -> Path:
    return folder_of(folder, named(pictures(1) * 300))


@odd("images", offered=N + 2, read=N)
def empty_files_and_folders_among_pictures(folder: Path) -> Path:
    (folder / "empty" / "deep").mkdir(parents=True)
    return folder_of(folder, {**named(pictures()), "x.png": b"", "empty/y.jpg": b"", "empty/z.txt": b""})


@odd("images", offered=0, read=None, said="no files")
def empty_folder(folder: Path) -> Path:
    return folder


@odd("images", offered=0, read=None)
def folder_of_empty_folders(folder: Path) -> Path:
    (folder / "a" / "b").mkdir(parents=True)
    return folder


@odd("images", offered=9, read=None)
def folder_in_which_nothing_can_be_read(folder: Path) -> Path:
    return folder_of(folder, named([data[:40] for data in pictures(9)]))


@odd("images", offered=0, read=None, upload=202)
def zip_of_nothing(folder: Path) -> Path:
    return written(folder, "a.zip", zip_of([]))


@odd("images", offered=0, read=None, upload=415)
def tar_of_nothing(folder: Path) -> Path:
    return written(folder, "a.tar", tar_of([]))


@odd("images", offered=N, read=N)
def captions_beside_pictures(folder: Path) -> Path:
    files: dict[str, bytes] = {}
    for name, data in named(pictures()).items():
        stem = name.removesuffix(".png")
        files |= {name: data, f"{stem}.txt": b"a caption", f"{stem}.json": b"{}", f"{stem}.npy": b"x"}
    return folder_of(folder, files)


@odd("images", offered=N, read=N)
def captions_without_pictures(folder: Path) -> Path:
    return folder_of(folder, {**named(pictures()), "y.txt": b"a caption", "z.caption": b"another", "z.cls": b"3"})


@odd("images", offered=N, read=N)
def image_folder_with_a_list_of_its_files(folder: Path) -> Path:
    names = list(named(pictures()))
    lines = "".join(json.dumps({"file_name": f"train/{name}", "text": "x"}) + "\n" for name in names)
    files = {f"train/{name}": data for name, data in named(pictures()).items()}
    return folder_of(
        folder, {**files, "metadata.jsonl": lines.encode(), "README.md": b"# set", "train/labels.csv": b"a,b\n"}
    )


@odd("images", offered=2 * N, read=2 * N)
def shards_of_img2dataset(folder: Path) -> Path:
    import pyarrow as pa

    from .made import parquet

    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for i, data in enumerate(pictures(seed=shard)):
            stem = f"{shard:05d}{i:04d}"
            members += [(f"{stem}.jpg", data), (f"{stem}.txt", b"caption"), (f"{stem}.json", b'{"key": 1}')]
        written(folder, f"{shard:05d}.tar", tar_of(members))
        written(folder, f"{shard:05d}_stats.json", b"{}")
        parquet(folder / f"{shard:05d}.parquet", pa.table({"url": ["http://x"] * N, "key": ["1"] * N}))
    return folder


@odd("images", offered=N, read=N, upload=202)
def tar_of_a_folder_with_dots_before_its_names(folder: Path) -> Path:
    return written(folder, "a.tar", tar_of([(f"./set/{name}", data) for name, data in named(pictures()).items()]))


@odd("images", offered=2 * N, read=N, upload=202)
def tar_with_each_name_twice(folder: Path) -> Path:
    twice = [*named(pictures()).items(), *named(pictures(seed=9)).items()]
    return written(folder, "a.tar", tar_of(twice))


@odd("images", offered=N, read=N, upload=202)
def tar_without_an_end(folder: Path) -> Path:
    data = tar_of(named(pictures()).items())
    return written(folder, "a.tar", data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0"))


@odd("images", offered=N, read=N)
def archives_in_upper_case(folder: Path) -> Path:
    written(folder, "A.TAR", tar_of(named(pictures(6)).items()))
    return written(folder, "B.ZIP", zip_of(named(pictures(6, seed=2)).items())).parent


@odd("images", offered=N, read=N, upload=202)
def archive_under_a_wrong_name(folder: Path) -> Path:
    return written(folder, "a.tar", zip_of(named(pictures()).items()))


@odd("images", offered=N, read=N)
def archive_without_a_suffix(folder: Path) -> Path:
    return written(folder, "data", tar_of(named(pictures()).items()))


@odd("images", offered=N, read=N)
def pictures_nested_fifty_folders_deep(folder: Path) -> Path:
    return folder_of(folder, {f"{'d/' * 50}{name}": data for name, data in named(pictures()).items()})


@odd("images", offered=N + 2, read=N + 1)
def pictures_beside_system_files(folder: Path) -> Path:
    junk = {
        ".DS_Store": b"\0\0\0\1Bud1",
        "._0000.png": b"\0\5\x16\7",
        "Thumbs.db": b"\xd0\xcf",
        ".hidden.png": pictures(1, seed=8)[0],
    }
    return folder_of(folder, {**named(pictures()), **junk, "video.mp4": b"\0\0\0\x18ftypmp42" + bytes(50)})
