import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from indexes.errors import InputError
from loops.config import LoopConfig
from loops.generation.folder import LoopFolder, read_generations
from loops.plots.draw import _admissible_figure, _loops_figure, _quality_figure, draw_plots
from loops.plots.groups import Group, effective_share, find_runs, grouped, read_run
from loops.plots.sample_sheets import modes_figure, samples_figure
from loops.run import run_loop
from loops.theory.closed_forms import effective_size, predicted

TINY = LoopConfig(family="gaussian", chains=20, n_initial=30, generations=3, n_measure=30)
GRID = LoopConfig(
    family="gmm", data="grid:3", n_initial=80, generations=3, n_measure=50, chains=1, settings={"components": 9}
)
DIGITS = LoopConfig(family="kde", data="digits", n_initial=100, generations=2, n_measure=50)


def kept(folder: Path, config: LoopConfig = TINY, **changes: object) -> Path:
    for _ in run_loop(dataclasses.replace(config, **changes), folder=folder):
        pass
    return folder


def groups_in(folder: Path) -> list[Group]:
    return grouped(find_runs(folder))


def drawn_lines(figure: Figure, panel: int = 0, style: str = "-") -> list[np.ndarray]:
    return [np.array(line.get_ydata()) for line in figure.axes[panel].lines if line.get_linestyle() == style]


def stored(folder: Path, name: str) -> list[float]:
    return [record.measures[name].estimate for record in read_generations(folder)]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("grid") / "loop", GRID)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("digits") / "loop", DIGITS)


def test_the_files_of_a_loop_are_images_of_a_sensible_size(digits: Path, tmp_path: Path) -> None:
    drawn = draw_plots(digits, out=tmp_path / "out")
    names = ["loops.png", "quality-diversity.png", "samples-loop.png", "modes-loop.png"]
    assert [path.name for path in drawn] == names
    for path in drawn:
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 150
            assert max(image.size) < 3000
            assert len(np.unique(np.asarray(image))) > 10


def test_by_default_they_lie_beside_the_loop_which_still_goes_on(tmp_path: Path) -> None:
    folder = kept(tmp_path / "loop")
    assert {path.parent for path in draw_plots(folder)} == {folder / "plots"}
    assert kept(folder) == folder
    assert len(find_runs(folder)) == 1


