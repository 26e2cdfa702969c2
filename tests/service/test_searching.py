"""Search by what an item is: its own text, or its own image, is nearest."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor.reference.search import search_reference
from indexes.errors import InputError
from service.references.build import LabelledSource, make_reference
from service.settings import Settings

WORDS = [f"word{number}" for number in range(40)]


def built(home: Path, encoder: str, real: Path, fake: Path) -> Path:
    make_reference(
        "r", [LabelledSource("real", str(real))], [LabelledSource("fake", str(fake))], encoder=encoder,
        semantic_encoder=None, settings=Settings(home),
    )  # fmt: skip
    return Settings(home).references / "r"


def texts(path: Path, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(WORDS, 30)) for _ in range(60)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in made))
    return made


def images(folder: Path, seed: int) -> list[Path]:
    rng, made = np.random.default_rng(seed), []
    folder.mkdir()
    for number in range(60):
        made.append(folder / f"{number:02d}.png")
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(made[-1])
    return made


def found(answer: dict[str, Any]) -> tuple[str, str, float]:
    nearest = answer["neighbours"][0][0]
    return nearest["id"], nearest["origin"], nearest["distance"]


def test_a_text_of_the_reference_finds_itself(tmp_path: Path) -> None:
    made = texts(tmp_path / "real.jsonl", 1), texts(tmp_path / "fake.jsonl", 2)
    folder = built(tmp_path / "home", "lexical", tmp_path / "real.jsonl", tmp_path / "fake.jsonl")
    for side, origin in enumerate(("real", "synthetic")):
        id, where, distance = found(search_reference(folder, text=made[side][7], k=3, device="cpu"))
        assert (id.rpartition("#")[2], where) == ("8", origin), id  # lines are counted from 1
        assert distance == pytest.approx(0, abs=1e-4)
    with pytest.raises(InputError, match="reads texts"):
        search_reference(folder, image=base64.b64encode(b"x").decode(), k=1, device="cpu")


def test_an_image_of_the_reference_finds_itself(tmp_path: Path) -> None:
    made = images(tmp_path / "real", 1), images(tmp_path / "fake", 2)
    folder = built(tmp_path / "home", "pixels:16", tmp_path / "real", tmp_path / "fake")
    for side, origin in enumerate(("real", "synthetic")):
        image = base64.b64encode(made[side][7].read_bytes()).decode()
        id, where, distance = found(search_reference(folder, image=image, k=3, device="cpu"))
        assert (id, where) == ("07.png", origin)
        assert distance == pytest.approx(0, abs=1e-4)
    with pytest.raises(InputError, match="cannot be used"):
        search_reference(folder, image=base64.b64encode(b"no image").decode(), k=1, device="cpu")
