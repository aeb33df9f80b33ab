"""Figures of relaxation and of the current: the data in their artists."""

from types import SimpleNamespace

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra `plot`")
matplotlib.use("Agg")

from jaxou import plots  # noqa: E402


def labelled(ax, label):
    handles, labels = ax.get_legend_handles_labels()
    return handles[labels.index(label)]


def record():
    """What the figure reads of a `StageRelaxation`, with round numbers."""
    steps = np.array([0.0, 10.0, 20.0])
    line = SimpleNamespace(steps=steps, kl=np.array([np.inf, 1.0, 0.1]), w2=steps + 1, energy=steps)
    series = SimpleNamespace(
        measured=np.array([4.0, 1.0, -0.1]), error=np.array([0.5, 0.8, 0.1]), floor=0.25
    )
    points = SimpleNamespace(
        steps=steps,
        kl=series,
        w2=series,
        energy=series,
        fit=SimpleNamespace(first=1.0, last=2.0, slope=-2.0, intercept=0.0, error=0.1),
    )
    path = SimpleNamespace(line=line, reason="")
    none = SimpleNamespace(line=None, reason="the Hessian is flat")
    return SimpleNamespace(
        name="pretrain", steps=20.0, duration=2.0, chain=path, sde=none, points=points
    )


def test_relaxation_shows_line_points_errors_floor_and_slope(ax):
    assert plots.relaxation(record(), ax=ax) is ax
    theory = labelled(ax, "theory: SGD's chain")
    np.testing.assert_array_equal(theory.get_ydata(), [np.nan, 1.0, 0.1])
    assert theory.get_linestyle() == "--" and ax.get_yscale() == "log"
    band = labelled(ax, "Monte Carlo floor")
    assert band.get_y() + band.get_height() == pytest.approx(0.25)
    bars = labelled(ax, "particles, ± 2 standard errors")
    np.testing.assert_array_equal(bars[0].get_xdata(), [0.0, 10.0])
    np.testing.assert_array_equal(bars[0].get_ydata(), [4.0, 1.0])
    ends = np.array(bars[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(ends, [[3.0, 5.0], [1e-3, 2.6]])
    slope = labelled(ax, "fitted slope -2 ± 0.1")
    np.testing.assert_allclose(slope.get_xdata(), [10.0, 20.0])
    np.testing.assert_allclose(slope.get_ydata(), np.exp([-2.0, -4.0]))


def test_relaxation_in_w2_takes_roots_of_the_square(ax):
    plots.relaxation(record(), quantity="w2", ax=ax)
    bars = labelled(ax, "particles, ± 2 standard errors")
    np.testing.assert_allclose(bars[0].get_ydata(), [2.0, 1.0])
    band = labelled(ax, "Monte Carlo floor")
    assert band.get_y() + band.get_height() == pytest.approx(0.5)


def test_relaxation_says_what_is_missing(ax):
    with pytest.raises(ValueError, match="the Hessian is flat"):
        plots.relaxation(record(), clock="sde", ax=ax)
    with pytest.raises(ValueError, match="'kl', 'w2', 'energy'"):
        plots.relaxation(record(), quantity="tv", ax=ax)
    plots.relaxation(record(), quantity="energy", ax=ax)


def test_current_turns_along_the_contours(ax):
    s = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
    r = np.array([[0.0, -0.4, 0.1], [0.4, 0.0, 0.3], [-0.1, -0.3, 0.0]])
    mean = np.array([1.0, -1.0, 3.0])
    plots.current(mean, s, r, directions=(0, 2), kind="quiver", points=5, ax=ax)
    arrows = labelled(ax, "current")
    at = np.array(arrows.get_offsets()) - mean[[0, 2]]
    flow = np.stack([arrows.U, arrows.V], axis=1)
    plane = s[np.ix_([0, 2], [0, 2])]
    pull = np.linalg.solve(plane, at.T).T
    np.testing.assert_allclose(np.sum(flow * pull, axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(flow, -pull @ np.array([[0.0, 0.1], [-0.1, 0.0]]).T, atol=1e-12)
    edge = np.stack(ax.lines[0].get_data(), axis=1) - mean[[0, 2]]
    radius = np.sum(edge * np.linalg.solve(plane, edge.T).T, axis=1)
    np.testing.assert_allclose(radius, 2 * np.log(2))


def test_current_as_streams_or_none_at_all(ax):
    r = np.array([[0.0, -0.4], [0.4, 0.0]])
    before = len(ax.collections)
    plots.current([0.0, 0.0], np.eye(2), 0 * r, ax=ax)
    assert len(ax.collections) == before  # contours only
    plots.current([0.0, 0.0], np.eye(2), r, directions=np.eye(2), ax=ax)
    assert len(ax.collections) > before
    with pytest.raises(ValueError, match="two of 0..1"):
        plots.current([0.0, 0.0], np.eye(2), r, directions=(0, 5), ax=ax)
    with pytest.raises(ValueError, match="stream"):
        plots.current([0.0, 0.0], np.eye(2), 0 * r, kind="arrows", ax=ax)


def test_verdict_draws_every_p_value_where_it_is(ax):
    found = {
        "pretrain": {"mean": 0.3, "shape": 1e-20, "all moments (KL)": None},
        "finetune": {"mean": 0.9, "shape": 0.02, "all moments (KL)": 0.5},
    }
    plots.verdict(found, level=0.01, ax=ax)
    first, second = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(first.get_xdata(), [0.3, 1e-16])
    np.testing.assert_allclose(second.get_xdata(), [0.9, 0.02, 0.5])
    np.testing.assert_allclose(second.get_ydata() - first.get_ydata()[0], [0.32, 1.32, 2.32])
    assert [text.get_text() for text in ax.get_yticklabels()] == list(found["finetune"])
    low, high = ax.get_xlim()
    assert low < 1e-16 < 1 < high
