"""From a stage's numbers to its kernel (SGD, n steps) and its flow (the SDE, a time).

Throughout P is the preconditioner (I if none), beta the momentum, T the Langevin temperature, and
R = eps C (N - b)/(N - 1) + 2 (1 - beta) T P^-1 the rate of the gradient's noise in flow time: one
step's gradient has noise covariance R / eta.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..kernels import AffineGaussianKernel, lift_kernel, poisoned
from ..linalg.algebra import add, congruence, densified, entries, is_elementwise, like, product
from ..linalg.flow import flow_dense, flow_diagonal, flow_symmetric
from ..linalg.lift import is_liftable, lift
from ..linalg.matrices import AbstractMatrix, Dense, Diagonal, General, Isotropic
from ..linalg.roots import pinv
from .noise import Diffusion, Temperature
from .product import schedule_product

WHY = "this stage's transition"


class LinearSDE(eqx.Module):
    """dz = -drift (z - fixed_point) ds + noise^1/2 dW in flow time s; z is the stage's state.

    `drift` is P A without momentum; with it z = (position, velocity per step), (2d,).

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> system = stage.sde()
    >>> float(system.drift.dense()[0, 0]), round(float(system.noise.dense()[0, 0]), 6)
    (2.0, 0.025)
    """

    drift: AbstractMatrix
    fixed_point: Float[Array, " state"]
    noise: AbstractMatrix


def gradient_noise_rate(stage, eta=None, b=None) -> AbstractMatrix:
    """eps C (N - b)/(N - 1), or what `Diffusion` and `Temperature` say, per unit flow time."""
    noise, d = stage.noise, stage.dimension
    if isinstance(noise, Temperature):
        return Isotropic(noise.rate().value, d, check=False)
    if isinstance(noise, Diffusion):
        return noise.rate()
    eta = stage.learning_rate if eta is None else eta
    b = stage.batch_size if b is None else b
    return noise.scale(effective_ratio(stage, eta, b))


def effective_ratio(stage, eta, b):
    """eps (N - b)/(N - 1), the factor of C; elementwise in eta and b."""
    ratio = eta / b
    if stage.population is not None:
        ratio = ratio * (stage.population - b) / (stage.population - 1)
    return ratio


def langevin_rate(stage) -> Isotropic:
    """2 (1 - beta) T I per unit flow time."""
    value = 2 * (1 - stage.momentum) * stage.langevin_temperature
    return Isotropic(value, stage.dimension, check=False)


def preconditioned_rate(stage, eta=None, b=None) -> AbstractMatrix:
    """P R P: covariance of the position's noise per unit flow time."""
    gradient, langevin = gradient_noise_rate(stage, eta, b), langevin_rate(stage)
    p = stage.preconditioner
    if p is None:
        return add(gradient, langevin)
    return add(congruence(p, gradient), p.scale(langevin.value))


def preconditioned_hessian(stage) -> AbstractMatrix:
    """P A, `General` where P and A need not commute."""
    p, a = stage.preconditioner, stage.effective_hessian
    return a if p is None else product(p, a)


def within(stage, *, step=None, time=None):
    """Whether a step or a flow time is one of the stage's; without a schedule it has no end."""
    if not stage.scheduled:
        return (step if time is None else time) >= 0
    if time is None:
        return (step >= 0) & (step <= stage.schedule_length)
    # a sum of the learning rates that somebody else has rounded is still the end
    slack = 1 + float(jnp.finfo(time.dtype).eps) ** 0.5
    return (time >= 0) & (time <= slack * stage.duration)


# --- the chain ---------------------------------------------------------------------------------


@eqx.filter_jit
def kernel(stage, steps: Float[Array, ""]) -> AffineGaussianKernel:
    """The chain over `steps` steps; NaN beyond the end of a schedule."""
    if not stage.scheduled:
        return one_step(stage, stage.learning_rate, stage.batch_size).power(steps)
    return poisoned(_scheduled_kernel(stage, steps), within(stage, step=steps))


def one_step(stage, eta, b) -> AffineGaussianKernel:
    """One step of SGD, or one Euler-Maruyama step where the position's noise has eta R."""
    if stage.has_momentum:
        return _momentum_step(stage, eta, b)
    return integrator_kernel(stage, eta, b=b, noise_eta=eta)


