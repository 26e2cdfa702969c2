from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from auditor.reference.component import Part, encode_part
from indexes.encoders import load_encoder
from indexes.errors import InputError
from indexes.sources import open_source
from indexes.sources.memory import source_of_array


def a_part(label: str, *sources: np.ndarray, spec: str = "embeddings") -> Part:
    return encode_part(label, [source_of_array(s) for s in sources], [load_encoder(spec)], batch_size=8, threads=1)


def test_a_part_holds_the_rows_of_all_its_sources_in_order(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal((2, 20, 3)).astype(np.float32)
    part = a_part("x", first, second)
    np.testing.assert_array_equal(part.vectors[0], np.concatenate([first, second]))
    assert (part.label, len(part.ids), part.digests.shape, part.shapes.shape) == ("x", 40, (40, 16), (40, 2))
    assert set(part.formats) == {"vector"}


def test_skips_are_counted_by_reason(tmp_path: Path, make: SimpleNamespace, rng: np.random.Generator) -> None:
    folder = make.write_images(tmp_path, make.real_images(5, rng))
    for i in range(3):
        (folder / f"bad{i}.png").write_bytes(b"" if i else b"text")
    encoders = [load_encoder("pixels:8"), load_encoder("forensic")]
    part = encode_part("x", [open_source(folder, kind="image")], encoders, batch_size=4, threads=2)
    assert dict(part.skipped) == {"empty file": 2, "not an image": 1}
    assert [v.shape for v in part.vectors] == [(5, 192), (5, 548)]


def test_progress_reports_every_item(rng: np.random.Generator) -> None:
    reported: list[int] = []
    source = source_of_array(rng.standard_normal((20, 3)))
    encode_part("x", [source], [load_encoder("embeddings")], batch_size=8, threads=1, on_progress=reported.append)
    assert reported == [8, 8, 4]


def test_a_part_of_which_nothing_can_be_used_says_why() -> None:
    with pytest.raises(InputError, match="4 × not finite"):
        a_part("x", np.full((4, 3), np.nan))


def test_sources_of_different_widths_are_refused() -> None:
    with pytest.raises(InputError, match=r"widths \[2, 3\]"):
        a_part("x", np.ones((4, 3)), np.ones((4, 2)))


def test_leaving_items_out_counts_them_and_keeps_the_rest_aligned(rng: np.random.Generator) -> None:
    part = a_part("x", rng.standard_normal((10, 3)))
    smaller = part.without({part.digests[2].tobytes(), part.digests[7].tobytes(), b"stranger"}, "shared")
    kept = [0, 1, 3, 4, 5, 6, 8, 9]
    assert smaller.ids == tuple(part.ids[i] for i in kept)
    np.testing.assert_array_equal(smaller.vectors[0], part.vectors[0][kept])
    np.testing.assert_array_equal(smaller.digests, part.digests[kept])
    assert dict(smaller.skipped) == {"shared": 2}
    assert len(part.ids) == 10


def test_leaving_nothing_out_gives_the_part_itself(rng: np.random.Generator) -> None:
    part = a_part("x", rng.standard_normal((4, 3)))
    assert part.without({b"stranger"}, "shared") is part