def test_the_same_loop_gives_the_same_bytes(grid: Path, tmp_path: Path) -> None:
    first, second = draw_plots(grid, out=tmp_path / "a"), draw_plots(grid, out=tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_lines_are_the_stored_numbers_and_theory_is_dashed_over_them(tmp_path: Path) -> None:
    folder = kept(tmp_path / "loop")
    figure = _loops_figure(groups_in(folder))
    assert [axes.get_ylabel() for axes in figure.axes] == ["Fréchet distance", "precision", "recall"]
    for panel, name in enumerate(("frechet", "precision", "recall")):
        np.testing.assert_array_equal(drawn_lines(figure, panel)[0], stored(folder, name))
    expected = predicted(read_run(folder, name="").config, width=1)["frechet"]
    np.testing.assert_allclose(drawn_lines(figure, 0, "--")[0], expected)
    real = json.loads((folder / "loop.json").read_text())["real"]["recall"]["estimate"]
    np.testing.assert_allclose(drawn_lines(figure, 2, ":")[0], real)


def test_runs_that_differ_in_their_seed_alone_are_combined_with_an_interval_over_seeds(tmp_path: Path) -> None:
    folders = [kept(tmp_path / f"s{seed}", seed=seed) for seed in range(3)]
    [group] = groups_in(tmp_path)
    seeds = np.array([[read_generations(f)[t].chains["frechet"].mean() for t in range(3)] for f in folders])
    value, low, high = group.curve("frechet")
    np.testing.assert_allclose(value, seeds.mean(0))
    half = 4.302653 * seeds.std(0, ddof=1) / np.sqrt(3)  # t quantile .975 of two degrees of freedom
    np.testing.assert_allclose([value - low, high - value], [half, half], rtol=1e-5)
    assert group.measure("frechet", 1).n == 3


def test_a_copy_of_a_run_counts_once(tmp_path: Path) -> None:
    kept(tmp_path / "a", generations=2)
    longer = kept(tmp_path / "b")
    [group] = groups_in(tmp_path)
    np.testing.assert_array_equal(group.curve("recall")[0], stored(longer, "recall"))
    assert group.measure("frechet", 1).n == 20


def test_generations_that_only_some_seeds_have_are_the_mean_of_those(tmp_path: Path) -> None:
    kept(tmp_path / "a", generations=1)
    longer = kept(tmp_path / "b", seed=1)
    [group] = groups_in(tmp_path)
    np.testing.assert_allclose(group.curve("frechet")[0][1:], stored(longer, "frechet")[1:])


def test_workflows_are_columns_and_biases_are_colours(tmp_path: Path) -> None:
    for workflow in ("fresh", "replace"):
        for bias in (1.0, 0.5):
            kept(tmp_path / "runs" / f"{workflow}{bias}", workflow=workflow, bias=bias)
    figure = _loops_figure(groups_in(tmp_path))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["replace", "fresh"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["λ = 1", "λ = 0.5"]
    columns = [[line.get_color() for line in axes.lines if line.get_linestyle() == "-"] for axes in figure.axes[:2]]
    assert columns[0] == columns[1]
    assert len(set(columns[0])) == 2
    assert {"loops.png", "quality-diversity.png"} == {path.name for path in draw_plots(tmp_path)}


def test_a_label_names_only_what_tells_loops_apart(tmp_path: Path) -> None:
    kept(tmp_path / "a", n_initial=20)
    kept(tmp_path / "b", n_initial=40)
    assert [(group.colour, group.marker) for group in groups_in(tmp_path)] == [
        ("20 synthetic", ""),
        ("40 synthetic", ""),
    ]


def test_trajectories_run_from_an_open_marker_through_recall_and_precision(grid: Path) -> None:
    figure = _quality_figure(groups_in(grid))
    assert figure is not None
    path, start = figure.axes[0].lines[:2]
    np.testing.assert_array_equal(path.get_xdata(), stored(grid, "recall"))
    np.testing.assert_array_equal(path.get_ydata(), stored(grid, "precision"))
    assert (start.get_xdata()[0], start.get_markerfacecolor()) == (stored(grid, "recall")[0], "white")


def test_images_are_laid_out_in_a_row_a_generation(digits: Path) -> None:
    figure = samples_figure(read_run(digits, name="loop"))
    assert figure is not None
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (2 * 9 - 1, 16 * 9 - 1)
    third = read_generations(digits)[1].sheet.values[2].reshape(8, 8) / 16
    np.testing.assert_allclose(picture[9:17, 18:26], third.clip(0, 1), atol=1e-6)


def test_tokens_of_an_image_are_drawn_as_the_values_they_stand_for(tmp_path: Path) -> None:
    config = LoopConfig(family="ngram", data="digits", n_initial=100, generations=1, n_measure=30)
    figure = samples_figure(read_run(kept(tmp_path / "loop", config), name="loop"))
    assert figure is not None
    tokens = read_generations(tmp_path / "loop")[0].sheet.values[0].reshape(8, 8)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[:8, :8], tokens / 16)


def test_points_are_drawn_over_real_ones(grid: Path) -> None:
    figure = samples_figure(read_run(grid, name="loop"))
    assert figure is not None
    real, points = (np.array(c.get_offsets()) for c in figure.axes[0].collections)
    np.testing.assert_array_equal(points, read_generations(grid)[0].sheet.values)
    assert np.abs(real - real.round()).max() < 0.3  # near the centres of the grid
    assert [axes.get_title().split(" (")[0] for axes in figure.axes] == [f"generation {t}" for t in (1, 2, 3)]


def test_few_modes_are_lines(grid: Path) -> None:
    figure = modes_figure(read_run(grid, name="loop"))
    assert figure is not None
    shares = np.array([record.mode_shares for record in read_generations(grid)])
    np.testing.assert_array_equal(np.array(drawn_lines(figure)).T, shares)
    np.testing.assert_allclose(drawn_lines(figure, 0, ":")[0], 1 / 9)
    np.testing.assert_array_equal(drawn_lines(figure, 1)[0], stored(grid, "mode_survival"))


def test_many_modes_are_a_map_relative_to_their_real_shares(tmp_path: Path) -> None:
    folder = kept(tmp_path / "loop", GRID, data="grid:4", generations=2)
    figure = modes_figure(read_run(folder, name="loop"))
    assert figure is not None
    shown = np.asarray(figure.axes[0].collections[0].get_array())
    shares = np.array([record.mode_shares for record in read_generations(folder)])
    np.testing.assert_allclose(np.sort(shown.ravel()), np.sort(shares.ravel() * 16))


def test_texts_become_a_text_file(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": f"the cat number {i} sat"}) + "\n" for i in range(40)))
    config = LoopConfig(family="ngram", data=str(source), n_initial=30, n_measure=20, generations=2)
    folder = kept(tmp_path / "loop", config)
    [text] = [path for path in draw_plots(folder) if path.suffix == ".txt"]
    lines = text.read_text().splitlines()
    assert text.name == "samples-loop.txt"
    assert [line for line in lines if not line.startswith(" ")] == ["generation 1", "", "generation 2"]
    assert len(lines) == 3 + 2 * 5


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    for bias in (1.0, 0.5):
        for size in (0, 30, 300):
            kept(folder / f"{bias}-{size}", workflow="fresh", n_real=30, n_synthetic=size, bias=bias, chains=300)
    return folder


def test_the_admissible_map_is_the_effective_share_at_the_last_generation(fresh: Path) -> None:
    groups = groups_in(fresh)
    figure = _admissible_figure(groups)
    assert figure is not None
    shown = np.asarray(figure.axes[0].images[0].get_array())  # rows λ = 0.5, 1; columns 0, 30, 300 synthetic
    expected = [
        [effective_size(stored(fresh / f"{b}-{n}", "frechet")[-1]) / 30 for n in (0, 30, 300)] for b in (0.5, 1.0)
    ]
    np.testing.assert_allclose(shown, expected)
    assert shown[0, 2] < 1 < shown[1, 2]
    assert shown[0, 0] == pytest.approx(1, abs=0.25)


def test_there_is_no_map_of_a_single_bias_or_where_no_real_items_alone_were_measured(tmp_path: Path) -> None:
    for size in (20, 40):
        kept(tmp_path / f"a{size}", workflow="fresh", n_real=30, n_synthetic=size)
    assert _admissible_figure(groups_in(tmp_path)) is None
    for size in (20, 40):
        kept(tmp_path / f"b{size}", workflow="fresh", n_real=30, n_synthetic=size, bias=0.5)
    assert _admissible_figure(groups_in(tmp_path)) is not None
    for mark in tmp_path.glob("*/loop.json"):
        mark.write_text(mark.read_text().replace("normal:1", "normal:7"))
    assert _admissible_figure(groups_in(tmp_path)) is None


def test_other_data_are_read_off_the_first_generations_of_the_sweep(tmp_path: Path) -> None:
    changes = {"data": "normal:2", "chains": 200, "workflow": "fresh"}
    for first in (15, 60, 240):
        kept(tmp_path / f"{first}", n_initial=first, n_real=60, n_synthetic=0, generations=1, **changes)
    kept(tmp_path / "loop", n_initial=60, n_real=60, n_synthetic=60, generations=5, **changes)
    groups = groups_in(tmp_path)
    [loop] = [group for group in groups if group.longest.config.n_synthetic == 60]
    assert 1.2 < effective_share(loop, groups) < 1.8  # 1 + s = 1.5 for large n


def test_measures_that_cannot_be_had_are_left_out(tmp_path: Path) -> None:
    folder = kept(tmp_path / "loop")
    for generation in range(1, 4):
        file = folder / "generations" / f"{generation:04d}.npz"
        with np.load(file) as found:
            arrays = dict(found)
        np.savez(file, **{**arrays, "chains_precision": np.full(20, np.nan)})
        mark = file.with_suffix(".json")
        record = json.loads(mark.read_text())
        record["precision"] |= {"estimate": None, "low": None, "high": None}
        mark.write_text(json.dumps(record))
    figure = _loops_figure(groups_in(folder))
    assert [axes.get_ylabel() for axes in figure.axes] == ["Fréchet distance", "recall"]
    assert len(draw_plots(folder)) == 2


@pytest.mark.parametrize("changes", [{"generations": 1}, {"generations": 1, "chains": 1}, {"bias": 0.0}])
def test_the_smallest_and_the_flattest_loops_are_drawn(changes: dict[str, float], tmp_path: Path) -> None:
    assert len(draw_plots(kept(tmp_path / "loop", **changes))) == 2


def test_names_that_the_font_or_the_notation_cannot_show_are_no_trouble(tmp_path: Path) -> None:
    data = tmp_path / "猫 $x_.npy"
    np.save(data, np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32))
    assert len(draw_plots(kept(tmp_path / "loop", data=str(data), n_initial=30))) == 3


def test_loops_are_found_three_folders_below_and_not_within_loops(tmp_path: Path) -> None:
    kept(tmp_path / "a" / "b" / "c")
    kept(tmp_path / "a" / "b" / "c" / "real-only")
    kept(tmp_path / "x" / "y" / "z" / "w", seed=1)
    assert [run.name for run in find_runs(tmp_path)] == ["c"]


def test_a_folder_without_a_loop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no loop"):
        draw_plots(tmp_path)
    with pytest.raises(InputError, match="holds no loop"):
        draw_plots(tmp_path / "missing")


def test_a_loop_without_a_finished_generation_is_refused(tmp_path: Path) -> None:
    identity = json.loads((kept(tmp_path / "done") / "loop.json").read_text())
    LoopFolder(tmp_path / "begun").claim(identity)
    with pytest.raises(InputError, match="no finished generation"):
        draw_plots(tmp_path / "begun")
