"""Requests by those who mean harm: each is refused with the right status, and nothing else happens."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

AUDITS, UPLOAD = "/v1/audits", "/v1/audits/upload?reference=vectors"
JSON_ROUTES = {
    AUDITS: {"source": "@", "reference": "vectors"},
    "/v1/references": {"name": "evil", "real": "@", "synthetic": [], "encoder": "embeddings"},
}
SECRETS = [
    "/etc/passwd", "{data}/../secret.npy", "{data}/link.npy", "{data}/out/secret.npy", "file:///etc/passwd",
    "zip://x::file:///etc/passwd", "http://127.0.0.1:22/x.npy", "http://169.254.169.254/latest", "~root/x",
    "{data}/{{incoming,../secret}}.npy", "{data}/*/../../secret.npy", "local://{data}/../secret.npy", "reference.npy",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def traps(service: Any) -> None:
    outside = service.data.parent / "secret.npy"
    np.save(outside, np.zeros((60, 8), dtype=np.float32))
    (service.data / "link.npy").symlink_to(outside)
    (service.data / "out").symlink_to(service.data.parent)


def is_problem(answer: Any, *statuses: int) -> bool:
    kind = answer.headers["content-type"]
    return answer.status_code in statuses and kind == "application/problem+json" and bool(answer.json()["detail"])


def jobs(service: Any) -> int:
    return sum(service.context.queue.counts().values())


@pytest.mark.parametrize("spec", SECRETS)
def test_no_field_that_names_a_file_leads_out_of_the_roots(service: Any, spec: str) -> None:
    before, named = jobs(service), spec.format(data=service.data)
    good = f"{service.data}/incoming.npy"
    flow = {"source": good, "reference": "vectors", "workflow": "replace"}
    reference = {"name": "evil", "real": good, "encoder": "embeddings"}
    asked = [
        (AUDITS, {"source": named, "reference": "vectors"}),
        (AUDITS, {**flow, "model_samples": named}),
        (AUDITS, {**flow, "model_samples": good, "pilot": named}),
        ("/v1/references", {**reference, "real": named}),
        ("/v1/references", {**reference, "real": [good, {"label": "x", "source": named}]}),
        ("/v1/references", {**reference, "synthetic": [{"label": "x", "source": named}]}),
        ("/v1/references", {**reference, "encoder": f"onnx:{named}"}),
        ("/v1/references", {**reference, "semantic_encoder": f"open_clip:ViT-B-32:{named}"}),
        ("/v1/references", {**reference, "encoder": f"embeddings+sentence:{named}"}),
        ("/v1/loops", {"config": {"data": named}}),
        ("/v1/loops", {"config": {"contamination": 0.5, "contaminant": named}}),
        ("/v1/loops", {"config": {"encoder": f"onnx:{named}"}}),
        ("/v1/sweeps", {"sweep": {"base": {"data": named}}}),
        ("/v1/sweeps", {"sweep": {"runs": [{"data": named}]}}),
        ("/v1/sweeps", {"sweep": {"grid": {"data": [good, named]}}}),
        ("/v1/forecasts", {"workflow": "augment", "synthetic_fraction": 0.1, "n": 5, "model_samples": named}),
    ]
    for path, body in asked:
        answer = service.admin.post(path, json=body)
        assert is_problem(answer, 403, 422), (path, body, answer.text)
        assert "root:" not in answer.text.replace("allowed root:", "")
    assert jobs(service) == before


@pytest.mark.parametrize("name", ["..", "../vectors", "a/b", ".hidden", "", "a" * 101, "%2e%2e", "a\n", "a\0b"])
def test_no_name_leads_out_of_the_home_folder(service: Any, name: str) -> None:
    for path, body in [
        (AUDITS, {"source": f"{service.data}/incoming.npy", "reference": name}),
        ("/v1/references", {"name": name, "real": f"{service.data}/real.npy", "encoder": "embeddings"}),
        ("/v1/search", {"reference": name, "vectors": [[0.0] * 8]}),
        ("/v1/forecasts", {"workflow": "augment", "audit": name}),
        ("/v1/calibrations", {"sweeps": [name]}),
    ]:
        assert is_problem(service.admin.post(path, json=body), 422), path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audits/..", "/v1/audits/%2e%2e%2f%2e%2e", "/v1/references/..%2f..", "/static/../app.py",
        "/static/%2e%2e/app.py", "/v1/jobs/../../etc",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(service: Any, path: str) -> None:
    answer = service.admin.get(path)
    assert answer.status_code in (404, 405, 422)
    assert "import" not in answer.text


@pytest.mark.parametrize("family", ["{data}/own.py:Own", "os:system", "loops.models.gaussian:Gaussian"])
def test_no_family_of_a_strangers_code_is_run(service: Any, family: str) -> None:
    (service.data / "own.py").write_text("raise SystemExit('run')")
    named = family.format(data=service.data)
    good = {"source": f"{service.data}/incoming.npy", "reference": "vectors", "workflow": "replace"}
    for path, body in [
        ("/v1/loops", {"config": {"family": named}}),
        ("/v1/loops", {"config": {"contamination": 0.5, "contaminant": named}}),
        ("/v1/sweeps", {"sweep": {"grid": {"family": [named]}}}),
        (AUDITS, {**good, "simulate_forecast": named}),
        ("/v1/references", {"name": "e", "real": good["source"], "encoder": "embeddings", "simulate": [named]}),
    ]:
        assert is_problem(service.admin.post(path, json=body), 403, 422), path


def zipped(*members: tuple[str, bytes], attributes: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", gz: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if gz else "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return buffer.getvalue()


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def huge_header() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 100000), }"
    padded = header + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


HOSTILE_UPLOADS = {
    "zip slip": (lambda: zipped(("../../evil.txt", b"x")), 422),
    "zip with an absolute name": (lambda: zipped(("/etc/evil.txt", b"x")), 422),
    "zip with a name of another system": (lambda: zipped(("..\\..\\evil.txt", b"x")), 422),
    "zip with a drive": (lambda: zipped(("C:/evil.txt", b"x")), 422),
    "gzip of small parts that unpacks to a gigabyte": (lambda: 1000 * gzip.compress(bytes(2**20)), 413),
    "zip with a link": (lambda: zipped(("a.txt", b"/etc/passwd"), attributes=0o120777 << 16), 422),
    "zip bomb": (lambda: zipped(("a.txt", b"0" * (200 << 20))), 413),
    "zip cut short": (lambda: zipped(("a.txt", b"x" * 999))[:20], 422),
    "zip slip in an archive before another": (lambda: zipped(("../../evil.txt", b"x")) + zipped(("a.txt", b"x")), 422),
    "zip bomb in an archive before another": (
        lambda: zipped(("a.txt", b"0" * (200 << 20))) + zipped(("b.txt", b"x")),
        413,
    ),
    "tar slip behind the end of another": (lambda: tarred("a.txt") + tarred("../evil.txt"), 422),
    "tar slip behind a zero block": (lambda: bytes(512) + tarred("../evil.txt"), 415),
    "tar.gz slip in a second member": (lambda: tarred("a.txt", gz=True) + tarred("../evil.txt", gz=True), 422),
    "bzip2 slip": (lambda: bz2.compress(gzip.decompress(tarred("../evil.txt", gz=True))), 422),
    "xz bomb": (lambda: lzma.compress(b'{"text": "' + b"0" * (200 << 20) + b'"}', preset=0), 413),
    "pickle in npz": (lambda: zipped(("a.npy", pickled())), 422),
    "tar slip": (lambda: tarred("../evil.txt"), 422),
    "tar with a link": (lambda: tarred("a.txt", kind=tarfile.SYMTYPE, link="/etc/passwd"), 422),
    "tar with a hard link": (lambda: tarred("a.txt", kind=tarfile.LNKTYPE, link="/etc/passwd"), 422),
    "tar with a device": (lambda: tarred("a.txt", kind=tarfile.CHRTYPE), 422),
    "tar.gz slip": (lambda: tarred("../evil.txt", gz=True), 422),
    "gzip bomb": (lambda: gzip.compress(b'{"text": "' + b"0" * (200 << 20) + b'"}'), 413),
    "damaged gzip": (lambda: b"\x1f\x8b\x08\x00damaged", 422),
    "pickle in npy": (pickled, 422),
    "bare pickle": (lambda: pickle.dumps({"a": 1}), 415),
    "npy that claims to be huge": (huge_header, 413),
    "npy with a broken header": (lambda: b"\x93NUMPY\x01\x00\xff\xff{", 422),
    "nothing": (lambda: b"", 415),
    "a page": (lambda: b"<html>", 415),
    "an oversized body": (lambda: b"PK\x03\x04" + b"0" * (3 << 20), 413),
}


@pytest.mark.parametrize("kind", HOSTILE_UPLOADS)
def test_a_hostile_upload_is_refused_and_leaves_nothing(service: Any, kind: str) -> None:
    make, status = HOSTILE_UPLOADS[kind]
    uploads: Path = service.context.home.uploads
    before, counted = set(uploads.glob("*")), jobs(service)
    answer = service.admin.post(UPLOAD, content=make())
    assert is_problem(answer, status), (answer.status_code, answer.text)
    assert set(uploads.glob("*")) == before
    assert jobs(service) == counted


def test_an_upload_that_lies_about_its_length_is_cut_off_by_what_it_is(service: Any) -> None:
    def body() -> Any:
        for _ in range(5):
            yield b"PK\x03\x04" + b"0" * (1 << 20)

    assert is_problem(service.admin.post(UPLOAD, content=body()), 413)


def test_an_oversized_request_is_refused(service: Any) -> None:
    huge = {"source": "x" * (2 << 20), "reference": "vectors"}
    assert is_problem(service.admin.post(AUDITS, json=huge), 413)


def test_deep_json_is_refused(service: Any) -> None:
    deep = '{"config": ' + "[" * 100_000 + "]" * 100_000 + "}"
    answer = service.admin.post("/v1/loops", content=deep, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 422, 400)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(service: Any, number: str) -> None:
    body = f'{{"reference": "vectors", "vectors": [[{",".join([number] * 8)}]]}}'
    answer = service.admin.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 422)


def keyless(service: Any, headers: Any = None) -> Any:
    from starlette.testclient import TestClient

    return TestClient(service.admin.app, headers=headers)


def test_without_a_key_nothing_is_told(service: Any) -> None:
    client = keyless(service)
    for path in (
        AUDITS,
        "/v1/references",
        "/v1/jobs",
        "/v1/keys",
        f"{AUDITS}/{'0' * 32}",
        f"{AUDITS}/{'0' * 32}/report",
    ):
        answer = client.get(path)
        assert is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/", follow_redirects=False).status_code == 303
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/login"):
        assert client.get(path).status_code == 200


def test_a_key_in_any_other_place_than_one_header_is_none(service: Any) -> None:
    token = service.tokens["admin"]
    good = ("Authorization", f"Bearer {token}")
    tries: list[Any] = [
        [good, good],
        [("Authorization", "Bearer wrong"), good],
        [good, ("Authorization", "Bearer wrong")],
        [("Authorization", f"Basic {token}")],
        [("Authorization", token)],
        [("Authorization", f"Bearer  {token}")],
        [("Authorization", f"Bearer {token}, Bearer {token}")],
        [("X-Forwarded-Authorization", f"Bearer {token}")],
        [("X-Api-Key", token)],
        [("Cookie", f"madaudit_session={token}")],
    ]
    for headers in tries:
        assert keyless(service).get(AUDITS, headers=headers).status_code == 401, headers
    assert keyless(service).get(f"{AUDITS}?key={token}&access_token={token}").status_code == 401


def test_a_key_without_the_scope_may_not(service: Any) -> None:
    asked = {"source": f"{service.data}/incoming.npy", "reference": "vectors"}
    reader, writer = service.client("reader"), service.client("writer")
    assert is_problem(reader.post(AUDITS, json=asked), 403)
    assert is_problem(reader.post(UPLOAD, content=b"x"), 403)
    assert is_problem(reader.delete("/v1/references/vectors"), 403)
    assert is_problem(writer.get("/v1/keys"), 403)
    assert is_problem(writer.post("/v1/keys", json={"name": "me", "scopes": ["admin"]}), 403)
    assert is_problem(writer.delete("/v1/references/vectors"), 403)


def test_what_another_key_owns_is_not_there(service: Any) -> None:
    asked = {"source": f"{service.data}/incoming.npy", "reference": "vectors"}
    writer, other = service.client("writer"), service.client("other")
    id = writer.post(AUDITS, json=asked).json()["id"]
    service.finished(f"{AUDITS}/{id}")
    for method, path in [
        ("GET", f"{AUDITS}/{id}"), ("GET", f"{AUDITS}/{id}/items"), ("GET", f"{AUDITS}/{id}/report"),
        ("GET", f"{AUDITS}/{id}/events"), ("POST", f"{AUDITS}/{id}/cancel"), ("DELETE", f"{AUDITS}/{id}"),
        ("GET", f"/v1/jobs/{id}"), ("DELETE", f"/v1/jobs/{id}"), ("GET", f"/audits/{id}"),
    ]:  # fmt: skip
        stranger, nobody = other.request(method, path), other.request(method, path.replace(id, "0" * 32))
        assert is_problem(stranger, 404), (method, path)
        assert stranger.text == nobody.text
    assert is_problem(other.post("/v1/forecasts", json={"workflow": "augment", "audit": id}), 404)
    assert id not in other.get(AUDITS).text
    assert id not in other.get("/").text
    assert writer.get(f"{AUDITS}/{id}").json()["state"] == "succeeded"
    assert service.admin.get(f"{AUDITS}/{id}").status_code == 200


def test_a_revoked_key_is_refused_at_once(service: Any) -> None:
    made = service.admin.post("/v1/keys", json={"name": "short", "scopes": ["read"]}).json()
    client = keyless(service, {"Authorization": f"Bearer {made['token']}"})
    assert client.get(AUDITS).status_code == 200
    assert service.admin.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert client.get(AUDITS).status_code == 401


def test_another_site_cannot_act_for_a_browser(service: Any) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert is_problem(service.admin.post(f"{AUDITS}/{'0' * 32}/cancel", headers=headers), 403)
    form = {"Content-Type": "text/plain"}
    assert (
        service.admin.post(AUDITS, content=json.dumps({"source": "x", "reference": "y"}), headers=form).status_code
        == 422
    )


def test_a_log_line_holds_no_key(service: Any, capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
    token = service.tokens["admin"]
    with caplog.at_level("DEBUG"):
        service.admin.get(AUDITS)
        keyless(service).post("/login", data={"key": token}, headers={"Origin": "http://testserver"})
    captured = capsys.readouterr()
    assert caplog.records
    logged = caplog.text + captured.out + captured.err + "".join(str(vars(record)) for record in caplog.records)
    assert token not in logged
    assert token.split("_", 2)[2] not in logged


def test_every_answer_carries_the_security_headers(service: Any) -> None:
    for path in ("/healthz", "/", AUDITS, "/v1/nothing", "/static/style.css"):
        headers = service.admin.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    "spec",
    ["{data}/" + "{{0..9999}}" * 2, "{data}/{{" + "," * 40_000, "{data}/" + "{{1..1}}" * 2000, "{data}/" + "x" * 5000],
)
def test_a_pattern_that_stands_for_very_much_is_refused_at_once(service: Any, spec: str) -> None:
    named = spec.format(data=service.data)
    began = time.monotonic()
    for path, body in [(AUDITS, {"source": named, "reference": "vectors"}), ("/v1/loops", {"config": {"data": named}})]:
        assert is_problem(service.admin.post(path, json=body), 403, 422)
    assert time.monotonic() - began < 30  # it took minutes, or all memory


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sweeps", '{"sweep": {"base": {"x": "\\ud800"}}}'),
        ("/v1/loops", '{"config": {"\\ud800": 1}}'),
        ("/v1/loops", '{"config": {"data": "\\udc80"}}'),
        ("/v1/loops", '{"config": ' + '{"a":' * 300 + "1" + "}" * 300 + "}"),
        ("/v1/sweeps", '{"sweep": {"base": {"bias": NaN}}}'),
        (AUDITS, '{"source": "/x", "reference": "vectors", "policy": {"mad_risk": {"warn": Infinity}}}'),
        ("/v1/forecasts", '{"\\ud800": 1}'),
    ],
)
def test_documents_that_cannot_be_kept_are_refused(service: Any, path: str, body: str) -> None:
    answer = service.admin.post(path, content=body.encode(), headers={"Content-Type": "application/json"})
    assert is_problem(answer, 403, 422), answer.text


def test_a_cursor_or_an_origin_of_odd_characters_is_refused(service: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(["2024-01-01", "\ud800"]).encode()).decode()
    assert service.admin.get(f"/v1/jobs?cursor={cursor}").status_code < 500
    assert is_problem(service.admin.post(AUDITS, json={}, headers={"Origin": "http://["}), 403)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "header", [b"{'descr': '<f4', ", b"{'descr': (), 'fortran_order': False, 'shape': ()}\n", b"-" * 9000]
)
def test_an_array_with_a_hostile_header_is_refused(service: Any, header: bytes) -> None:
    assert is_problem(service.admin.post(UPLOAD, content=npy(header)), 422)


def test_a_gzip_file_of_very_many_parts_or_with_an_endless_name_is_refused_at_once(service: Any) -> None:
    began = time.monotonic()
    parts = gzip.compress(b"") * 60_000
    endless = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * (1 << 20)
    for body in (parts, endless):
        assert is_problem(service.admin.post(UPLOAD, content=body), 422)
    assert time.monotonic() - began < 30


def test_a_large_search_is_refused_before_it_is_answered(service: Any) -> None:
    vectors = [[0.0] * 8] * 1024
    answer = service.admin.post("/v1/search", json={"reference": "vectors", "vectors": vectors, "k": 1000})
    assert is_problem(answer, 422)
    wrong = service.admin.post("/v1/search", json={"reference": "vectors", "vectors": [[""] * 50_000]})
    assert len(wrong.json()["errors"]) == 1


def test_a_sentence_encoders_folder_which_may_hold_code_is_refused(service: Any) -> None:
    asked = {"name": "s", "real": f"{service.data}/real.npy", "encoder": f"sentence:{service.data}"}
    assert is_problem(service.admin.post("/v1/references", json=asked), 403)


def test_an_answer_does_not_say_where_an_upload_lies(service: Any) -> None:
    content = io.BytesIO()
    np.save(content, np.random.default_rng(4).normal(size=(60, 8)).astype(np.float32))
    started = service.admin.post(f"{UPLOAD}&name=crawl", content=content.getvalue()).json()
    found = service.finished(f"{AUDITS}/{started['id']}")
    assert found["result"]["source"] == "crawl"
    places = (f"{AUDITS}/{started['id']}/report", "/", f"/audits/{started['id']}")
    pages = [service.admin.get(place).text for place in places]
    for text in (json.dumps(found["result"]["source"]), *pages):
        assert str(service.context.home.uploads) not in text


def test_two_that_ask_for_one_name_at_once_get_one_reference(service: Any) -> None:
    asked = {"name": "raced", "real": f"{service.data}/real.npy", "encoder": "embeddings"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.admin.post("/v1/references", json=asked), range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    place = next(answer.headers["location"] for answer in answers if answer.status_code == 202)
    assert service.finished(place)["state"] == "succeeded"
    assert is_problem(service.client("writer").delete("/v1/references/raced"), 403)
    assert service.admin.delete("/v1/references/raced").status_code == 204
