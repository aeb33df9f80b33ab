"""Figures are checked for the data they show, not for pixels; each is also rendered once."""

import subprocess
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra `plot`")
matplotlib.use("Agg")

from matplotlib.patches import Rectangle  # noqa: E402

from jaxou import plots  # noqa: E402
from jaxou.plots._calibration import chi_square_quantile  # noqa: E402


def labelled(ax, label):
    """The one artist with this label."""
    handles, labels = ax.get_legend_handles_labels()
    return handles[labels.index(label)]


def test_fan_shows_bands_theory_and_the_stage_change(ax):
    t = np.arange(4.0)
    quantiles = np.stack([t - 2, t - 1, t, t + 1, t + 2], axis=1)
    got = plots.trajectory_fan(
        t, quantiles, theory_mean=t + 0.1, theory_sd=np.full(4, 0.5),
        replicas=t[:, None] + [0.2, 0.3], stage_change=1.5, ax=ax,
    )  # fmt: skip
    assert got is ax
    np.testing.assert_array_equal(labelled(ax, "median").get_ydata(), t)
    np.testing.assert_array_equal(labelled(ax, "theory: mean").get_ydata(), t + 0.1)
    np.testing.assert_allclose(labelled(ax, "theory: ± 2 sd").get_ydata(), t + 1.1)
    assert labelled(ax, "theory: mean").get_linestyle() == "--"
    assert labelled(ax, "theory: mean").get_color() == plots.COLOURS["theory"]
    band = labelled(ax, "90 % of particles").get_paths()[0].vertices
    assert band[:, 1].min() == -2 and band[:, 1].max() == 5
    assert any(list(line.get_xdata()) == [1.5, 1.5] for line in ax.lines)


def test_fan_refuses_other_quantiles(ax):
    with pytest.raises(ValueError, match=r"expected \(4, 5\)"):
        plots.trajectory_fan(np.arange(4.0), np.zeros((4, 3)), ax=ax)


def test_cloud_contours_hold_the_mass_they_say(ax):
    rng = np.random.default_rng(0)
    mean, root = np.array([1.0, -2.0]), np.array([[2.0, 0.0], [1.0, 0.5]])
    covariance = root @ root.T
    points = mean + rng.normal(size=(20_000, 2)) @ root.T
    plots.cloud(points, mean, covariance, mass=(0.5, 0.9), ax=ax)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)
    for line, mass in zip(ax.lines, (0.5, 0.9), strict=True):
        edge = np.stack(line.get_data(), axis=1) - mean
        radius = np.sum(edge * np.linalg.solve(covariance, edge.T).T, axis=1)
        inside = np.sum((points - mean) * np.linalg.solve(covariance, (points - mean).T).T, axis=1)
        np.testing.assert_allclose(radius, radius[0])
        assert abs(np.mean(inside < radius[0]) - mass) < 4.5 * np.sqrt(mass * (1 - mass) / 20_000)


def test_cloud_says_which_masses_its_contours_hold_and_refuses_what_has_none(ax):
    plots.cloud(np.zeros((3, 2)), [0.0, 0.0], np.eye(2), mass=(0.5, 0.8), ax=ax)
    assert "Gibbs law: 50, 80 %" in ax.get_legend_handles_labels()[1]
    with pytest.raises(ValueError, match=r"points has shape \(3, 1\); expected \(P, 2\)"):
        plots.cloud(np.zeros((3, 1)), [0.0], np.eye(1), ax=ax)
    with pytest.raises(ValueError, match=r"mass=\(50, 90\) must hold shares"):
        plots.cloud(np.zeros((3, 2)), [0.0, 0.0], np.eye(2), mass=(50, 90), ax=ax)


def test_cloud_of_a_singular_law_is_a_segment(ax):
    plots.cloud(np.zeros((3, 2)), [0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], ax=ax)
    assert all(np.all(line.get_ydata() == 0) for line in ax.lines)


def test_large_clouds_are_binned(ax):
    plots.cloud(np.random.default_rng(0).normal(size=(100_000, 2)), [0.0, 0.0], np.eye(2), ax=ax)
    assert ax.collections[0].get_array().sum() > 0
    assert type(ax.collections[0]).__name__ == "PolyCollection"


