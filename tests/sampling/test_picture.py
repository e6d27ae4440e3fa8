"""What the six panels of a set's picture hold, read from the figure itself."""

import numpy as np
import pytest
from helpers.scans import forge, row

import ncdb_dask
from ncdb_dask.sampling import picture

pytest.importorskip("matplotlib")
LIGHT = ("day", "night", "dusk")
ROWS = [row("s", f"{n:03d}", 0.5 + n / 6, lighting=LIGHT[n % 3 % 2 + n // 90]) for n in range(120)]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draw sets, and keep the figure of the last."""
    figures = []

    def keep(figure):
        figures.append(figure)
        return b""

    monkeypatch.setattr(picture, "as_png", keep)
    scan = forge(tmp_path / "scan", ROWS)

    def draw(**options):
        chosen = ncdb_dask.sample(scan, **{"size": 40, **options})
        picture.set_picture(chosen)
        return chosen, figures[-1]

    return draw


def bars(axes) -> dict[str, list[float]]:
    """Lengths of the bars by legend label, from above to below."""
    return {container.get_label(): [bar.get_width() for bar in container][::-1] for container in axes.containers}


def names(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()][::-1]


def test_the_panels_show_the_reports_figures(drawn):
    chosen, figure = drawn()
    report, axes = chosen.report, figure.axes
    assert [one.get_title() or one.get_title("left") for one in axes] == [
        "Data set: 120 frames",
        "Calibration set: 40 frames",
        "Depth of all valid pixels",
        "By depth range",
        "Scene types",
        "Lighting",
    ]
    assert [sum(bar.get_height() for bar in one.patches) for one in axes[:2]] == [120, 40]
    due = [100 * np.asarray(counts) / sum(counts) for counts in report.pixel_histogram]
    assert np.allclose([patch.get_data().values for patch in axes[2].patches], due)
    assert names(axes[3]) == [stratum.name for stratum in report.strata]
    assert bars(axes[3]) == {
        "wanted": [stratum.requested for stratum in report.strata],
        "chosen": [stratum.granted for stratum in report.strata],
    }
    for panel, counts in ((axes[4], report.scene_types), (axes[5], report.lighting)):
        assert set(names(panel)) == set(counts)
        for side, (label, total) in enumerate((("data set", 120), ("calibration set", 40))):
            assert bars(panel)[label] == pytest.approx([100 * counts[name][side] / total for name in names(panel)])
    found = report.distances["mean_depth"]
    moved = f"{found.value:.2f} m (random sets: {found.random_median:.2f} m)"
    assert figure.get_suptitle() == f"calibration set, stratified, seed 42: mean depths moved by {moved}"


def test_a_set_by_other_columns_shows_its_depth_ranges(drawn):
    chosen, figure = drawn(strategy="balanced", by="lighting")
    assert figure.axes[3].get_title("left") == "Depth ranges"
    assert names(figure.axes[3]) == list(chosen.report.depth_ranges)


def test_the_edges_of_the_ranges_are_marked(drawn):
    _, figure = drawn(bins="0,2,10,inf", names="a,b,c", ratios=".2,.4,.4")
    for axes in figure.axes[:2]:
        assert [line.get_xdata()[0] for line in axes.lines] == [0, 2, 10]
        assert [text.get_text() for text in axes.texts] == [" a", " b", " c"]
