"""What many tests share: small data of known origin, references over it, and the command line in this process."""

import io
import json
import math
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from PIL import Image

from auditor.answers import Histogram, Power, SampleStatistics, SyntheticFraction
from auditor.plan import Plan
from auditor.reference.reference import Reference, load_reference
from auditor.results import AuditResult
from auditor.risk.inputs import AuditFigures, ForecastInputs
from auditor.risk.recursion import growth, impulse_response, origin_shares, training_sizes
from auditor.run import audit
from auditor.statistics.intervals import Measure
from indexes.device import compute_threads
from loops.calibration.fit import calibrate
from loops.calibration.rows import CalibrationRow

N_REFERENCE = 120  # items of each component of the references below
WIDTH = 6  # of the vectors


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]


@dataclass(frozen=True)
class World:
    """A home folder with three references, and the folder their data came from."""

    home: Path
    data: Path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """On busy machines two threads a library wait for each other more than they work."""
    with compute_threads(1):
        yield


@pytest.fixture(scope="session")
def meets_schema() -> Callable[[str, Any], bool]:
    """Whether a document meets a committed schema, by the name of its file."""
    validators = {
        path.name: jsonschema_rs.validator_for(json.loads(path.read_text(encoding="utf-8")))
        for path in (Path(__file__).parents[1] / "docs" / "schemas").glob("*.json")
    }
    return lambda name, document: validators[name].is_valid(document)


@pytest.fixture(scope="session", autouse=True)
def results_meet_their_schema(meets_schema: Callable[[str, Any], bool]) -> Iterator[None]:
    """Every result that a test has written in this process meets the committed schema."""
    plain = AuditResult.to_dict

    def checked(result: AuditResult) -> dict[str, Any]:
        document = plain(result)
        assert meets_schema("result.json", document), "a result does not meet docs/schemas/result.json"
        return document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AuditResult, "to_dict", checked)
        yield


