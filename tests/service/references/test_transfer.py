import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexes.errors import ArtifactError, AuditError, InputError
from service.references.file import names_in, pack, unpack
from service.references.transfer import export_reference, import_reference
from service.settings import Settings

Command = Any
World = Any


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the world's reference `vectors`."""
    path = tmp_path_factory.mktemp("exported") / "vectors.reference"
    export_reference("vectors", path, settings=Settings(world.home))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "home")


def left_in(settings: Settings) -> list[str]:
    return sorted(os.listdir(settings.references)) if settings.references.exists() else []


def refused(path: Path, settings: Settings, kind: type[AuditError], name: str | None = None) -> str:
    """What an import says that refuses a file, in one line and with nothing left behind."""
    with pytest.raises(kind) as caught:
        import_reference(path, name, settings=settings)
    assert "\n" not in str(caught.value)
    assert left_in(settings) == []
    return str(caught.value)


# to another machine


@pytest.mark.parametrize("name", ["vectors", "images", "texts"])
def test_an_audit_with_the_imported_reference_gives_the_bytes_of_one_with_the_original(
    world: World, madaudit: Command, name: str, tmp_path: Path, make: SimpleNamespace
) -> None:
    source = {"vectors": "fake.npy", "images": "fake", "texts": "fake.jsonl"}[name]
    file = tmp_path / "r.tar"
    assert madaudit("reference export", name, file, "--json").json["name"] == name
    other = tmp_path / "other"
    outcome = make.run("reference", "import", file, "renamed", "--home", other, "--json")
    assert outcome.err == ""
    imported = outcome.json
    assert (imported["name"], imported["weights"]) == ("renamed", [])
    here = madaudit("audit", world.data / source, "--reference", name, "--out", tmp_path / "a", "--json").json
    there = make.run(
        "audit", world.data / source, "--reference", "renamed", "--out", tmp_path / "b", "--json", "--home", other,
        "--quiet", "--device", "cpu", "--workers", 1,
    ).json  # fmt: skip
    assert there["reference"].pop("name") == "renamed"
    assert here["reference"].pop("name") == name
    assert make.comparable(here) == make.comparable(there)
    for item in (tmp_path / "a" / "items").iterdir():
        assert item.read_bytes() == (tmp_path / "b" / "items" / item.name).read_bytes()


def test_an_imported_reference_is_listed_and_shown_under_its_name(
    exported: Path, tmp_path: Path, make: SimpleNamespace
) -> None:
    at_home = ("--home", tmp_path / "home", "--json")
    make.run("reference", "import", exported, *at_home)
    make.run("reference", "import", exported, "second", *at_home)
    listed = make.run("reference", "list", *at_home).json
    assert [one["name"] for one in listed] == ["second", "vectors"]
    assert len({one["identity"] for one in listed}) == 1
    assert make.run("reference", "show", "second", *at_home).json["name"] == "second"


def test_the_same_reference_gives_the_same_file_also_after_an_import(
    exported: Path, home: Settings, tmp_path: Path
) -> None:
    import_reference(exported, None, settings=home)
    export_reference("vectors", tmp_path / "again.tar", settings=home)
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()


def test_the_file_is_a_tar_of_the_known_names_and_of_no_others(exported: Path) -> None:
    with tarfile.open(exported) as archive:
        names = archive.getnames()
    assert names[0] == "reference-file.json"
    assert names[1:] == [
        "evidence/ids.json", "evidence/manifest.json", "evidence/vectors.npy", "fitted.npz", "manifest.json",
        "semantic/ids.json", "semantic/manifest.json", "semantic/vectors.npy",
    ]  # fmt: skip


def test_an_export_overwrites_only_when_told_and_leaves_nothing_else(world: World, tmp_path: Path) -> None:
    path, settings = tmp_path / "r.tar", Settings(world.home)
    path.write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        export_reference("vectors", path, settings=settings)
    assert path.read_text() == "mine"
    export_reference("vectors", path, settings=settings, overwrite=True)
    assert os.listdir(tmp_path) == ["r.tar"]


