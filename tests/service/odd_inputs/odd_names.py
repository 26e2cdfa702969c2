"""Sources written as people write them."""

import os
from pathlib import Path

from .case import Asked, odd
from .made import N, folder_of, named, npy, pictures, vectors


def array(folder: Path, name: str = "a.npy", seed: int = 3) -> Path:
    return folder_of(folder, {name: npy(vectors(seed=seed))}) / name


def _of_name(name: str) -> None:
    def make(folder: Path) -> Path:
        return folder_of(folder / name, named(pictures()))

    make.__name__ = f"folder_called_{name}"
    odd("images", offered=N, read=N)(make)


for each in (
    "set [v2]",
    "{a,b}",
    "100% #1",
    "a?b*c",
    "with space ",
    "äöü 日本",
    "-rf",
    "a&b;c",
    "~",
    "x::y",
    "1..3",
    "{0..2}",
):
    _of_name(each)


@odd("vectors", offered=N, read=N)
def path_with_another_spelling(folder: Path) -> str:
    return f"{array(folder).parent}//./../{folder.name}/a.npy"


@odd("vectors", offered=N, read=N)
def path_with_a_slash_behind_a_folder(folder: Path) -> str:
    return f"{array(folder).parent}///"


@odd("vectors", offered=N, read=N)
def path_relative_to_the_working_folder(folder: Path) -> Asked:
    array(folder)
    return Asked("./a.npy", working_folder=folder)


@odd("vectors", offered=N, read=N)
def working_folder_itself(folder: Path) -> Asked:
    array(folder)
    return Asked(".", working_folder=folder)


@odd("vectors", offered=N, read=N)
def path_from_the_home_folder(folder: Path) -> str:
    return "~/" + os.path.relpath(array(folder), Path.home())


@odd("vectors", offered=N, read=N)
def address_of_a_local_file(folder: Path) -> str:
    return f"file://{array(folder)}"


@odd("vectors", offered=0, read=None)
def address_of_a_local_file_that_is_none(folder: Path) -> str:
    return f"file://{folder}/gone.npy"


@odd("vectors", offered=0, read=None)
def address_of_an_unknown_kind(folder: Path) -> str:
    return "gopher://example/a.npy"


@odd("vectors", offered=0, read=None, said="empty name")
def empty_name(folder: Path) -> str:
    return ""


@odd("vectors", offered=0, read=None, said="empty name")
def name_of_spaces(folder: Path) -> str:
    return "   "


@odd("vectors", offered=N, read=N)
def link_to_a_file_as_the_source(folder: Path) -> Path:
    array(folder, "real.npy")
    (folder / "link.npy").symlink_to("real.npy")
    return folder / "link.npy"


@odd("images", offered=N, read=N)
def link_to_a_folder_as_the_source(folder: Path) -> Path:
    folder_of(folder / "real", named(pictures()))
    (folder / "link").symlink_to("real")
    return folder / "link"


@odd("images", offered=N + 1, read=N)
def dangling_link_among_pictures(folder: Path) -> Path:
    folder_of(folder, named(pictures()))
    (folder / "gone.png").symlink_to("nowhere.png")
    return folder


@odd("images", offered=1, read=None, said="link")
def dangling_link_as_the_source(folder: Path) -> Path:
    (folder / "gone").symlink_to("nowhere")
    return folder / "gone"


@odd("images", offered=N, read=None, said="symbolic links")
def folder_of_links_alone(folder: Path) -> Path:
    folder_of(folder / "real", named(pictures()))
    (folder / "set").mkdir()
    for name in named(pictures()):
        (folder / "set" / name).symlink_to(folder / "real" / name)
    return folder / "set"


@odd("vectors", offered=2 * N, read=2 * N)
def pattern_of_two_files(folder: Path) -> str:
    array(folder, "a0.npy")
    return str(array(folder, "a1.npy", seed=9).parent / "a{0..1}.npy")


@odd("vectors", offered=N, read=None, said="no such file")
def pattern_of_which_one_file_is_missing(folder: Path) -> str:
    return str(array(folder, "a0.npy").parent / "a{0,1}.npy")


@odd("vectors", offered=N, read=None)
def pattern_that_matches_nothing(folder: Path) -> str:
    return str(array(folder).parent / "*.parquet")


@odd("vectors", offered=N, read=N)
def pattern_of_stars_in_folders(folder: Path) -> str:
    array(folder, "x/y/a.npy")
    return f"{folder}/**/*.npy"


@odd("vectors", offered=N, read=None, said="inside the source")
def results_inside_the_source(folder: Path) -> Asked:
    array(folder)
    return Asked(folder, out=folder / "audit")


@odd("vectors", offered=N, read=None, said="is a file")
def results_below_a_file(folder: Path) -> Asked:
    return Asked(array(folder), out=array(folder) / "audit")


@odd("vectors", offered=N, read=None)
def results_behind_a_dangling_link(folder: Path) -> Asked:
    (folder / "link").symlink_to("/nonexistent/place")
    return Asked(array(folder), out=folder / "link")


@odd("vectors", offered=N, read=None)
def results_behind_a_loop_of_links(folder: Path) -> Asked:
    (folder / "loop").symlink_to("loop")
    return Asked(array(folder), out=folder / "loop" / "audit")


@odd("vectors", offered=N, read=None)
def results_under_a_name_that_is_too_long(folder: Path) -> Asked:
    return Asked(array(folder), out=folder.parent / ("n" * 300))


@odd("vectors", offered=N, read=None)
def results_that_would_be_a_device(folder: Path) -> Asked:
    return Asked(array(folder), out="/dev/null")


def _policy(folder: Path, text: bytes | None) -> Asked:
    path = folder / "policy.yaml"
    if text is not None:
        path.write_bytes(text)
    return Asked(array(folder), policy=path)


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_is_missing(folder: Path) -> Asked:
    return _policy(folder, None)


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_is_a_folder(folder: Path) -> Asked:
    (folder / "policy.yaml").mkdir()
    return _policy(folder, None)


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_is_empty(folder: Path) -> Asked:
    return _policy(folder, b"")


@odd("vectors", offered=N, read=None, said="policy")
def policy_in_latin_1(folder: Path) -> Asked:
    return _policy(folder, "unread: {warn: 0.1} # été".encode("latin-1"))


@odd("vectors", offered=N, read=None, said="policy")
def policy_in_percent(folder: Path) -> Asked:
    return _policy(folder, b"unread: {warn: 5, fail: 20}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_is_upside_down(folder: Path) -> Asked:
    return _policy(folder, b"unread: {warn: 0.5, fail: 0.2}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_with_words_for_numbers(folder: Path) -> Asked:
    return _policy(folder, b"unread: {warn: low, fail: .nan}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_of_no_number(folder: Path) -> Asked:
    return _policy(folder, b"unread: {warn: .nan, fail: .nan}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_with_an_unknown_check(folder: Path) -> Asked:
    return _policy(folder, b"unreed: {warn: 0.1}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_compares_a_list(folder: Path) -> Asked:
    return _policy(folder, b"unread: {compare: [low]}")


@odd("vectors", offered=N, read=None, said="policy")
def policy_that_requires_a_mapping(folder: Path) -> Asked:
    return _policy(folder, b"required: [{a: 1}, [2]]")


@odd("vectors", offered=N, read=N)
def policy_with_a_mark_and_ends_of_windows(folder: Path) -> Asked:
    return _policy(folder, b"\xef\xbb\xbfunread: {warn: 0.02, fail: 0.2}\r\nrequired: [unread, synthetic_fraction]\r\n")
