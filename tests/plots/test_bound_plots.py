"""Figures of bounds: terms, map, number of examples, stopping time. The data in the artists."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402

import jaxou as ou  # noqa: E402
from jaxou import plots  # noqa: E402

RATES, BATCHES = np.geomspace(0.01, 1.0, 9), np.geomspace(1.0, 64.0, 7)
# a bowl in the logarithms with its lowest cell at (0.1, 8)
BOWL = 0.2 + np.log(BATCHES[:, None] / 8) ** 2 / 30 + np.log(RATES / 0.1) ** 2 / 30


def labelled(ax, start):
    """The one artist whose label begins so."""
    handles, labels = ax.get_legend_handles_labels()
    (found,) = [h for h, text in zip(handles, labels, strict=True) if text.startswith(start)]
    return found


def overlaps(ax):
    """Pairs of texts inside the axes that cover each other when drawn."""
    ax.figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for t in ax.texts if t.get_text()]
    return [(a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[:i] if x.overlaps(y)]


# ---- terms


def test_terms_of_both_stages_add_up_to_the_kl(ax, p07):
    bound = ou.two_stage_bound(
        p07, n_source=50_000, n_target=1000, risk=0.1, source_risk=0.05, delta=0.05
    )
    assert plots.bound_terms(bound, title="P07", ax=ax) is ax
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names[:2] == ["TRACE / 2", "SHIFT / 2"] and names[-3:] == ["CONF", "LOGN", "CONST"]
    assert "PRIORVOL / 2" not in names  # tau = 1: no volume in either stage
    for label, stage, kl in (("pre-training", bound.source, 7.22806166328186),
                             ("fine-tuning", bound.target, 1.88756917650183)):  # fmt: skip
        widths = [bar.get_width() for bar in labelled(ax, label)]
        at = names.index("= KL")
        np.testing.assert_allclose(sum(widths[:at]), kl, rtol=1e-8)
        np.testing.assert_allclose(widths[at], kl, rtol=1e-8)
        # the whole numerator under McAllester's root
        gap = np.sqrt(sum(widths[at:]) / (2 * float(stage.n) - 1))
        np.testing.assert_allclose(gap, float(stage.gap), rtol=1e-10)
    _, labels = ax.get_legend_handles_labels()
    assert labels[1] == "fine-tuning: FIT 0.1 + gap 0.0851 (n = 1000) = 0.185"
    assert ax.get_xscale() == "linear" and not overlaps(ax)
    # the two stages differ in print without colour as well
    hatches = {bar.get_hatch() for bar in ax.patches}
    assert len(hatches) == 2


def test_terms_of_another_row_and_without_a_source_risk(ax, p07):
    bound = ou.two_stage_bound(
        p07, n_source=50_000, n_target=1000, risk=0.1, delta=0.05, bound="seeger"
    )
    plots.bound_terms(bound, ax=ax)
    assert "CONST" not in [t.get_text() for t in ax.get_yticklabels()]
    assert ax.get_legend_handles_labels()[1][0].startswith("pre-training: gap ")


def test_terms_that_dwarf_the_others_get_a_logarithmic_axis(ax, p07):
    far = p07.with_finetune(minimum=np.array([30.0, -20.0]))
    bound = ou.two_stage_bound(far, n_source=50_000, n_target=1000, risk=0.1, delta=0.05)
    plots.bound_terms(bound, ax=ax)
    assert ax.get_xscale() == "symlog"
    low, high = ax.get_xlim()
    assert low < min(bar.get_width() for bar in ax.patches) == -1.0
    assert high > max(bar.get_width() for bar in ax.patches) > 1e6
    assert any(text.get_text() == f"{float(bound.target.kl):.3g}" for text in ax.texts)


def test_infinite_terms_are_named_and_the_others_stay_readable(ax, p07):
    still = p07.with_finetune(noise=np.zeros((2, 2)))
    bound = ou.two_stage_bound(still, n_source=50_000, n_target=1000, risk=0.1, delta=0.05)
    assert np.isinf(float(bound.target.kl))
    plots.bound_terms(bound, ax=ax)
    assert "inf" in [text.get_text() for text in ax.texts]
    assert np.all(np.isfinite(ax.get_xlim())) and ax.get_xlim()[1] < 50


# ---- the map


def test_map_has_level_lines_arrows_downhill_and_the_path(ax):
    path = [[0.5, 2.0], [0.3, 4.0], [0.1, 8.0]]
    plots.bound_map(
        RATES, BATCHES, BOWL, unstable_from=0.6, downhill=True, path=path, title="fine-tuning",
        ax=ax,
    )  # fmt: skip
    assert ax.get_title(loc="left") == "fine-tuning"
    star = labelled(ax, "lowest here: 0.2")
    np.testing.assert_allclose([star.get_xdata()[0], star.get_ydata()[0]], [0.1, 8.0])
    quiver = next(c for c in ax.collections if type(c).__name__ == "Quiver")
    position = np.log(quiver.XY / [0.1, 8.0])
    inside = np.linalg.norm(position, axis=1) > 0.1
    # in the logarithms the bowl is round: every arrow points at its centre
    pointing = np.stack([quiver.U, quiver.V], axis=1)[inside]
    towards = -position[inside] / np.linalg.norm(position[inside], axis=1, keepdims=True)
    assert len(pointing) >= 20
    np.testing.assert_allclose(np.sum(pointing * towards, axis=1), 1.0, atol=0.02)
    np.testing.assert_array_equal(np.stack(labelled(ax, "tuning").get_data(), axis=1), path)
    lines = next(c for c in ax.collections if type(c).__name__ == "QuadContourSet")
    assert len(lines.levels) == 7 and BOWL.min() < lines.levels.min() < lines.levels.max()
    unstable = labelled(ax, "SGD unstable")
    assert unstable.get_x() == 0.6 and unstable.get_hatch()


def test_map_takes_exact_slopes(ax):
    in_rate = np.broadcast_to(np.log(RATES / 0.1) / 15, BOWL.shape)
    in_batch = np.broadcast_to(np.log(BATCHES[:, None] / 8) / 15, BOWL.shape)
    plots.bound_map(RATES, BATCHES, BOWL, downhill=(-in_rate, -in_batch), ax=ax)  # the wrong way
    quiver = next(c for c in ax.collections if type(c).__name__ == "Quiver")
    position = np.log(quiver.XY / [0.1, 8.0])
    away = np.sum(position * np.stack([quiver.U, quiver.V], axis=1), axis=1)
    assert np.all(away[np.linalg.norm(position, axis=1) > 0.1] > 0)
    with pytest.raises(ValueError, match="downhill has shapes"):
        plots.bound_map(RATES, BATCHES, BOWL, downhill=(in_rate.T, in_batch.T), ax=ax)
    with pytest.raises(ValueError, match=r"expected \(steps, 2\)"):
        plots.bound_map(RATES, BATCHES, BOWL, path=[1.0, 2.0], ax=ax)


def test_map_keeps_its_colours_from_a_wall_of_instability(ax):
    wall = BOWL.copy()
    wall[:, -1] = np.nan
    wall[0, -2] = 1e6
    plots.bound_map(RATES, BATCHES, wall, downhill=True, ax=ax)
    mesh = next(c for c in ax.collections if type(c).__name__ == "QuadMesh")
    assert mesh.get_clim()[0] == BOWL.min() and mesh.get_clim()[1] < 1.0
    assert mesh.get_array().count() == BOWL[:, :-1].size
    plain = Figure().add_subplot()
    plots.bound_map(RATES, BATCHES, BOWL, contours=0, ax=plain)
    mesh = next(c for c in plain.collections if type(c).__name__ == "QuadMesh")
    assert mesh.get_clim() == (BOWL.min(), BOWL.max())


@pytest.mark.parametrize("values", [np.full((2, 2), 0.3), [[np.nan, np.nan], [np.nan, 0.2]],
                                    np.full((2, 2), np.nan)])  # fmt: skip
def test_map_of_next_to_nothing(ax, values):
    plots.bound_map([0.1, 0.2], [1, 2], values, downhill=True, ax=ax)


# ---- the number of examples


def test_gaps_against_n_beside_the_root(ax):
    n = np.geomspace(10, 1e6, 30)
    gaps = {name: np.sqrt(kl / (2 * n)) for name, kl in (("pre-training", 300.0),
                                                         ("fine-tuning", 2.0))}  # fmt: skip
    here = {"fine-tuning": (1000, gaps["fine-tuning"][12])}
    assert plots.bound_against_n(n, gaps, here=here, title="gaps", ax=ax) is ax
    assert ax.get_xscale() == ax.get_yscale() == "log"
    for name in gaps:
        np.testing.assert_array_equal(labelled(ax, name).get_ydata(), gaps[name])
    assert labelled(ax, "pre-training").get_color() == plots.COLOURS["pretrain"]
    assert labelled(ax, "pre-training").get_linestyle() != labelled(ax, "fine").get_linestyle()
    root = labelled(ax, "∝ 1/√N").get_ydata()
    np.testing.assert_allclose(root, gaps["fine-tuning"])  # which is such a root itself
    mark = next(line for line in ax.lines if line.get_marker() == "o")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == here["fine-tuning"]
    assert labelled(ax, "says nothing").get_y() == 1.0
    with pytest.raises(ValueError, match=r"gaps\['x'\] has shape \(3,\)"):
        plots.bound_against_n(n, {"x": [1.0, 2.0, 3.0]}, ax=ax)


def test_gaps_that_are_infinite_leave_the_line_open(ax):
    plots.bound_against_n([10, 100, 1000], {"a": [np.inf, 0.5, 0.1]}, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "a").get_ydata(), [np.nan, 0.5, 0.1])
    assert np.isclose(labelled(ax, "∝ 1/√N").get_ydata()[-1], 0.1)


# ---- the time of stopping


def test_stopping_shows_the_sum_its_parts_and_the_minimum(ax):
    t = np.arange(0, 201)
    risk, gap = 0.1 + 0.5 * np.exp(-t / 40), 0.1 + 0.001 * t
    assert plots.stopping(t, risk + gap, risk=risk, gap=gap, ax=ax) is ax
    np.testing.assert_array_equal(labelled(ax, "bound = risk + gap").get_ydata(), risk + gap)
    np.testing.assert_array_equal(labelled(ax, "empirical risk").get_ydata(), risk)
    np.testing.assert_array_equal(labelled(ax, "gap").get_ydata(), gap)
    best = 40 * np.log(12.5)  # where 0.5/40 exp(-t/40) = 0.001
    star = labelled(ax, "best: 101, bound 0.341")
    assert abs(star.get_xdata()[0] - best) <= 0.5
    styles = {line.get_linestyle() for line in ax.lines if len(line.get_xdata()) > 2}
    assert len(styles) == 3


def test_stopping_at_a_given_time_and_at_the_ends(ax):
    t = np.array([0.0, 1.0, 2.0])
    plots.stopping(t, [0.5, 0.3, 0.4], best_time=1.25, clock="time", ax=ax)
    assert labelled(ax, "best: 1.25, bound 0.325").get_ydata()[0] == pytest.approx(0.325)
    assert "time s" in ax.get_xlabel()
    falling, rising = (plots.stopping(t, v, ax=Figure().add_subplot())
                       for v in ([0.5, 0.4, 0.3], [0.3, 0.4, np.nan]))  # fmt: skip
    assert labelled(falling, "best: 2, bound 0.3 (at the end)")
    assert labelled(rising, "best: 0, bound 0.3 (at the start)")
    logarithmic = plots.stopping(t, [0.5, 0.4, 0.3], log_time=True, ax=Figure().add_subplot())
    assert logarithmic.get_xscale() == "log" and logarithmic.get_xlim() == (1.0, 2.0)
    plots.stopping(t, np.full(3, np.nan), ax=Figure().add_subplot())  # nothing to star
    with pytest.raises(ValueError, match=r"gap has shape \(2,\)"):
        plots.stopping(t, t, gap=[1.0, 2.0], ax=ax)
    with pytest.raises(ValueError, match="neither"):
        plots.stopping(t, t, clock="epoch", ax=ax)