@pytest.mark.parametrize("place", ["", "missing/r.tar", "dangling"])
def test_an_export_that_cannot_be_written_is_one_line(world: World, tmp_path: Path, place: str) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(AuditError):
        export_reference("vectors", tmp_path / place, settings=Settings(world.home))
    assert os.listdir(tmp_path) == ["dangling"]


@pytest.mark.parametrize("name", ["unknown", "../vectors", "", ".hidden"])
def test_an_unknown_reference_cannot_be_exported(world: World, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no reference is called.*vectors|is not a valid reference name"):
        export_reference(name, tmp_path / "r.tar", settings=Settings(world.home))


def test_a_taken_name_is_refused_or_replaced(exported: Path, home: Settings) -> None:
    import_reference(exported, None, settings=home)
    before = (home.references / "vectors" / "manifest.json").stat().st_ino
    with pytest.raises(InputError, match="exists"):
        import_reference(exported, None, settings=home)
    assert (home.references / "vectors" / "manifest.json").stat().st_ino == before
    import_reference(exported, None, settings=home, overwrite=True)
    assert (home.references / "vectors" / "manifest.json").stat().st_ino != before
    assert left_in(home) == ["vectors"]


def test_a_failed_import_leaves_the_reference_that_it_was_to_replace(
    exported: Path, home: Settings, tmp_path: Path
) -> None:
    import_reference(exported, None, settings=home)
    (tmp_path / "cut").write_bytes(exported.read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        import_reference(tmp_path / "cut", "vectors", settings=home, overwrite=True)
    assert left_in(home) == ["vectors"]
    export_reference("vectors", tmp_path / "r.tar", settings=home)


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a b", "x" * 101, "ü"])
def test_a_name_must_be_one(exported: Path, home: Settings, name: str) -> None:
    assert "is not a valid reference name" in refused(exported, home, InputError, name)


# damaged files


def test_every_cut_and_every_addition_is_told(exported: Path, home: Settings, tmp_path: Path) -> None:
    content = exported.read_bytes()
    for length in np.linspace(0, len(content) - 1, 20).astype(int):
        (tmp_path / "cut").write_bytes(content[:length])
        refused(tmp_path / "cut", home, AuditError)
    for added in (b"\0", bytes(10240), content, b"garbage" * 100):
        (tmp_path / "longer").write_bytes(content + added)
        assert "added to" in refused(tmp_path / "longer", home, ArtifactError)


def test_every_damaged_byte_is_told(exported: Path, home: Settings, tmp_path: Path) -> None:
    content = exported.read_bytes()
    places = {*np.linspace(0, len(content) - 1, 20).astype(int).tolist(), *range(0, 3000, 97), 130, 156, 257, 300}
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        refused(tmp_path / "damaged", home, AuditError)


def _tar(path: Path, *names: str, mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the mode is a plain text here
        for name in names:
            archive.addfile(tarfile.TarInfo(name))


@pytest.mark.parametrize("kind", ["empty", "text", "zip", "tar", "names", "gzip", "folder", "missing", "fifo", "long"])
def test_another_kind_of_file_is_told(kind: str, exported: Path, home: Settings, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300 if kind == "long" else "file")
    makers: dict[str, Callable[[], Any]] = {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("hello" * 1000),
        "zip": lambda: zipfile.ZipFile(path, "w").close(),
        "tar": lambda: _tar(path, "../../etc/passwd"),
        "names": lambda: _tar(path, "reference-file.json", "manifest.json"),
        "gzip": lambda: _tar(path, "reference-file.json", mode="w:gz"),
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }
    makers.get(kind, lambda: None)()
    assert "madaudit reference export" in refused(path, home, InputError)


def test_a_newer_schema_is_told(exported: Path, home: Settings, tmp_path: Path) -> None:
    content = exported.read_bytes().replace(b'"madaudit/reference-file/1"', b'"madaudit/reference-file/9"', 1)
    (tmp_path / "newer").write_bytes(content)
    assert "update madaudit here" in refused(tmp_path / "newer", home, ArtifactError)


# files whose digests are right and whose content is hostile


@pytest.fixture
def forge(exported: Path, tmp_path: Path) -> Callable[[Callable[[Path], Any]], Path]:
    """Makes a file that is well packed around a reference that was changed by hand."""

    def make(change: Callable[[Path], Any], **fields: Any) -> Path:
        folder = tmp_path / "forged"
        folder.mkdir()
        unpack(exported, folder)
        change(folder)
        pack(folder, tmp_path / "forged.tar", {"name": "forged", "identity": "?", **fields})
        return tmp_path / "forged.tar"

    return make


def _fields(**changes: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _arrays(**changes: Any) -> Callable[[Path], Any]:
    """With some of the fitted arrays replaced."""

    def change(folder: Path) -> None:
        path = folder / "fitted.npz"
        with np.load(path) as stored:
            arrays = {**stored, **changes}
        np.savez(path, **arrays)
        _fields(bytes=path.stat().st_size)(folder)

    return change


def _text(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def _compressed(folder: Path) -> None:
    """Arrays of a gigabyte in a megabyte."""
    path = folder / "fitted.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mean.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**30,)})
        for _ in range(16):
            file.write(bytes(2**20))
    _fields(bytes=path.stat().st_size)(folder)


def _announcing(shape: tuple[int, ...]) -> Callable[[Path], Any]:
    """An array that announces more than it has."""

    def change(folder: Path) -> None:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(folder / "fitted.npz", "w") as archive:
            archive.writestr("mean.npy", buffer.getvalue() + bytes(64))
        _fields(bytes=(folder / "fitted.npz").stat().st_size)(folder)

    return change


class _Pickled:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was-unpickled"),))


def _pickled_vectors(folder: Path) -> None:
    np.save(folder / "evidence" / "vectors.npy", np.array([_Pickled()], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "change",
    [
        _fields(schema="madaudit/reference/99"),
        _fields(labels=["real"]),
        _fields(labels=["real", "real"]),
        _fields(n_real=0),
        _fields(n_real=3),
        _fields(skipped={"real": {"a": "b"}}),
        _fields(skipped={"other": {}}),
        _fields(traits=None),
        _fields(seed="0"),
        _fields(evidence={"spec": "embeddings:6"}),
        _fields(evidence={"spec": "clip:6", "fingerprint": "embeddings:6", "sees": "content", "kind": "vector"}),
        _fields(semantic=None),
        _fields(unread={"real": {"counted": "many"}}),
        _fields(identity=5),
        _text("manifest.json", "[" * 100_000),
        _text("manifest.json", "5"),
        _text("evidence/ids.json", "[" * 100_000),
        _text("evidence/ids.json", "[1, 2]"),
        _text("evidence/manifest.json", '{"schema": "madaudit/embeddings/1", "bytes": 5}'),
        _text("evidence/vectors.npy", "hello"),
        _text("fitted.npz", "hello"),
        _compressed,
        _announcing((2**62,)),
        _announcing((2**32, 2**32)),
        _announcing((20,)),
        _pickled_vectors,
        _arrays(mean=np.array([_Pickled()], dtype=object)),
        _arrays(mean=np.zeros(3)),
        _arrays(component=np.zeros(240, dtype=np.int64)),
        _arrays(component=np.full(240, 9)),
        _arrays(digests=np.zeros((2, 16), dtype=np.uint8)),
        _arrays(nearest=np.zeros(3)),
        _arrays(probe0_weights=np.zeros((1, 1))),
        _arrays(calibration=np.zeros(1)),
        _arrays(mean=np.array(["a", "b"])),
    ],
)
def test_a_forged_reference_is_refused_and_runs_nothing(
    forge: Any, home: Settings, change: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = forge(change)
    assert str(file) in refused(file, home, ArtifactError)
    assert not (tmp_path / "was-unpickled").exists()


def test_a_well_formed_copy_made_by_hand_is_taken(forge: Any, home: Settings) -> None:
    assert import_reference(forge(lambda folder: None), None, settings=home)["name"] == "forged"


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../b", ".x"])
def test_a_forged_name_is_refused(forge: Any, home: Settings, name: str) -> None:
    refused(forge(lambda folder: None, name=name), home, InputError)


@pytest.mark.parametrize("name", ["../escaped.npy", "/tmp/escaped.npy", "evidence/../../x", "evidence", "extra.npz"])
def test_a_file_of_another_name_is_refused(exported: Path, home: Settings, tmp_path: Path, name: str) -> None:
    """The manifest is sealed again, so that only the name is wrong."""
    content = exported.read_bytes()
    size = tarfile.TarInfo.frombuf(content[:512], "utf-8", "strict").size
    manifest = json.loads(content[512 : 512 + size])
    manifest["files"][name] = manifest["files"].pop("semantic/ids.json")
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, indent=1, sort_keys=True).encode()).hexdigest()
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    info = tarfile.TarInfo("reference-file.json")
    info.size = len(text)
    (tmp_path / "forged.tar").write_bytes(
        info.tobuf(tarfile.GNU_FORMAT) + text + bytes(-len(text) % 512) + content[512 + size + (-size % 512) :]
    )
    refused(tmp_path / "forged.tar", home, ArtifactError)
    assert not Path("/tmp/escaped.npy").exists()


def test_links_in_a_reference_are_exported_as_what_they_name(world: World, home: Settings, tmp_path: Path) -> None:
    shutil.copytree(world.home, home.home)
    ids = home.references / "vectors" / "evidence" / "ids.json"
    shutil.move(ids, tmp_path / "ids.json")
    ids.symlink_to(tmp_path / "ids.json")
    export_reference("vectors", tmp_path / "r.tar", settings=home)
    import_reference(tmp_path / "r.tar", "copy", settings=home)
    assert all(not (home.references / "copy" / name).is_symlink() for name in names_in(home.references / "copy"))


# weights


@pytest.mark.parametrize(
    ("spec", "found", "word"),
    [
        ("onnx:/gone/m.onnx", False, "audit with --weights onnx=PATH"),
        ("onnx:HERE", True, "digest is checked"),
        ("open_clip:ViT-B-32:openai", None, "downloaded by that name"),
        ("pixels:8+open_clip:ViT-B-32:/gone/a+b=c.pt", False, "audit with --weights open_clip:ViT-B-32=PATH"),
    ],
)
def test_an_import_says_whether_the_weights_are_here(
    forge: Any, tmp_path: Path, make: SimpleNamespace, spec: str, found: bool | None, word: str
) -> None:
    (tmp_path / "m.onnx").touch()
    spec = spec.replace("HERE", str(tmp_path / "m.onnx"))
    role = {"spec": spec, "fingerprint": "embeddings:6", "sees": "content", "kind": "vector"}
    file = forge(_fields(evidence=role, semantic=role))
    stated = make.run("reference", "import", file, "--home", tmp_path / "home", "--json").json["weights"]
    assert [one["found"] for one in stated] == [found]
    told = make.run("reference", "import", file, "--overwrite", "--home", tmp_path / "home")
    assert word in told.out


def test_an_import_looks_where_the_environment_says(
    forge: Any, home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").touch()
    monkeypatch.setenv("MADAUDIT_WEIGHTS", f"onnx={tmp_path / 'm.onnx'}")
    role = {"spec": "onnx:/gone/m.onnx", "fingerprint": "embeddings:6", "sees": "content", "kind": "vector"}
    imported = import_reference(forge(_fields(evidence=role)), None, settings=home)
    assert imported["encoder"] == "onnx:/gone/m.onnx"
    assert [(one["at"], one["found"]) for one in imported["weights"]] == [(str(tmp_path / "m.onnx"), True)]


@pytest.mark.parametrize("arguments", [("export", "vectors"), ("import",), ("import", "missing.tar")])
def test_the_commands_refuse_in_one_line(
    arguments: tuple[str, ...], tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = make.run("reference", *arguments, "--home", tmp_path / "home")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
