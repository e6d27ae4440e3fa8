"""The overview of an evaluation, read from the figure itself."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ncdb_dask.evaluation.metrics import METRICS, measure_with_ranges
from ncdb_dask.evaluation.pictures import overview as picture
from ncdb_dask.evaluation.schema import RANGES, SCHEMA, of_range

pytest.importorskip("matplotlib")
TITLES = [
    "Error of frames",
    "Error by depth of the pixel",
    "Bias by depth of the pixel",
    "Error by recording",
    "Pixels by their factor off the truth",
    "Scale of frames",
]


def frames(count: int, recordings: int = 3, reach: float = 40.0, name: str = "synced_data/r{:02d}") -> pd.DataFrame:
    rng = np.random.default_rng(count)
    rows = []
    for number in range(count):
        truth = rng.uniform(1, reach, 200)
        prediction = truth * np.exp(rng.normal(0.1 * (number % recordings), 0.2, 200))
        whole, parts = measure_with_ranges(truth, prediction, RANGES.nearest(truth), len(RANGES.names))
        row = {"status": "ok", "dataset_root": name.format(number % recordings), "filename": f"{number}", **whole}
        for part, (pixels, figures) in zip(RANGES.names, parts, strict=True):
            row[of_range("valid_pixels", part)] = pixels
            row |= {of_range(metric, part): figures.get(metric) for metric in METRICS}
        rows.append(row)
    return pd.DataFrame(rows, columns=SCHEMA.names)


@pytest.fixture
def figure_of(monkeypatch):
    """Draw a table, and return the figure."""
    kept = []

    def draw(frame, title="title"):
        with monkeypatch.context() as patch:
            patch.setattr(picture, "as_png", lambda figure: kept.append(figure) or b"")
            picture.overview(frame, title)
        return kept[-1]

    return draw


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_it_is_a_png_of_the_documented_size(count):
    assert size(picture.overview(frames(count), "title")) == (1500, 900)


def test_tables_as_they_are_read():
    table = SCHEMA.empty_table().to_pandas()
    assert size(picture.overview(table, "nothing")) == (1500, 900)
    arrow = frames(9).convert_dtypes(dtype_backend="pyarrow")
    assert size(picture.overview(arrow, "pyarrow")) == (1500, 900)


def test_without_a_judged_frame_every_panel_says_so(figure_of):
    frame = frames(3).assign(status=["no_valid_pixels", "crashed", "crashed"])
    figure = figure_of(frame)
    assert [axes.get_title() for axes in figure.axes] == TITLES
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["nothing to show"]] * 6
    assert figure.get_suptitle().splitlines()[1] == "0 of 3 frames judged, 2 crashed, 1 no_valid_pixels"


def test_the_panels_show_the_tables_figures(figure_of):
    frame = frames(30)
    others = frames(4).assign(status="missing_depth", abs_rel=9.0)
    axes = figure_of(pd.concat([frame, others], ignore_index=True)).axes
    assert sum(bar.get_height() for bar in axes[0].patches) == 30
    texts = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert texts == [f"mean {frame['abs_rel'].mean():.4f}", f"median {frame['abs_rel'].median():.4f}"]
    for panel, metric in ((axes[1], "abs_rel"), (axes[2], "bias")):
        due = [frame[of_range(metric, name)].astype(float).mean() for name in RANGES.names]
        assert np.allclose([bar.get_height() for bar in panel.patches], due)
        assert [label.get_text().splitlines()[0] for label in panel.get_xticklabels()] == list(RANGES.names)
    all_frames = [parts[0].get_width() for parts in axes[4].containers]
    a1, a2, a3 = (frame[name].mean() for name in ("a1", "a2", "a3"))
    assert np.allclose(all_frames, 100 * np.asarray([a1, a2 - a1, a3 - a2, 1 - a3]))
    points = axes[5].collections[-1].get_offsets()
    assert np.allclose(points, frame[["silog", "log_bias"]].to_numpy(float) * [1, 100])
    part = (frame["log_bias"] ** 2).sum() / (frame["rmse_log"] ** 2).sum()
    assert axes[5].get_title() == f"Scale of frames: {100 * part:.0f} % of squared log error"


def test_a_range_without_pixels_has_no_figure_and_one_with_few_is_pale(figure_of):
    frame = frames(6, reach=7.0)
    frame.loc[0, of_range("valid_pixels", "far")] = 2
    frame.loc[0, of_range("abs_rel", "far")] = frame.loc[0, of_range("bias", "far")] = 3.0
    axes = figure_of(frame).axes
    assert [text.get_text() for text in axes[1].texts][2:] == ["3.000", "no pixel"]
    assert [bar.get_alpha() for bar in axes[1].patches][:3] == [1.0, 1.0, 0.3]
    assert axes[1].get_xlabel().endswith("pale: under 1 %")
    assert axes[1].get_xticklabels()[2].get_text() == "far\n8-15 m\n0.2 %"


def test_signs_of_the_bias_have_the_colours_of_the_panels(figure_of):
    frame = frames(4)
    for name, value in zip(RANGES.names, (-1.0, 1.0, -2.0, 2.0), strict=True):
        frame[of_range("bias", name)] = value
    near, far = ((bar.get_facecolor()[0], bar.get_facecolor()[2]) for bar in figure_of(frame).axes[2].patches[:2])
    assert near[1] > near[0]
    assert far[0] > far[1]


def test_the_worst_recordings_are_shown_and_the_others_counted(figure_of):
    frame = frames(60, recordings=20)
    axes = figure_of(frame).axes[3]
    means = frame.groupby("dataset_root")["abs_rel"].mean().sort_values(ascending=False)
    assert [label.get_text().splitlines()[0] for label in axes.get_yticklabels()] == list(means.index[:12])
    assert axes.get_title() == "Error by recording, worst 12 of 20"
    assert axes.yaxis_inverted()


def test_thousands_of_frames_are_points_of_the_same_spread(figure_of):
    frame = pd.concat([frames(50, recordings=1)] * 40, ignore_index=True)
    points = figure_of(frame).axes[3].collections[0].get_offsets().data
    assert len(points) == picture.MOST_POINTS
    assert (points[:, 0].min(), points[:, 0].max()) == (frame["abs_rel"].min(), frame["abs_rel"].max())
    assert np.median(points[:, 0]) == pytest.approx(frame["abs_rel"].median(), rel=0.05)


@pytest.mark.parametrize("name", ["$x^{2$_{:02d}", "a_$\\frac_{:02d}", "long/" * 50 + "{:02d}"])
def test_any_name_can_be_written(name):
    name = name.replace("{2$", "{{2$")
    assert size(picture.overview(frames(6, name=name), name)) == (1500, 900)


def test_a_perfect_prediction():
    frame = frames(5)
    for metric, kind in METRICS.items():
        frame[[metric, *(of_range(metric, name) for name in RANGES.names)]] = 1.0 if kind.best == "high" else 0.0
    assert size(picture.overview(frame, "perfect")) == (1500, 900)
