"""A grid of bounds: the modal route against the general one, masked cells, gradients, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxou as ou
from jaxou.bounds import SaturatedRisk, two_stage_bound
from jaxou.bounds import modal as modal_route
from jaxou.bounds.grid import bound_grid

COMMON = dict(n_source=50_000, n_target=1_000, source_risk=0.02, delta=0.05)
AXES = {"pretrain.learning_rate": [0.02, 0.3], "finetune.batch_size": [2.0, 40.0]}


@pytest.fixture(scope="module")
def plain():
    """Diagonal, which compiles quickly by the general route; too short to forget its start."""
    common = dict(noise=[1.0, 0.6], batch_size=32, weight_decay=0.05, langevin_temperature=1e-3)
    pretrain = ou.Stage(
        hessian=[2.0, 0.0], minimum=[1.0, -0.5], learning_rate=0.1, steps=21, **common
    )
    finetune = ou.Stage(
        hessian=[1.2, -0.01], minimum=[1.1, -0.4], learning_rate=1.1, steps=7, anchor=[0.1, 0.2],
        **common,
    )  # fmt: skip
    return ou.TwoStage(pretrain, finetune, ou.Gaussian([0.0, 0.1], [1.0, 0.5]))


def compare(process, axes, risk, monkeypatch, **more):
    fast = bound_grid(process, axes, risk=risk, **COMMON, **more)
    monkeypatch.setattr(modal_route, "is_modal", lambda *_: False)
    slow = bound_grid(process, axes, risk=risk, **COMMON, **more)
    assert fast.modal and not slow.modal
    for name in ("value", "gap", "kl", "risk", "source_value", "source_kl", "gradient"):
        ours, theirs = getattr(fast, name), getattr(slow, name)
        if ours is None:
            continue
        scale = np.nanmax(np.abs(theirs))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * scale, err_msg=name)
    assert (fast.status == slow.status).all()
    return fast


@pytest.mark.slow
def test_both_routes_are_one_bound(plain, monkeypatch):
    risk = SaturatedRisk(plain.finetune.hessian.values + 0.1, plain.finetune.minimum, floor=0.05)
    fast = compare(plain, AXES, risk, monkeypatch, gradients=False)
    assert fast.value.shape == (2, 2)
    changed = plain.with_pretrain(learning_rate=0.3).with_finetune(batch_size=2.0)
    b = two_stage_bound(changed, risk=risk, law="finite", **COMMON)
    np.testing.assert_allclose(fast.value[1, 0], b.target.value, rtol=1e-10)
    np.testing.assert_allclose(fast.source_value[1, 0], b.source.value, rtol=1e-10)


@pytest.mark.slow
def test_both_routes_have_the_same_slopes(plain, monkeypatch):
    risk = SaturatedRisk(plain.finetune.hessian.values + 0.1, plain.finetune.minimum, floor=0.05)
    compare(plain, AXES | {"finetune.weight_decay": [0.02, 0.1]}, risk, monkeypatch)


@pytest.mark.slow
def test_both_routes_are_one_bound_without_commuting(p07, monkeypatch):
    axes = AXES | {"finetune.learning_rate": [0.001, 0.05, 1.0, 1.2]}
    compare(p07.with_finetune(steps=9), axes, 0.1, monkeypatch)


def test_gradients_are_the_slopes_of_the_values(p07):
    h = 1e-4
    rates, batches = 0.05 * np.array([1 - h, 1, 1 + h]), 32 * np.array([1 - h, 1, 1 + h])
    axes = {"finetune.learning_rate": rates, "finetune.batch_size": batches}
    grid = bound_grid(p07, axes, risk=0.1, **COMMON)
    along = (grid.value[2, 1] - grid.value[0, 1]) / (rates[2] - rates[0])
    across = (grid.value[1, 2] - grid.value[1, 0]) / (batches[2] - batches[0])
    np.testing.assert_allclose(grid.gradient[:, 1, 1], [along, across], rtol=1e-6)
    assert grid.risk_held_fixed and grid.gradient.shape == (2, 3, 3)
    best = grid.best
    cell = np.unravel_index(int(grid.value.argmin()), grid.value.shape)
    np.testing.assert_allclose(best["finetune.learning_rate"], rates[cell[0]])


def test_bad_cells_are_masked_and_disturb_no_other(p07):
    # 2 / lambda_max = 1.0750; a batch of 0.5 and a rate of -1 do not exist
    axes = {"finetune.learning_rate": [0.05, 1.07, 1.08, -1.0], "finetune.batch_size": [32, 0.5]}
    grid = bound_grid(p07, axes, risk=0.1, gradients=False, **COMMON)
    ok = [[True, False], [True, False], [False, False], [False, False]]
    assert np.isfinite(grid.value).tolist() == ok and grid.gradient is None
    assert (grid.status == ou.Status.ok).tolist() == ok
    assert (grid.status == ou.Status.unstable)[2, 0] and (grid.status == ou.Status.bad_input)[0, 1]


@pytest.mark.slow
def test_singular_laws_take_the_general_route(p07):
    # from a point, without noise in one direction: the laws share a range of one dimension
    bowl = dict(hessian=jnp.eye(2), noise=jnp.diag(jnp.asarray([1.0, 0.0])), steps=50)
    stage = ou.Stage(minimum=[0.0, 0.0], learning_rate=0.1, batch_size=8, **bowl)
    start = ou.Gaussian([0.0, 0.0], jnp.diag(jnp.asarray([1.0, 0.0])))
    process = ou.TwoStage(stage, stage.replace(minimum=[0.1, 0.0]), start)
    grid = bound_grid(process, {"finetune.batch_size": [4.0, 8.0]}, risk=0.1, **COMMON)
    b = two_stage_bound(process, risk=0.1, law="finite", **COMMON)
    assert bool(jnp.isfinite(grid.value).all())
    np.testing.assert_allclose(grid.value[1], b.target.value, rtol=1e-9)


def test_refusals(p07):
    with pytest.raises(ValueError, match="finetune.rate.*grid's"):
        bound_grid(p07, {"finetune.rate": [0.1]}, risk=0.1, **COMMON)
    with pytest.raises(ValueError, match="array"):
        bound_grid(p07, {"finetune.batch_size": [[0.1]]}, risk=0.1, **COMMON)
    with pytest.raises(ValueError, match="risk=2"):
        bound_grid(p07, {"finetune.batch_size": [8]}, risk=2.0, **COMMON)
    with pytest.raises(ValueError, match="delta_split"):
        bound_grid(p07, AXES, risk=0.1, delta_split=(0.9, 0.9), **COMMON)