def run_command(*arguments: object) -> Outcome:
    """`madaudit ARGUMENTS` in this process: what it printed and its exit code."""
    from service.cli.entry import main

    out, err = io.StringIO(), io.StringIO()
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["madaudit", *(str(a) for a in arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    code = ended.value.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


def real_images(n: int, rng: np.random.Generator) -> np.ndarray:
    """Soft vertical gradients with little noise, (n, 8, 8, 3) uint8."""
    ramp = np.linspace(0, 1, 8)[None, :, None, None] * rng.uniform(40, 120, (n, 1, 1, 3))
    return np.clip(60 + ramp + rng.normal(0, 12, (n, 8, 8, 3)), 0, 255).astype(np.uint8)


def fake_images(n: int, rng: np.random.Generator) -> np.ndarray:
    """Horizontal gradients, otherwise the same."""
    return np.ascontiguousarray(real_images(n, rng).transpose(0, 2, 1, 3))


def png(pixels: np.ndarray) -> bytes:
    """The image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, images: np.ndarray, prefix: str = "") -> Path:
    """One PNG an image, `PREFIX0000.png`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(images):
        (folder / f"{prefix}{i:04d}.png").write_bytes(png(pixels))
    return folder


def write_tar(path: Path, images: np.ndarray, prefix: str = "") -> Path:
    """A tar with one PNG an image; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for i, pixels in enumerate(images):
            data = png(pixels)
            info = tarfile.TarInfo(f"{prefix}{i:04d}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def real_vectors(n: int, rng: np.random.Generator, width: int = WIDTH) -> np.ndarray:
    """Standard normal rows (n, width) float32."""
    return rng.standard_normal((n, width)).astype(np.float32)


def fake_vectors(n: int, rng: np.random.Generator, width: int = WIDTH, shift: float = 2.0) -> np.ndarray:
    """Normal rows whose first coordinate is moved by `shift`: an optimal rule errs on Φ(−shift/2) of either side."""
    rows = rng.standard_normal((n, width))
    rows[:, 0] += shift
    return rows.astype(np.float32)


_NOUNS = {"real": ("harbour", "lantern", "winter", "orchard"), "fake": ("tapestry", "realm", "journey", "testament")}


def texts(origin: str, n: int, rng: np.random.Generator) -> list[str]:
    """Sentences whose nouns mostly tell where they come from."""
    other = "fake" if origin == "real" else "real"
    lines = []
    for i in range(n):
        words = [str(rng.choice(_NOUNS[origin if rng.random() < 0.8 else other])) for _ in range(12)]
        lines.append(f"{i % 7} the " + " and the ".join(words))
    return lines


def write_jsonl(path: Path, lines: Sequence[str]) -> Path:
    """One text a line; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    return path


_HORIZON = 8
_WORKFLOWS = ("replace", "augment", "fresh", "accumulate")


def facts(frechet: float, recall: float) -> SampleStatistics:
    """Facts of samples that are as real but for these two."""
    return SampleStatistics(
        n=300, frechet=frechet, precision=0.9, recall=recall, density=1.0, coverage=0.9, vendi=1.0, effective_rank=1.0,
        variance=1.0, log_det=0.0, spacing=1.0, to_training=1.0,
    )  # fmt: skip


def calibration_row(number: int, rng: np.random.Generator) -> CalibrationRow:
    """A loop whose distance grows by the recursion with a model error that its samples show, but for noise."""
    workflow, n = str(rng.choice(_WORKFLOWS)), int(rng.integers(100, 800))
    n_real = {"augment": n, "fresh": round(n * float(rng.choice([0.05, 0.3, 1.0])))}.get(workflow, 0)
    plan = Plan(
        workflow, generations=_HORIZON, n_initial=n, n_synthetic=n, n_real=n_real, bias=float(rng.choice([1.0, 0.8]))
    )
    error = float(np.exp(rng.normal(-4.5, 1)))
    response = impulse_response(origin_shares(plan))
    distance = 0.02 + growth(response, 0.5, 0.02 * 300 / training_sizes(plan)) + error * growth(response, 0.75)
    recall = 0.95 * np.exp(-(1 - plan.bias) * (growth(response, 1.0) - 1) / 8)
    noise = np.exp(0.05 * rng.normal(size=(2, _HORIZON)))
    distance, recall = distance * noise[0], np.minimum(recall * noise[1], 1)
    level = np.log(distance / 0.02)
    outputs = np.stack([level, level - level[0], np.log(recall / recall[0]), np.full(_HORIZON, 0.9)])
    audit = AuditFigures(
        n=n,
        fraction=0.0,
        fraction_width=0.05,
        vendi=1.0,
        effective_rank=1.0,
        coverage=0.95,
        recall=0.95,
        precision=0.95,
        density=1.0,
        frechet=1.0,
        floor=0.02,
        floor_items=300,
        rank=5.0,
    )
    seen = np.exp(0.05 * rng.normal(size=4))
    known = ForecastInputs(
        plan=plan,
        audit=audit,
        model=facts(0.02 + distance[0] * seen[0], recall[0] * seen[1]),
        pilot=facts(0.02 + distance[1] * seen[2], recall[1]),
    )
    return CalibrationRow(
        f"{number:04d}", str(rng.choice(list("abcdef"))), str(rng.choice(list("xyzw"))), known, outputs
    )


def calibration_rows(n: int, rng: np.random.Generator) -> list[CalibrationRow]:
    """So many loops of that law, of six families on four data sets."""
    return [calibration_row(number, rng) for number in range(n)]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three references in one home: `images` by pixels:8, `vectors` by embeddings, `texts` by lexical."""
    base = tmp_path_factory.mktemp("world")
    home, data = base / "home", base / "data"
    rng = np.random.default_rng(1)
    n = N_REFERENCE
    sources = {
        "images": ("pixels:8", write_images(data / "real", real_images(n, rng)),
                   write_images(data / "fake", fake_images(n, rng))),
        "texts": ("lexical", write_jsonl(data / "real.jsonl", texts("real", n, rng)),
                  write_jsonl(data / "fake.jsonl", texts("fake", n, rng))),
    }  # fmt: skip
    np.save(data / "real.npy", real_vectors(n, rng))
    np.save(data / "fake.npy", fake_vectors(n, rng))
    sources["vectors"] = ("embeddings", data / "real.npy", data / "fake.npy")
    for name, (encoder, real, fake) in sources.items():
        built = run_command(
            "reference", "build", name, "--real", real, "--synthetic", f"gen={fake}", "--encoder", encoder,
            "--home", home, "--quiet", "--device", "cpu",
        )  # fmt: skip
        assert built.code == 0, built.err
    return World(home, data)


@pytest.fixture(scope="session")
def some_result(world: World) -> AuditResult:
    """The result of a small audit of vectors, a third of them synthetic."""
    rng = np.random.default_rng(2)
    rows = np.concatenate([real_vectors(60, rng), fake_vectors(30, rng)])
    return audit(rows, load_reference(world.home / "references" / "vectors"))


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The makers of data above, for test modules, which cannot import from this file."""
    return SimpleNamespace(
        real_images=real_images, fake_images=fake_images, png=png, write_images=write_images, write_tar=write_tar,
        real_vectors=real_vectors, fake_vectors=fake_vectors, texts=texts, write_jsonl=write_jsonl,
        comparable=comparable, fraction=fraction, run=run_command, facts=facts, calibration_rows=calibration_rows,
    )  # fmt: skip


@pytest.fixture(scope="session")
def law_rows() -> list[CalibrationRow]:
    """160 loops of the law above."""
    return calibration_rows(160, np.random.default_rng(0))


@pytest.fixture(scope="session")
def law_model(law_rows: list[CalibrationRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a risk model calibrated on them."""
    path = tmp_path_factory.mktemp("model") / "risk.npz"
    calibrate(law_rows).save(path)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def madaudit(world: World) -> Command:
    """`madaudit …` in this process with the world's home, on the CPU and without progress."""

    def run(command: str, *arguments: object) -> Outcome:
        on_cpu: tuple[str, ...] = ("--device", "cpu", "--quiet") if command in ("audit", "reference build") else ()
        if command == "audit" and "--workers" not in arguments:
            on_cpu += ("--workers", "1")  # starting processes takes seconds
        at_home = () if command in ("report", "demo", "calibrate") else ("--home", world.home)
        return run_command(*command.split(), *arguments, *at_home, *on_cpu)

    return run


@pytest.fixture(scope="session")
def references(world: World) -> dict[str, Reference]:
    """The world's references, loaded."""
    return {name: load_reference(world.home / "references" / name) for name in ("images", "texts", "vectors")}


def fraction(stated: Measure, **others: Any) -> SyntheticFraction:
    """The synthetic fraction of a result that says nothing but `stated` and the fields in `others`."""
    nothing = Measure(math.nan, low=0.0, high=1.0, reason="nothing is known")
    fields: dict[str, Any] = {
        "level": 0.95, "status": "bounds", "method": "m", "assumes": (), "by_generator": {}, "by_source": {},
        "unexplained": nothing, "if_reference_matches": nothing, "if_generators_known": nothing, "if_both": nothing,
        "power": Power(smallest_noticed=1, may_hide=1), "of_the_whole_set": nothing, "estimators": {},
        "fit_p_value": math.nan, "departure": math.nan, "separation": 0.5,
        "histogram": Histogram(edges=(), incoming=(), reference={}),
    }  # fmt: skip
    ends = {"low": stated.low, "high": stated.high, "reason": stated.reason}
    return SyntheticFraction(stated.estimate, **{**ends, **fields, **others})


def comparable(result: AuditResult | dict[str, Any]) -> str:
    """A result as text, without the fields that differ between runs of the same audit."""
    document = result.to_dict() if isinstance(result, AuditResult) else result
    return json.dumps({k: v for k, v in document.items() if k not in ("run", "timing", "created")}, sort_keys=True)