def integrator_kernel(stage, h, *, b=None, noise_eta=None) -> AffineGaussianKernel:
    """One Euler-Maruyama step of size h: x -> x - h P A (x - theta*) + N(0, h P R P).

    The noise rate keeps the stage's own learning rate; with h = learning_rate this is SGD's step.

    >>> import jaxou as ou
    >>> stage = ou.Stage(hessian=2.0, noise=1.0, minimum=1.0, learning_rate=0.1, batch_size=4,
    ...                  steps=50)
    >>> one = integrator_kernel(stage, stage.learning_rate)(ou.Gaussian([0.0], 0.0))
    >>> round(float(one.mean[0]), 6), round(float(one.covariance[0, 0]), 6)
    (0.2, 0.0025)
    """
    if stage.has_momentum:
        system = sde(stage)
        drift, noise = system.drift, system.noise
        target = system.fixed_point
    else:
        drift, target = preconditioned_hessian(stage), stage.effective_minimum
        noise = preconditioned_rate(stage, noise_eta, b)
    pull = drift.scale(h)
    matrix = add(Isotropic(1.0, target.shape[0], check=False), pull.scale(-jnp.ones_like(h)))
    return _kernel(matrix, pull.matvec(target), noise.scale(h))


def _dense_preconditioner(stage):
    if stage.preconditioner is None:
        return jnp.eye(stage.dimension, dtype=stage.minimum.dtype)
    return stage.preconditioner.dense()


def _momentum_step(stage, eta, b) -> AffineGaussianKernel:
    # state (theta, m): m' = beta m + A (theta - theta*) + n, theta' = theta - eta P m'. The noise
    # is written through P n, whose covariance P R P / eta needs no inverse of P; the buffer's own
    # covariance R / eta has the Langevin part 2 (1 - beta) T P^-1 / eta.
    a = densified(stage.effective_hessian, WHY).dense()
    p, beta = _dense_preconditioner(stage), stage.momentum
    eye = jnp.eye(stage.dimension, dtype=a.dtype)
    pa = p @ a
    matrix = jnp.block([[eye - eta * pa, -eta * beta * p], [a, beta * eye]])
    rate = _buffer_rate(stage, eta, b, p)
    noise = jnp.block([[eta * p @ rate @ p, -p @ rate], [-rate @ p, rate / eta]])
    pull = stage.effective_minimum
    offset = jnp.concatenate([eta * (pa @ pull), -(a @ pull)])
    return _kernel(General(matrix, check=False), offset, Dense(noise, check=False))


def _buffer_rate(stage, eta, b, p):
    gradient = gradient_noise_rate(stage, eta, b).dense()
    langevin = langevin_rate(stage)
    if stage.preconditioner is None:
        return gradient + langevin.dense()
    return gradient + langevin.value * pinv(p)


def _scheduled_kernel(stage, steps):
    etas, bs = stage.learning_rate, stage.batch_size
    target = stage.effective_minimum
    if stage.has_momentum:

        def momentum_step(eta, b):
            k = _momentum_step(stage, eta, b)
            return k.matrix.dense(), k.offset[:, None], k.covariance.dense()

        m, c, q = schedule_product(momentum_step, (etas, bs), steps, dense=True)
        return _kernel(General(m, check=False), c[:, 0], Dense(q, check=False))
    a = preconditioned_hessian(stage)
    if stage.preconditioner is None and is_liftable(a, preconditioned_rate(stage, etas[0], bs[0])):
        return _lifted_schedule(stage, a, target, steps)

    def step(drift, noise, eta):
        return -eta * drift, eta * noise

    return _over_schedule(stage, etas, steps, step, step)


def _over_schedule(stage, spans, count, elementwise, dense) -> AffineGaussianKernel:
    """x -> theta* + (I + J)(x - theta*) + noise of covariance G, over the first entries of `spans`.

    `elementwise` and `dense` give (J, G) from (drift, noise rate, span), as vectors where all
    matrices are diagonal, else as matrices.
    """
    etas, bs, target = stage.learning_rate, stage.batch_size, stage.effective_minimum
    drift = preconditioned_hessian(stage)
    if is_elementwise(drift, preconditioned_rate(stage, etas[0], bs[0])):
        vector = _vector(drift, target)

        def diagonal_step(span, eta, b):
            noise = _vector(preconditioned_rate(stage, eta, b), target)
            change, gain = elementwise(vector, noise, span)
            return 1 + change, -change * target, gain

        m, c, q = schedule_product(diagonal_step, (spans, etas, bs), count, dense=False)
        return _kernel(Diagonal(m, check=False), c, Diagonal(q, check=False))
    matrix = densified(drift, WHY).dense()
    eye = jnp.eye(stage.dimension, dtype=matrix.dtype)

    def dense_step(span, eta, b):
        noise = densified(preconditioned_rate(stage, eta, b), WHY).dense()
        change, gain = dense(matrix, noise, span)
        return eye + change, -change @ target[:, None], gain

    m, c, q = schedule_product(dense_step, (spans, etas, bs), count, dense=True)
    # a product of functions of one symmetric A is symmetric; with a preconditioner it is not
    wrap = Dense if stage.preconditioner is None else General
    return _kernel(wrap(m, check=False), c[:, 0], Dense(q, check=False))


def _kernel(matrix, offset, covariance) -> AffineGaussianKernel:
    """A kernel of what was checked when the stage was made."""
    return AffineGaussianKernel(matrix, offset, covariance, check=False)


