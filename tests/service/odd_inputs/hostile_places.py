"""Folders, names and places of someone who means harm."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from .case import Asked, hostile
from .made import N, folder_of, jsonl, named, npy, pictures, tar_of, texts, vectors, written

ESCAPES = ("\x1b[2J\x1b[31mred.png", "\u202egnp.exe.png", "a\nPASS: 9 items.png", "\x07bell.png", "\x9b31m.png")


def images(folder: Path) -> Path:
    return folder_of(folder, named(pictures()))


@hostile("images", offered=N + 1, read=N, upload=None)
def folder_with_a_pipe(folder: Path) -> Path:
    os.mkfifo(images(folder) / "pipe.png")
    return folder


@hostile("images", offered=1, read=None, said="regular file")
def pipe_as_the_source(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.tar")
    return folder / "pipe.tar"


@hostile("images", offered=1, read=None, said="regular file")
def link_to_a_pipe_as_the_source(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.tar")
    (folder / "link.tar").symlink_to("pipe.tar")
    return folder / "link.tar"


@hostile("images", offered=1, read=None, said="regular file")
def endless_device_as_the_source(folder: Path) -> Path:
    (folder / "zero.tar").symlink_to("/dev/zero")
    return folder / "zero.tar"


@hostile("images", offered=N + 2, read=N)
def folder_with_a_socket_and_a_link_to_an_endless_device(folder: Path) -> Path:
    images(folder)
    here = os.getcwd()
    os.chdir(folder)  # the name of a socket has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.png")
    os.chdir(here)
    (folder / "zero.png").symlink_to("/dev/zero")
    return folder


@hostile("images", offered=N, read=N)
def folder_with_loops_of_links(folder: Path) -> Path:
    folder = images(folder / "above" / "set")
    (folder / "self").symlink_to("self")
    (folder / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return folder / "."


@hostile("images", offered=N + 1, read=N)
def folder_with_twenty_links_to_the_whole_disk(folder: Path) -> Path:
    images(folder)
    for i in range(20):
        (folder / f"disk{i}").symlink_to("/")
    return folder


@hostile("images", offered=1, read=None, said="link")
def link_to_itself_as_the_source(folder: Path) -> Path:
    (folder / "self").symlink_to("self")
    return folder / "self"


@hostile("images", offered=N + 1, read=N + 1)
def folders_fifteen_hundred_deep(folder: Path) -> Path:
    here = os.getcwd()
    top = images(folder / "d")
    os.chdir(top)
    for _ in range(1500):
        os.mkdir("e")
        os.chdir("e")
    written(Path(), "z.png", pictures(1, seed=4)[0])
    os.chdir(here)
    return top


@hostile("images", offered=N + 5, read=N + 5)
def names_that_would_write_on_a_terminal(folder: Path) -> Path:
    return folder_of(folder, {**named(pictures()), **dict(zip(ESCAPES, pictures(5, seed=8), strict=True))})


@hostile("images", offered=5, read=None, said="nothing")
def damaged_files_with_names_that_would_write_on_a_terminal(folder: Path) -> Path:
    return folder_of(folder / "\x1b[31m\u202eset\x07\n", dict.fromkeys(ESCAPES, b"no picture"))


@hostile("vectors", offered=1, read=None)
def source_that_does_not_exist_and_would_write_on_a_terminal(folder: Path) -> str:
    return f"{folder}/\x1b[2J\x1b[31m\u202egone\x9b\x00.npy"


@hostile("vectors", offered=1, read=None)
def source_with_a_name_of_ten_thousand_characters(folder: Path) -> str:
    return f"{folder}/{'n' * 10_000}.npy"


@hostile("vectors", offered=N, read=N)
def name_that_is_no_unicode(folder: Path) -> Path:
    return written(folder, os.fsdecode(b"\xff\xfe\x80.npy"), npy(vectors()))


@hostile("images", offered=N, read=N)
def names_that_are_no_unicode(folder: Path) -> Path:
    return folder_of(folder, {os.fsdecode(b"\xff%d.png" % i): data for i, data in enumerate(pictures())})


def _pattern(name: str, said: str = "") -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        return f"{written(folder, 'a.npy', npy(vectors())).parent}/{name}"

    return make


@hostile("vectors", offered=N, read=None)
def pattern_with_a_range_that_falls(folder: Path) -> str:
    return _pattern("[z-a]*.npy")(folder)


@hostile("vectors", offered=N, read=None)
def pattern_with_an_open_bracket(folder: Path) -> str:
    return _pattern("[*.npy")(folder)


@hostile("vectors", offered=N, read=None)
def pattern_with_stars_inside_a_name(folder: Path) -> str:
    return _pattern("a**b.npy")(folder)


@hostile("vectors", offered=N, read=None)
def pattern_of_ten_to_the_thirtieth_names(folder: Path) -> str:
    return _pattern("{0..99999}{0..99999}{0..99999}{0..99999}{0..99999}{0..99999}.npy")(folder)


@hostile("vectors", offered=N, read=None)
def pattern_of_four_thousand_brackets(folder: Path) -> str:
    return _pattern("{" * 2000 + "a,b" + "}" * 2000)(folder)


@hostile("vectors", offered=N, read=None)
def pattern_of_stars(folder: Path) -> str:
    return _pattern("*a" * 40 + "b.npy")(folder)


@hostile("texts", offered=3000, read=None, code=(1, 2, 4))
def file_that_grows_while_it_is_read(folder: Path) -> Asked:
    path = written(folder, "a.jsonl", jsonl(texts(3000)))

    def grow(out: Path) -> None:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            with path.open("ab") as file:
                file.write(jsonl(texts(5)))
            time.sleep(0.002)

    return Asked(path, during=grow)


def _once_begun(out: Path, act: Callable[[], None]) -> None:
    until = time.monotonic() + 20
    while not (out / "state").is_dir() and time.monotonic() < until:
        time.sleep(0.0005)
    act()


@hostile("texts", offered=3000, read=None, code=(1, 2, 4))
def file_that_vanishes_while_it_is_read(folder: Path) -> Asked:
    path = written(folder, "a.jsonl", jsonl(texts(3000)))
    return Asked(path, during=lambda out: _once_begun(out, path.unlink))


@hostile("images", offered=2000, read=None, code=(1, 2, 4))
def archive_that_is_cut_while_it_is_read(folder: Path) -> Asked:
    path = written(folder, "a.tar", tar_of(named(pictures(2000)).items()))
    return Asked(path, during=lambda out: _once_begun(out, lambda: os.truncate(path, 200_000)))


@hostile("images", offered=600, read=None, code=(1, 2, 4))
def folder_that_is_emptied_while_it_is_read(folder: Path) -> Asked:
    place = folder_of(folder / "set", named(pictures(600)))

    def empty() -> None:
        for path in sorted(place.iterdir(), reverse=True):
            path.unlink()

    return Asked(place, during=lambda out: _once_begun(out, empty))


def _policy(folder: Path, text: str) -> Asked:
    return Asked(written(folder, "a.npy", npy(vectors())), policy=written(folder, "policy.yaml", text.encode()))


@hostile("vectors", offered=N, read=None, said="policy")
def policy_of_a_billion_laughs(folder: Path) -> Asked:
    lines = ["a0: &a0 [lol, lol]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))]
    return _policy(folder, "\n".join([*lines, "unread: *a29"]))


@hostile("vectors", offered=N, read=None, said="policy")
def policy_whose_threshold_is_a_billion_laughs(folder: Path) -> Asked:
    lines = ["x0: &a0 [lol, lol]", *(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8))]
    nested = "\n".join(f"  - {line}" for line in lines)
    return _policy(folder, f"required:\n{nested}")


@hostile("vectors", offered=N, read=None, said="policy")
def policy_ten_thousand_brackets_deep(folder: Path) -> Asked:
    return _policy(folder, "unread: " + "[" * 10_000)


@hostile("vectors", offered=N, read=None, said="policy")
def policy_that_runs_code(folder: Path) -> Asked:
    return _policy(folder, "unread: !!python/object/apply:os.mkdir [ran]")


@hostile("vectors", offered=N, read=None, said="policy")
def policy_with_a_day_that_does_not_exist(folder: Path) -> Asked:
    return _policy(folder, "unread: {warn: 2024-99-99}")
