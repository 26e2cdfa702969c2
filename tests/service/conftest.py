"""A running service with a small reference, for the tests of its routes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.http.app import create_app
from service.http.context import Context, make_context
from service.references.build import LabelledSource, make_reference
from service.settings import ServiceSettings, Settings


@dataclass
class Running:
    """A service in this process, with clients of its keys."""

    context: Context
    admin: TestClient
    data: Path  # the allowed root
    tokens: dict[str, str]

    def client(self, name: str) -> TestClient:
        """A client with the key of that name."""
        return TestClient(self.admin.app, headers={"Authorization": f"Bearer {self.tokens[name]}"})

    def finished(self, place: str) -> dict[str, Any]:
        """The job at a place, once it is finished."""
        for line in self.admin.get(f"{place}/events").text.splitlines():
            if line.startswith("data:"):
                last = line
        assert any(state in last for state in ("succeeded", "failed", "cancelled"))
        found: dict[str, Any] = self.admin.get(place).json()
        return found


def write_vectors(path: Path, n: int, *, shift: float, seed: int, width: int = 8) -> Path:
    """Normal vectors around a shifted mean."""
    rng = np.random.default_rng(seed)
    np.save(path, (rng.normal(size=(n, width)) + shift).astype(np.float32))
    return path


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home folder with the reference `vectors`, and a folder of data beside it."""
    home, data = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("data")
    real = write_vectors(data / "real.npy", 200, shift=0.0, seed=1)
    fake = write_vectors(data / "fake.npy", 200, shift=1.5, seed=2)
    write_vectors(data / "incoming.npy", 120, shift=0.0, seed=3)
    make_reference(
        "vectors", [LabelledSource("real", str(real))], [LabelledSource("fake", str(fake))], encoder="embeddings",
        semantic_encoder=None, settings=Settings(home),
    )  # fmt: skip
    return home, data


@pytest.fixture(scope="session")
def start_service(built_home: tuple[Path, Path]) -> Callable[..., Any]:
    """Makes the context of a service on a copy of the home folder."""

    def start(home: Path, **changes: Any) -> Context:
        import shutil

        shutil.copytree(built_home[0], home, dirs_exist_ok=True)
        settings = replace(ServiceSettings(allowed_roots=(str(built_home[1]),)), **changes)
        return make_context(Settings(home), settings)

    return start


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, built_home: tuple[Path, Path], start_service: Callable[..., Context]
) -> Iterator[Running]:
    """One service for all tests that leave it as it was."""
    context = start_service(tmp_path_factory.mktemp("running"), max_body_mb=1, max_upload_mb=2)
    tokens = {
        name: context.keys.create(name, scopes)[1]
        for name, scopes in {"admin": ["admin"], "writer": ["write"], "other": ["write"], "reader": ["read"]}.items()
    }
    with TestClient(create_app(context), headers={"Authorization": f"Bearer {tokens['admin']}"}) as client:
        yield Running(context, client, built_home[1], tokens)
