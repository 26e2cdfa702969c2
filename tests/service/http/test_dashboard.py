"""The dashboard: its pages, and a person's way through them in a real browser."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from service.client import Client
from service.http.app import create_app
from service.http.auth import COOKIE

SCREENSHOTS = os.environ.get("MADAUDIT_SCREENSHOTS")  # a folder for pictures of the pages, for docs/images
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1200,1000",
)  # fmt: skip


def visitor(service: Any) -> TestClient:
    return TestClient(service.admin.app)


def test_a_key_opens_a_session_that_ends_with_it(service: Any) -> None:
    browser = visitor(service)
    assert browser.get("/", follow_redirects=False).headers["location"] == "/login"
    assert "not valid" in browser.post("/login", data={"key": "wrong"}).text
    made = service.admin.post("/v1/keys", json={"name": "person", "scopes": ["read"]}).json()
    answer = browser.post("/login", data={"key": made["token"]}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in (COOKIE, "HttpOnly", "SameSite=strict"))
    assert made["token"] not in cookie
    assert browser.get("/").status_code == 200
    service.admin.delete(f"/v1/keys/{made['id']}")
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_logging_out_ends_the_session(service: Any) -> None:
    browser = visitor(service)
    browser.post("/login", data={"key": service.tokens["reader"]})
    thief = visitor(service)
    thief.cookies.update(browser.cookies)
    assert thief.get("/", follow_redirects=False).status_code == 200
    browser.post("/logout")
    assert thief.get("/", follow_redirects=False).status_code == 303


def test_a_reader_may_look_and_not_start(service: Any) -> None:
    browser = visitor(service)
    browser.post("/login", data={"key": service.tokens["reader"]})
    assert browser.get("/new").status_code == 200
    assert browser.post("/new", data={"source": "/x", "reference": "vectors"}).status_code == 403


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_others_wrote_is_shown_as_text(service: Any, name: str) -> None:
    folder = service.data / name.replace("/", "_")
    folder.mkdir(exist_ok=True)
    source = f"{folder}/none.npy"
    id = service.admin.post("/v1/audits", json={"source": source, "reference": "vectors"}).json()["id"]
    service.finished(f"/v1/audits/{id}")
    for path in ("/", f"/audits/{id}", f"/trends?source={name}", f"/new?source={name}"):
        page = service.admin.get(path).text
        assert name not in page
        assert "&lt;" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "/etc/passwd"}, "allowed root"),
        ({"source": "{data}/incoming.npy", "limit": "none"}, "limit"),
        ({"source": "{data}/incoming.npy", "workflow": "nonsense"}, "no workflow"),
    ],
)
def test_a_form_that_cannot_be_is_shown_again_with_the_reason(service: Any, fields: dict[str, str], said: str) -> None:
    given = {name: value.format(data=service.data) for name, value in fields.items()}
    answer = service.admin.post("/new", data={**given, "reference": "vectors"})
    assert answer.status_code == 422
    assert said in answer.text
    assert given["source"] in answer.text


@pytest.fixture
def address(tmp_path: Path, start_service: Callable[..., Any], built_home: tuple[Path, Path]) -> Iterator[str]:
    """A service on a real port, without authentication."""
    context = start_service(tmp_path / "home", auth=False)
    config = uvicorn.Config(create_app(context), host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("no Chromium with its driver is here: install chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, Service(DRIVER))
    found.implicitly_wait(5)
    yield found
    found.quit()


def write_mixture(path: Path, share: float, *, seed: int) -> None:
    """Fresh draws of what the reference knows, so many of them synthetic."""
    rng = np.random.default_rng(100 + seed)
    shift = np.where(np.arange(200) < 200 * share, 1.5, 0.0)
    np.save(path, (rng.normal(size=(200, 8)) + shift[:, None]).astype(np.float32))


FITS = (
    "return [...document.querySelectorAll('main *')].every(e => e.getBoundingClientRect().right <= "
    "document.documentElement.clientWidth + 1)"
)


def pictured(browser: Any, name: str) -> None:
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))


def until(condition: Callable[[], Any], patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_person_starts_an_audit_by_keyboard_and_reads_its_report_on_a_phone(
    browser: Any, address: str, built_home: tuple[Path, Path]
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    source = built_home[1] / "crawl.npy"
    with Client(address) as client:
        for day, share in enumerate((0.0, 0.1, 0.2)):
            write_mixture(source, share, seed=day)
            client.audit(str(source), "vectors", workflow="fresh", n_real=100, n_synthetic=100)
    write_mixture(source, 0.3, seed=9)

    browser.get(f"{address}/new")
    field = browser.find_element(By.ID, "source")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    for _ in range(30):
        if browser.switch_to.active_element == field:
            break
        browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(str(source))
    pictured(browser, "dashboard-new")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: "/audits/" in browser.current_url)
    until(lambda: browser.find_elements(By.TAG_NAME, "iframe"))
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    assert "Synthetic fraction" in browser.find_element(By.TAG_NAME, "body").text
    browser.switch_to.default_content()
    pictured(browser, "dashboard-audit")
    browser.get(f"{browser.current_url.replace('/audits/', '/v1/audits/')}/report")
    pictured(browser, "report")

    browser.get(address)
    assert str(source) in browser.find_element(By.TAG_NAME, "table").text
    pictured(browser, "dashboard-audits")
    browser.find_elements(By.LINK_TEXT, str(source))[0].click()
    assert browser.find_elements(By.TAG_NAME, "svg")
    pictured(browser, "dashboard-trends")
    browser.find_element(By.LINK_TEXT, "References").click()
    assert "vectors" in browser.find_element(By.TAG_NAME, "table").text
    browser.find_element(By.LINK_TEXT, "API").click()
    assert "/v1/audits/upload" in browser.find_element(By.TAG_NAME, "main").text

    browser.set_window_size(390, 800)
    for path in ("/", "/new", "/references", "/trends"):
        browser.get(address + path)
        until(lambda: browser.execute_script(FITS), patience=10)  # once the window has its new size
    browser.get(address)
    pictured(browser, "dashboard-phone")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
