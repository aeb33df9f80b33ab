"""Weak orders, measured without Monte Carlo noise: exact kernels, and functions on grids.

On a linear stage a method's own kernel is compared with the exact law, and its step function with
that kernel. On a tilted double well E[phi(X_s)] is computed twice: by the method's step function,
with Gauss-Hermite normals and local interpolation on a grid, and by the generator in polynomials
that are orthonormal under the Gibbs law. Twins are methods that are wrong in one place.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from numpy.polynomial import chebyshev, hermite_e

import jaxou as ou
from jaxou.particles.methods.heun import HeunSteps

FRICTION = 1.5
HEAT = 0.3
TIME = 0.8


def slopes(errors):
    """(slope of the finer pair, what is left to its limit): slopes at h are p + c h + ..."""
    first, second = (np.log2(a / b) for a, b in zip(errors[:-1], errors[1:], strict=True))
    return second, 2 * abs(first - second) + 0.02


def has_order(errors, order) -> bool:
    slope, tolerance = slopes(errors)
    assert tolerance < 0.5, "the steps are too coarse to tell an order"
    return abs(slope - order) < tolerance


# --- linear stages -----------------------------------------------------------------------------


def linear_stage(learning_rate=0.1, noise=((1.0, -0.4), (-0.4, 0.5))):
    return ou.Stage(
        hessian=[[2.0, 0.6], [0.6, 1.0]],
        noise=ou.Diffusion(jnp.asarray(noise) / 2),
        minimum=[1.0, -1.0],
        learning_rate=learning_rate,
        batch_size=1,
        steps=round(TIME / learning_rate),
    )


def exact_underdamped(stage, friction):
    """(matrix, covariance) of the exact flow of (x, v) around the minimum, by Van Loan."""
    a, n = np.asarray(stage.hessian.dense()), np.asarray(stage.noise_rate().dense())
    zero, eye = np.zeros((2, 2)), np.eye(2)
    drift = np.block([[zero, -eye], [a, friction * eye]])
    rate = np.block([[zero, zero], [zero, friction * n]])
    big = np.block([[drift, rate], [np.zeros((4, 4)), -drift.T]]) * TIME
    big = scipy.linalg.expm(big)
    matrix = big[4:, 4:].T
    return matrix, matrix @ big[:4, 4:]


def kernel_error(kernel, matrix, covariance):
    gaps = (kernel.matrix.dense() - matrix, kernel.covariance.dense() - covariance)
    return float(np.sqrt(sum(np.sum(np.asarray(g) ** 2) for g in gaps)))


def exact_overdamped(stage):
    flow = stage.flow(TIME)
    return flow.matrix.dense(), flow.covariance.dense()


@pytest.mark.parametrize(
    "make,order",
    [
        (lambda k: ou.EulerMaruyama(substeps=k), 1),
        (lambda k: ou.Heun(substeps=k), 2),
        (lambda k: ou.BAOAB(FRICTION, substeps=k), 2),
    ],
    ids=["euler", "heun", "baoab"],
)
def test_kernels_converge_to_the_exact_law_with_their_order(make, order):
    stage = linear_stage()
    underdamped = isinstance(make(1), ou.BAOAB)
    exact = exact_underdamped(stage, FRICTION) if underdamped else exact_overdamped(stage)
    errors = [kernel_error(make(k).kernel(stage), *exact) for k in (2, 4, 8)]
    assert make(1).weak_order == order and has_order(errors, order)
    # twin: another noise has another limit
    other = linear_stage(noise=((1.0, -0.38), (-0.38, 0.5)))
    exact = exact_underdamped(other, FRICTION) if underdamped else exact_overdamped(other)
    errors = [kernel_error(make(k).kernel(stage), *exact) for k in (2, 4, 8)]
    assert abs(slopes(errors)[0] - order) > 0.4


def test_sgd_converges_with_its_order_and_exact_and_diffrax_state_theirs():
    errors = []
    for rate in (0.05, 0.025, 0.0125):
        stage = linear_stage(rate)
        errors.append(kernel_error(ou.SGD().kernel(stage), *exact_overdamped(stage)))
    assert ou.SGD.weak_order == 1 and has_order(errors, 1)
    stage = linear_stage()
    assert ou.Exact.weak_order == float("inf")
    assert kernel_error(ou.Exact().kernel(stage), *exact_overdamped(stage)) < 1e-14
    # whatever the solver, particles are compared with the SDE, to which all converge
    assert ou.Diffrax(diffrax.Heun()).weak_order == 1 and ou.Diffrax.chain == "sde"


# --- the step function itself ------------------------------------------------------------------


@eqx.filter_jit
def one_move(plan, state, normals):
    kick = plan.dynamics.kick.beforehand
    return plan(state, normals if kick is None else kick(normals), jnp.int32(0))


def plan_of(method, stage, known=False):
    return method.plan(stage, method.grid(stage, 1), jnp.zeros(stage.dimension), jnp.float64, known)


def moved(method, plan, position, velocity, normals):
    """(x, v) after one step, columns of particles; v has no rows for methods without."""
    d = position.shape[0]
    state = method.enter(plan, position, velocity if method.has_velocity else None)
    position, velocity = method.leave(plan, one_move(plan, state, normals), d)
    return position if velocity is None else jnp.concatenate([position, velocity])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("method", [ou.EulerMaruyama(3), ou.Heun(3), ou.BAOAB(FRICTION, 3)])
def test_the_step_function_is_the_kernel_of_one_step(method, known):
    # a step is affine in state and normals: unit vectors show all of it
    stage = linear_stage()
    plan, kernel = plan_of(method, stage, known), method.one_step(stage)
    size = 4 if method.has_velocity else 2
    states = np.hstack([np.zeros((size, 1)), np.eye(size), np.zeros((size, 2))])
    normals = np.hstack([np.zeros((2, size + 1)), np.eye(2)])
    velocity = jnp.asarray(states[2:])
    out = np.asarray(moved(method, plan, jnp.asarray(states[:2]), velocity, jnp.asarray(normals)))
    np.testing.assert_allclose(out[:, 0], kernel.offset, atol=1e-14)
    matrix, root = out[:, 1 : size + 1] - out[:, :1], out[:, size + 1 :] - out[:, :1]
    np.testing.assert_allclose(matrix, kernel.matrix.dense(), atol=1e-14)
    np.testing.assert_allclose(root @ root.T, kernel.covariance.dense(), atol=1e-14)


# --- a tilted double well ----------------------------------------------------------------------


def double_well(x):
    return (x[0] ** 2 - 1) ** 2 / 4 + 0.2 * x[0]


def well_stage(h):
    return ou.PotentialStage(
        double_well,
        dimension=1,
        noise=ou.Temperature(HEAT),
        learning_rate=h,
        steps=round(TIME / h),
    )


def generator(underdamped, degree=44, levels=24):
    """E[phi(X_s)] of the SDE, x(0) = x0 (v(0) = 0): polynomials orthonormal under exp(-U / T).

    With a and a^T the derivative in v and its adjoint in Hermite polynomials, and D, D^T those in
    x: L = -T D^T D, or L = T (a^T D - D^T a) - friction T a^T a.
    """
    y, w = chebyshev.chebgauss(400)
    x, w = 3 * y, 3 * w * np.sqrt(1 - y**2)
    w = w * np.exp(-double_well(x[None]) / HEAT)
    w /= w.sum()
    values = chebyshev.chebvander(y, degree)
    slope = np.stack(
        [chebyshev.chebval(y, chebyshev.chebder(row)) / 3 for row in np.eye(degree + 1)], axis=1
    )
    q, r = np.linalg.qr(np.sqrt(w)[:, None] * values)
    derivative = q.T @ (np.sqrt(w)[:, None] * np.linalg.solve(r.T, slope.T).T)
    if not underdamped:
        flow = scipy.linalg.expm(-HEAT * TIME * derivative.T @ derivative)
        row = lambda x0: np.linalg.solve(r.T, chebyshev.chebvander(np.array([x0 / 3]), degree)[0])
    else:
        a = np.diag(np.sqrt(np.arange(1, levels) / HEAT), 1)
        eye = np.eye(degree + 1)
        moving = np.kron(derivative, a.T) - np.kron(derivative.T, a)
        flow = scipy.linalg.expm(HEAT * TIME * (moving - FRICTION * np.kron(eye, a.T @ a)))
        rest = np.array([hermite_e.hermeval(0.0, e) for e in np.eye(levels)])
        rest /= np.sqrt(np.array([float(np.prod(np.arange(1.0, k + 1))) for k in range(levels)]))
        row = lambda x0: np.kron(
            np.linalg.solve(r.T, chebyshev.chebvander(np.array([x0 / 3]), degree)[0]), rest
        )

    def expect(phi, x0):
        start = q.T @ (np.sqrt(w) * phi(x))
        if underdamped:
            start = np.kron(start, np.eye(levels)[0])
        return float(row(x0) @ flow @ start)

    return expect


def stencil(points, axis, width=6):
    """Local polynomial interpolation: (indices, weights), each (points, width)."""
    step = axis[1] - axis[0]
    place = np.clip((points - axis[0]) / step, 0, len(axis) - 1)
    first = np.clip(np.floor(place).astype(int) - width // 2 + 1, 0, len(axis) - width)
    t = (place - first)[:, None] - np.arange(width)[None, :]
    weights = np.ones_like(t)
    for j in range(width):
        for k in range(width):
            if k != j:
                weights[:, j] *= t[:, k] / (j - k)
    return first[:, None] + np.arange(width), weights


def transfer(step, axes, normals=12):
    """The step as a sparse matrix on functions on a grid: row i is E[f(step(node i))]."""
    mesh = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")])
    total = 0
    for z, weight in zip(*hermite_e.hermegauss(normals), strict=True):
        out = step(mesh, np.full((1, mesh.shape[1]), z))
        index, value = stencil(out[0], axes[0])
        if len(axes) == 2:
            other, more = stencil(out[1], axes[1])
            index = (index[:, :, None] * len(axes[1]) + other[:, None, :]).reshape(len(index), -1)
            value = (value[:, :, None] * more[:, None, :]).reshape(len(value), -1)
        rows = np.repeat(np.arange(len(index)), index.shape[1])
        shape = (mesh.shape[1],) * 2
        part = scipy.sparse.csr_matrix((value.ravel(), (rows, index.ravel())), shape=shape)
        total = total + weight / np.sqrt(2 * np.pi) * part
    return total


X = np.linspace(-2.6, 2.6, 157)
V = np.linspace(-3.4, 3.4, 69)
STARTS = (78 + 14, 78 - 36)
"""Nodes of X from which particles start (even): near the barrier and in the left well."""
PHIS = (lambda x: x, lambda x: x**2)


def pushed_back(step, h, underdamped):
    """E[phi(X_s)] for all phi and starts, by the step function."""
    axes = (X[::2], V) if underdamped else (X,)
    matrix, nodes = transfer(step, axes), len(axes[0])
    shape = (nodes, len(V)) if underdamped else (nodes,)
    column = axes[0].reshape(-1, *(1 for _ in shape[1:]))
    values = np.stack([np.broadcast_to(phi(column), shape).ravel() for phi in PHIS], axis=1)
    for _ in range(round(TIME / h)):
        values = matrix @ values
    values = values.T.reshape(len(PHIS), *shape)
    return values[:, [s // 2 for s in STARTS], len(V) // 2] if underdamped else values[:, STARTS]


def well_step(method, h, twin=None):
    plan = plan_of(method, well_stage(h))
    plan = plan if twin is None else twin(plan)

    def step(states, normals):
        state = jnp.asarray(states)
        return np.asarray(moved(method, plan, state[:1], state[1:], jnp.asarray(normals)))

    return step


class IndependentHeun(HeunSteps):
    """Heun whose predictor has no noise: the correlation of the two stages is lost."""

    def __call__(self, state, normals, tick):
        push = self.dynamics.push(state)
        there = self.dynamics.push(state + push)
        return state + (push + there) / 2 + self.dynamics.kick(state, normals)


def without_predicted_noise(plan):
    return IndependentHeun(plan.dynamics, plan.ticks)


def half_friction(plan):
    """BAOAB with half the friction's exponent, but the full noise."""
    return eqx.tree_at(lambda p: p.damping, plan, jnp.sqrt(plan.damping))


WELL = {
    "euler": (ou.EulerMaruyama(), None, 1, (0.05, 0.025, 0.0125)),
    "heun": (ou.Heun(), without_predicted_noise, 2, (0.1, 0.05, 0.025)),
    "baoab": (ou.BAOAB(FRICTION), half_friction, 2, (0.2, 0.1, 0.05)),
}


@pytest.mark.parametrize("name", ["euler", "heun", pytest.param("baoab", marks=pytest.mark.slow)])
def test_expectations_in_a_double_well_converge_with_the_order(name):
    method, twin, order, steps = WELL[name]
    expect = generator(method.has_velocity)
    exact = np.array([[expect(phi, X[s]) for s in STARTS] for phi in PHIS])
    error = lambda step, h: np.linalg.norm(pushed_back(step, h, method.has_velocity) - exact)
    errors = [error(well_step(method, h), h) for h in steps]
    assert has_order(errors, order)
    if twin is not None:
        errors = [error(well_step(method, h, twin), h) for h in steps]
        assert slopes(errors)[0] < order - 0.5