def _vector(matrix, point):
    return jnp.broadcast_to(entries(matrix), point.shape)


def _lifted_schedule(stage, a, target, steps):
    # The products are functions of A and linear in each noise matrix, so a 2r x 2r schedule says
    # all: once for C with weights eta eps, once for the identity with weights 2 T eta.
    etas = stage.learning_rate
    if isinstance(stage.noise, Diffusion | Temperature):
        shape, weights = gradient_noise_rate(stage), etas
    else:
        shape, weights = stage.noise, etas * effective_ratio(stage, etas, stage.batch_size)

    def dense_map(weights):
        def run(small, pull, noise):
            eye = jnp.eye(small.shape[0], dtype=small.dtype)

            def step(eta, weight):
                return eye - eta * small, eta * pull, weight * noise

            return schedule_product(step, (etas, weights), steps, dense=True)

        return run

    start = _kernel(a, a.matvec(target), shape)
    main = lift_kernel(dense_map(weights), start)
    langevin = langevin_rate(stage)
    eye = jnp.eye(2 * a.rank, dtype=target.dtype)
    extra = lift(
        lambda small, q: dense_map(etas * langevin.value)(small, eye, q)[2],
        a,
        Isotropic(1.0, stage.dimension, check=False),
    )
    return _kernel(main.matrix, main.offset, add(main.covariance, extra))


# --- the SDE -----------------------------------------------------------------------------------


def sde(stage) -> LinearSDE:
    """Drift, fixed point and noise rate of a stage with constant hyper-parameters."""
    rate, target = preconditioned_rate(stage), stage.effective_minimum
    drift = preconditioned_hessian(stage)
    if not stage.has_momentum:
        return LinearSDE(drift, target, rate)
    # per step: dx = v dn, dv = -(1 - beta) v dn - eta P A x dn + noise of covariance eta P R P dn
    d, eta, friction = stage.dimension, stage.learning_rate, 1 - stage.momentum
    eye, zero = jnp.eye(d, dtype=target.dtype), jnp.zeros((d, d), target.dtype)
    matrix = jnp.block([[zero, -eye / eta], [densified(drift, WHY).dense(), friction / eta * eye]])
    noise = jnp.block([[zero, zero], [zero, densified(rate, WHY).dense()]])
    return LinearSDE(
        General(matrix, check=False),
        jnp.concatenate([target, jnp.zeros_like(target)]),
        Dense(noise, check=False),
    )


@eqx.filter_jit
def flow(stage, time: Float[Array, ""]) -> AffineGaussianKernel:
    """The SDE's kernel over flow time `time`; NaN for one that is negative or past a schedule."""
    time = jnp.where(within(stage, time=time), time, jnp.nan)
    if not stage.scheduled:
        system = sde(stage)
        return _flow(system.drift, system.fixed_point, system.noise, time)
    if stage.has_momentum:
        raise ValueError(
            "the SDE with momentum has no form for a changing learning rate or batch size: ask for "
            "the chain's law (step=...), which is exact"
        )
    return _scheduled_flow(stage, time)


def _flow(drift, target, noise, time):
    if isinstance(drift, Isotropic):
        decay, gain = flow_diagonal(drift.value, jnp.ones_like(time), time)
        change, covariance = like(decay, drift), noise.scale(gain)
    elif is_elementwise(drift, noise):
        decay, gain = flow_diagonal(drift.diagonal_part(), _vector(noise, target), time)
        change, covariance = like(decay, drift), Diagonal(gain, check=False)
    elif is_liftable(drift, noise):
        return lift_kernel(_lifted_flow(time), _kernel(drift, drift.matvec(target), noise))
    else:
        dense, rate = densified(drift, WHY).dense(), densified(noise, WHY).dense()
        general = isinstance(drift, General)
        decay, gain = (flow_dense if general else flow_symmetric)(dense, rate, time)
        change = (General if general else Dense)(decay, check=False)
        covariance = Dense(gain, check=False)
    matrix = add(Isotropic(1.0, target.shape[0], check=False), change)
    return _kernel(matrix, -change.matvec(target), covariance)


def _lifted_flow(time):
    # The offset (I - E) theta* = H A theta* needs H = int_0^s exp(-A u) du, which is what the
    # same flow gives for the drift A / 2 and the identity as noise, since both commute.
    def run(small, pull, noise):
        decay, gain = flow_dense(small, noise, time)
        eye = jnp.eye(small.shape[0], dtype=small.dtype)
        _, integral = flow_dense(small / 2, eye, time)
        return eye + decay, integral @ pull, gain

    return run


def _scheduled_flow(stage, time):
    etas = stage.learning_rate
    spans = jnp.clip(time - (jnp.cumsum(etas) - etas), 0, etas)
    everything = jnp.asarray(etas.shape[0], etas.dtype)
    return _over_schedule(stage, spans, everything, flow_diagonal, flow_dense)
