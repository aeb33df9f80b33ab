"""Figures of the claims: what the artists hold."""

import numpy as np

from jaxou.plots import _claims as draw


def test_kl_against_draws_limits_and_margin(ax):
    found = np.array([[0.1, 0.05, 0.2], [-0.001, 0.0, 0.003]])
    draw.kl_against([1, 2], found, exact=([1, 2], [0.1, 0.0]), margin=0.02, ax=ax)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.1, draw.FLOOR])
    np.testing.assert_allclose(ax.collections[0].get_segments()[0], [[1, 0.05], [1, 0.2]])
    assert ax.lines[2].get_ydata()[0] == 0.02


def test_rate_curves_has_a_guide(ax):
    n = np.array([100.0, 10_000.0])
    draw.rate_curves(n, {"row": [1.0, 0.1]}, ax=ax)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [1.0, 0.1])


def test_rate_map_leaves_out_the_zero_and_marks_the_change(ax):
    n, r = np.logspace(2, 4, 5), np.array([0.0, 1e-3, 1e-2, 1e-1])
    slopes = -np.linspace(0.5, 1.0, 20).reshape(4, 5)
    draw.rate_map(n, r, slopes, kl=10.0, ax=ax)
    np.testing.assert_allclose(ax.collections[0].get_array().reshape(3, 5), slopes[1:])
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x * y, 10.0)


def test_dominance_figures(ax):
    change, d = np.array([0.5, 2.0, 0.0, np.inf]), np.array([2.0, 2.0, 5.0, 5.0])
    draw.dominance_share([1.0, 10.0], change, d, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 1.0])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.5, 0.5])


def test_dominance_boundary_shows_what_has_one(ax):
    change, d = np.array([0.5, 2.0, 0.0, np.inf]), np.array([2.0, 2.0, 5.0, 5.0])
    draw.dominance_boundary([1.0, 3.0, 1.0, 1.0], change, d, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 2.0])
    assert len(ax.lines[1].get_ydata()) == 0


def test_scatter_and_correlations(ax):
    draw.gap_scatter([1.0, 10.0], [0.1, 0.2], error=[0.01, 0.02], ax=ax)
    np.testing.assert_allclose(ax.collections[0].get_segments()[1], [[10, 0.18], [10, 0.22]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.1, 0.2])


def test_correlations_are_in_the_order_of_their_names(ax):
    values = {"one": [[0.9, 0.8, 0.95], [0.1, -0.1, 0.3]]}
    draw.correlations(["first", "second"], values, strength=0.5, ax=ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "second"]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.9, 0.1])
    assert ax.lines[0].get_ydata()[0] > ax.lines[0].get_ydata()[1]