def test_decay_leaves_out_what_a_log_axis_cannot_show(ax):
    t = np.arange(5.0)
    plots.decay(
        t, [np.inf, 1.0, 0.1, 0.0, np.nan], measured=[2.0, 1.0, 0.2, 0.2, 0.2], floor=0.2, ax=ax
    )
    theory = labelled(ax, "theory").get_ydata()
    np.testing.assert_array_equal(np.isfinite(theory), [False, True, True, False, False])
    assert ax.get_yscale() == "log"
    band = labelled(ax, "Monte Carlo floor")
    assert isinstance(band, Rectangle)
    assert np.isclose(band.get_y() + band.get_height(), 0.2) and band.get_y() > 0


def test_decomposition_stacks_to_the_total(ax):
    bars = {"a": {"risk": 0.1, "KL": 0.3}, "b": {"risk": 0.2, "confidence": 0.1}}
    plots.bound_decomposition(bars, markers={"a": 0.15}, ax=ax)
    ends = {}
    for patch in ax.patches:
        row = round(patch.get_y() + patch.get_height() / 2)
        ends[row] = max(ends.get(row, 0.0), patch.get_x() + patch.get_width())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert np.isclose(ends[1], 0.4) and np.isclose(ends[0], 0.3)  # "a" on top
    assert list(labelled(ax, "measured test error").get_xdata()) == [0.15]


def test_decomposition_says_how_long_a_bar_is_that_leaves_the_page(ax):
    plots.bound_decomposition({"a": {"risk": 0.1, "KL": 500.0}}, ax=ax)
    assert ax.get_xlim()[1] < 1.5
    assert any("500" in text.get_text() for text in ax.texts)


def test_bound_map_stars_the_smallest_value_and_hatches_the_unstable(ax):
    rates, batches = np.array([0.01, 0.1, 1.0]), np.array([4.0, 16.0])
    values = np.array([[0.5, 0.4, np.nan], [0.6, 0.3, 0.9]])
    plots.bound_map(
        rates, batches, values, unstable_from=0.5, here=(0.1, 4.0), arrow=(1.0, 0.0), ax=ax
    )
    star = labelled(ax, "lowest here: 0.3")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.1, 16.0)
    assert labelled(ax, "this run").get_xdata()[0] == 0.1
    assert labelled(ax, "SGD unstable").get_x() == 0.5
    with pytest.raises(ValueError, match="batches, rates"):
        plots.bound_map(rates, batches, values.T, ax=ax)


@pytest.mark.parametrize("rates, batches", [([0.1], [1, 8, 64]), ([0.1, 0.2], [8]), ([0.1], [8])])
def test_bound_map_of_one_row_or_one_cell(ax, rates, batches):
    values = np.arange(1.0, 1.0 + len(rates) * len(batches)).reshape(len(batches), len(rates))
    plots.bound_map(rates, batches, values, downhill=True, ax=ax)
    star = labelled(ax, "lowest here: 1")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (rates[0], batches[0])
    ax.figure.canvas.draw()


def test_spectra_leave_out_zeros(ax):
    plots.spectra({"A": [1.0, 3.0, 1e-20], "C": [2.0]}, styles={"A": {"color": "red"}}, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "A").get_ydata(), [3.0, 1.0])
    assert labelled(ax, "A").get_color() == "red"


@pytest.mark.parametrize("scale,inside", [(1.0, True), (1.1, False)])
def test_calibration_band_holds_the_right_law_and_not_its_wrong_twin(ax, scale, inside):
    d, n = 5, 20_000
    squared = scale * np.sum(np.random.default_rng(1).normal(size=(n, d)) ** 2, axis=1)
    plots.calibration(squared, d, ax=ax)
    x, y = labelled(ax, "particles").get_data()
    p = np.arange(1, 200) / 200
    np.testing.assert_allclose(x, chi_square_quantile(p, d))
    # all quantiles at once: Kolmogorov's limit at level 0.001
    slack = 1.95 / np.sqrt(n)
    low, high = (chi_square_quantile(np.clip(p + s, 0, 1), d) for s in (-slack, slack))
    assert np.all((low <= y) & (y <= high)) == inside


def test_a_figure_of_its_own_when_no_axes_are_given():
    from matplotlib import pyplot

    ax = plots.spectra({"A": [1.0]})
    assert ax.figure is not None
    pyplot.close(ax.figure)


@pytest.mark.multiprocess
def test_without_matplotlib_the_sentence_names_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None; import jaxou.plots"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'jaxou[plot]'" in done.stderr.splitlines()[-1]
