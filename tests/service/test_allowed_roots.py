import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.errors import InputError
from service.allowed_roots import AllowedRoots, Forbidden


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "secret.jsonl").write_text('{"text": "secret"}\n')
    (tmp_path / "data-too").mkdir()
    (folder / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (folder / "out").symlink_to(tmp_path)
    return folder


@pytest.fixture
def roots(data: Path) -> AllowedRoots:
    return AllowedRoots.of([str(data), "s3://bucket/sets", "https://192.0.2.1/sets/"])


@pytest.mark.parametrize("name", ["", "/a.jsonl", "/inner", "/*.jsonl", "/{a,b}.jsonl", "/part-[0-9].tar"])
def test_what_lies_under_a_folder_is_allowed(roots: AllowedRoots, data: Path, name: str) -> None:
    assert roots.check(f"{data}{name}") == f"{data}{name}"


@pytest.mark.parametrize(
    "name",
    [
        "/../secret.jsonl", "/link.jsonl", "/out/secret.jsonl", "/out/*.jsonl", "-too/x", "/{a,../secret}.jsonl",
        "/{a,out/secret}.jsonl", "/inner/../../secret.jsonl", "/a.jsonl\0", "/x/..",
    ],
)  # fmt: skip
def test_what_leads_out_of_a_folder_is_not(roots: AllowedRoots, data: Path, name: str) -> None:
    with pytest.raises(Forbidden):
        roots.check(f"{data}{name}")


@pytest.mark.parametrize(
    "spec",
    [
        "/etc/passwd", "etc", "", "~", "~root", "file:///etc/passwd", "FILE:///etc/passwd", "local:///etc/passwd",
        "zip://x::file:///a.zip", "simplecache::s3://bucket/sets/a", "s3://bucket/sets-too/a", "s3://bucket/sets/../x",
        "s3://bucket/%2e%2e/x", "s3://me@bucket/sets/a", "s3://other/sets/a", "memory://a", "github://a:b@main/x",
        "https://192.0.2.1/sets/x", "http://192.0.2.1/sets/x", "https://192.0.2.1:8080/sets/x",
        "https://192.0.2.1@127.0.0.1/sets/x", "https:\\\\192.0.2.1/sets", "data:,x", "ftp://192.0.2.1/sets/a",
    ],
)  # fmt: skip
def test_what_lies_elsewhere_is_not(roots: AllowedRoots, spec: str) -> None:
    with pytest.raises(Forbidden):
        roots.check(spec)


def test_a_url_under_a_prefix_is_allowed_by_whole_parts(roots: AllowedRoots) -> None:
    assert roots.check("s3://bucket/sets/2024/{000..003}.tar")
    assert roots.check("s3://bucket/sets")


def test_a_public_address_is_allowed_and_a_private_one_is_not() -> None:
    public, private = "https://8.8.8.8/sets", "https://10.0.0.1/sets"
    roots = AllowedRoots.of([public, private, "https://[0:0:0:0:0:0:0:1]/sets", "https://169.254.169.254/sets"])
    assert roots.check(f"{public}/a.tar")
    for spec in (f"{private}/a.tar", "https://[0:0:0:0:0:0:0:1]/sets/a", "https://169.254.169.254/sets/a"):
        with pytest.raises(Forbidden, match="private"):
            roots.check(spec)
    assert AllowedRoots.of([private], allow_private=True).check(f"{private}/a.tar")


@pytest.mark.parametrize("root", ["data", "./data", ""])
def test_a_root_that_depends_on_where_one_stands_is_refused(root: str) -> None:
    with pytest.raises(InputError, match="neither an absolute path"):
        AllowedRoots.of([root])


def in_another_process(roots: AllowedRoots, spec: str) -> str:
    """The texts of a source, or the reasons why there are none, read where nothing but the roots may be opened."""
    code = f"""
from service.allowed_roots import AllowedRoots, confine
from indexes.sources import open_source
from indexes.records import Skip
confine({roots!r})
try:
    for shard in open_source({spec!r}, kind="text").shards:
        for found in shard.read():
            print("skipped " + found.reason if isinstance(found, Skip) else "read " + found.data)
except Exception as error:
    print(type(error).__name__, error)
"""
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True).stdout


def test_a_worker_opens_nothing_that_became_a_link_after_the_check(roots: AllowedRoots, data: Path) -> None:
    assert "read one" in in_another_process(roots, f"{data}/a.jsonl")
    assert "outside what may be read" in in_another_process(roots, f"{data}/link.jsonl")
    assert "outside what may be read" in in_another_process(roots, f"{data}/../secret.jsonl")


class Redirecting(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        if self.path.startswith("/sets/moved"):
            self.send_response(302)
            self.send_header("Location", "/secret.jsonl")
            self.end_headers()
        else:
            super().do_GET()

    do_HEAD = do_GET


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "secret.jsonl").write_text('{"text": "secret"}\n')
    handler = functools.partial(Redirecting, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_a_redirect_is_not_followed(server: str) -> None:
    roots = AllowedRoots.of([f"{server}/sets"], allow_private=True)
    assert "read one" in in_another_process(roots, f"{server}/sets/a.jsonl")
    moved = in_another_process(roots, f"{server}/sets/moved.jsonl")
    assert moved
    assert "secret" not in moved.replace("secret.jsonl", "")


def test_a_host_whose_name_leads_to_a_private_address_is_not_asked(server: str) -> None:
    named = server.replace("127.0.0.1", "localhost")
    found = in_another_process(AllowedRoots.of([f"{named}/sets"]), f"{named}/sets/a.jsonl")
    assert "read" not in found
    assert "private address" in found
