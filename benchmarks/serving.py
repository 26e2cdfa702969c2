"""The service under load, and under kill -9: 2,000 audits by 50 clients; 20 audits through 30 kills."""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx2 as httpx
import numpy as np
import psutil

from service.client import AsyncClient, Client, ClientError
from service.references.build import LabelledSource, make_reference
from service.settings import Settings

START = "import sys; from service.cli import main; sys.argv[0] = 'madaudit'; main()"
_WIDTH = 8


@dataclass
class Served:
    """A service in a process of its own, on data made for it."""

    home: Path
    data: Path
    settings: dict[str, str]
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    restarts: int = field(default=0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port it had before, and wait until it is ready."""
        if not self.port:
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self.port = found.getsockname()[1]
        given = {"MADAUDIT_AUTH": "off", "MADAUDIT_ALLOWED_ROOTS": str(self.data), **self.settings}
        command = [sys.executable, "-c", START, "serve", "--port", str(self.port), "--home", str(self.home)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **given})
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the service did not start: see {self.home / 'log'}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9, of the service alone: its workers must end by themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def workers(self) -> list[psutil.Process]:
        """The processes that do jobs now."""
        assert self.process is not None
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children()
        return []


@contextlib.contextmanager
def served(folder: Path, **settings: str) -> Iterator[Served]:
    """A service with the reference `vectors`; killed at the end."""
    home, data = folder / "home", folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (home / "references").exists():
        real = write_vectors(data / "real.npy", 300, 0.0, 1)
        fake = write_vectors(data / "fake.npy", 300, 1.5, 2)
        sources = [LabelledSource("real", str(real)), LabelledSource("fake", str(fake))]
        make_reference(
            "vectors", sources[:1], sources[1:], encoder="embeddings", semantic_encoder=None, settings=Settings(home)
        )
    found = Served(home, data, settings)
    found.start()
    try:
        yield found
    finally:
        found.kill()


def write_vectors(path: Path, n: int, shift: float, seed: int) -> Path:
    """Normal vectors around a shifted mean."""
    rng = np.random.default_rng(seed)
    np.save(path, (rng.normal(size=(n, _WIDTH)) + shift).astype(np.float32))
    return path


def shards(folder: Path, count: int, n: int, seed: int) -> Path:
    """A folder of arrays, each a shard."""
    folder.mkdir(parents=True)
    for number in range(count):
        write_vectors(folder / f"{number:03d}.npy", n, 0.0, seed * 1000 + number)
    return folder


# --- load -------------------------------------------------------------------------------------------------------------


def load(folder: Path, *, submissions: int, clients: int, queue: int, workers: int) -> str:
    """Submit from many clients that honour Retry-After, while another times GETs; wait for every audit."""
    with served(folder, MADAUDIT_QUEUE_SIZE=str(queue), MADAUDIT_WORKERS=str(workers)) as service:
        write_vectors(service.data / "incoming.npy", 60, 0.0, 3)
        began = time.monotonic()
        accepted, refused, waited, gets = asyncio.run(_submit_all(service, submissions, clients))
        submitted_s = time.monotonic() - began
        states = _drained(service, len(accepted))
        total_s = time.monotonic() - began
        runs = _runs(service)
    ids = [id for id in accepted if id]
    busy = np.sort(np.array(gets["busy"])) * 1000
    rows = [
        ("submissions, clients, workers, queue", f"{submissions}, {clients}, {workers}, {queue}"),
        ("finally accepted", f"{len(ids) / submissions:.4f} ({len(ids)}; {refused} refused)"),
        ("answers 429 on the way", str(waited)),
        ("audits in the database, distinct", f"{len(runs)}, {len(set(ids) & set(runs))} of those accepted"),
        ("finished: succeeded, otherwise", f"{states['succeeded']}, {sum(states.values()) - states['succeeded']}"),
        ("run once, more often, lost", f"{sum(r == 1 for r in runs.values())}, "
                                       f"{sum(r > 1 for r in runs.values())}, {sum(r == 0 for r in runs.values())}"),
        ("submitted in, done in", f"{submitted_s:.0f} s, {total_s:.0f} s"),
        ("GETs while audits ran", str(len(busy))),
        ("GET p50, p95, p99, worst", ", ".join(f"{np.quantile(busy, q):.1f}" for q in (0.5, 0.95, 0.99, 1)) + " ms"),
    ]  # fmt: skip
    return table(rows)


async def _submit_all(
    service: Served, submissions: int, clients: int
) -> tuple[list[str], int, int, dict[str, list[float]]]:
    """Ids of accepted audits, how many were refused for good, answers 429, and the seconds that GETs took."""
    left, accepted, refused = iter(range(submissions)), [], 0
    counted: Counter[int] = Counter()
    gets: dict[str, list[float]] = {"busy": []}

    async def count(response: httpx.Response) -> None:
        counted[response.status_code] += 1

    async def submit() -> None:
        nonlocal refused
        async with AsyncClient(service.url, patience=3600) as client:
            client._http.event_hooks["response"].append(count)
            for _ in left:
                try:
                    job = await client.start_audit(f"{service.data}/incoming.npy", "vectors")
                    accepted.append(job.id)
                except ClientError:
                    refused += 1

    stop = asyncio.Event()

    async def look() -> None:
        paths = ("/v1/audits?limit=20", "/v1/references", "/readyz")
        async with httpx.AsyncClient(base_url=service.url) as client:
            while not stop.is_set():
                for path in (*paths, *(f"/v1/audits/{id}" for id in accepted[-1:])):
                    began = time.perf_counter()
                    (await client.get(path)).raise_for_status()
                    gets["busy"].append(time.perf_counter() - began)
                await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(submit() for _ in range(clients)))
    stop.set()
    await looking
    return accepted, refused, counted[429], gets


def _drained(service: Served, expected: int) -> Counter[str]:
    with httpx.Client(base_url=service.url) as client:
        while True:
            found = client.get("/readyz").json()
            if found["queued"] == found["running"] == 0:
                break
            time.sleep(1)
    with Client(service.url) as client:
        return Counter(job.state for job in client.audits())


def _runs(service: Served) -> dict[str, int]:
    """How often each audit was begun, from the database, once the service has let it go."""
    service.kill()
    with duckdb.connect(str(service.home / "madaudit.duckdb"), read_only=True) as connection:
        found = dict(connection.execute("SELECT id, runs FROM jobs WHERE kind = 'audit'").fetchall())
    service.start()
    return found


# --- kill -------------------------------------------------------------------------------------------------------------


def kill(folder: Path, *, audits: int, kills: int, seed: int) -> str:
    """Kill the service or a worker at random instants, start it again, and compare every result with a quiet run's."""
    rng = random.Random(seed)
    with served(folder / "quiet", MADAUDIT_WORKERS="2") as service:
        sources = [shards(folder / "sets" / f"{i:02d}", 12, 300, i) for i in range(audits)]
        service.kill()
        service.data = folder / "sets"
        service.start()
        with Client(service.url) as client:
            jobs = [client.start_audit(str(source), "vectors") for source in sources]
            undisturbed = [_compared(client.wait(job).result) for job in jobs]
    done: Counter[str] = Counter()
    with served(folder / "killed", MADAUDIT_WORKERS="2", MADAUDIT_MAX_ATTEMPTS="50") as service:
        service.kill()
        service.data = folder / "sets"
        service.start()
        with Client(service.url, patience=600) as client:
            jobs = [client.start_audit(str(source), "vectors") for source in sources]
            for number in range(kills):
                time.sleep(rng.uniform(0.0, 2.5))
                done[_kill_something(service, rng, number)] += 1
            found = [client.wait(job) for job in jobs]
            same = sum(_compared(job.result) == wanted for job, wanted in zip(found, undisturbed, strict=True))
            states = Counter(job.state for job in found)
            listed = len(list(client.audits()))
        begun = _runs(service)
        recorded = _recorded(service)
    rows = [
        ("audits, kills", f"{audits}, {kills} ({', '.join(f'{n} of the {what}' for what, n in done.items())})"),
        ("reached the end", f"{states['succeeded']} of {audits}"),
        ("the result of an undisturbed run", f"{same} of {audits}"),
        ("jobs listed, results recorded", f"{listed}, {recorded}"),
        ("runs that they took", f"{sum(begun.values())}, at most {max(begun.values())} of one"),
    ]
    return table(rows)


def _kill_something(service: Served, rng: random.Random, number: int) -> str:
    workers = service.workers()
    if number % 2 and workers:
        with contextlib.suppress(psutil.Error):
            rng.choice(workers).kill()
        return "workers"
    service.kill()
    service.start()
    return "service"


def _compared(result: Any) -> str:
    return json.dumps(
        {k: v for k, v in (result or {}).items() if k not in ("run", "timing", "created")}, sort_keys=True
    )


def _recorded(service: Served) -> int:
    service.kill()
    with duckdb.connect(str(service.home / "madaudit.duckdb"), read_only=True) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT folder) FROM audits").fetchone()
    service.start()
    assert row is not None
    assert row[0] == row[1]
    return int(row[0])


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns, in Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=("load", "kill"))
    parser.add_argument("--submissions", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--queue", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--audits", type=int, default=20)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.scenario == "load":
            sizes = {name: getattr(given, name) for name in ("submissions", "clients", "queue", "workers")}
            print(load(Path(folder), **sizes))
        else:
            print(kill(Path(folder), audits=given.audits, kills=given.kills, seed=given.seed))


if __name__ == "__main__":
    main()
